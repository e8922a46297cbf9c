/**
 * A session with a talking avatar, over one WebSocket: connect, send speech, hear events.
 *
 * It knows the protocol and nothing of a page: no canvas, no sound (for those see `player.js`).
 * It connects anew, with growing patience, whenever trying again can help, and says so.
 *
 *     import { AvatarClient } from "/static/avatar/client.js";
 *     import { AvatarPlayer } from "/static/avatar/player.js";
 *
 *     const client = new AvatarClient({ userId: "me" });
 *     const player = new AvatarPlayer(client, document.querySelector("#avatar"));
 *     client.connect();
 *     button.onclick = async () => {
 *       await player.unlockSound(); // browsers allow sound after a click
 *       player.speak(await decodeSpeech(file)); // from "/static/avatar/pcm.js"
 *     };
 *
 * Events (all `CustomEvent`s, what they carry in `detail`):
 *
 * | event | detail |
 * |---|---|
 * | `status` | `Status`: where the connection stands |
 * | `open` | `data` of INIT_SUCCESS: a session begins, positions of speech count from 0 |
 * | `frame` | `AvatarFrame` |
 * | `state`, `action`, `interrupted` | `data` of STATE_CHANGED, ACTION_TRIGGERED, INTERRUPTED |
 * | `problem` | `data` of ERROR |
 * | `message` | `{direction: "in" \| "out", message}`: everything, for logs |
 */

import { fromBase64, toBase64 } from "./base64.js";

export const SAMPLE_RATE_HZ = 16_000;
export const FRAME_MS = 40;
export const SAMPLES_PER_FRAME = 640;
const MAX_CHUNK_SAMPLES = 16_000;

const FIRST_RETRY_MS = 400;
const LAST_RETRY_MS = 5_000;
const NOT_READY_RETRY_MS = 2_000;
/** The server sends 25 frames a second; so long a silence means that the connection is dead. */
const SILENCE_MS = 8_000;

/** What the server's close codes mean for the one who waits; any other code is an accident. */
const CLOSED = Object.freeze({
  1000: "ended",
  4012: "shutdown",
  4401: "token",
  4404: "avatar",
  4408: "ended",
  4409: "ended",
  4429: "busy",
});

/**
 * @typedef {object} Status
 * @property {"off" | "connecting" | "waiting" | "live" | "retrying" | "stopped"} name
 *   waiting: connected, but no worker has taken the session yet. stopped: only `connect` helps.
 * @property {"lost" | "shutdown" | "busy" | "avatar" | "token" | "ended"} [reason]
 * @property {number} [closeCode]
 * @property {number} [retryAtMs] of `performance.now()`, while retrying
 * @property {number} [attempt]
 * @property {ErrorData} [problem] what the server said about it
 *
 * @typedef {{code: string, message: string, details?: Record<string, any>}} ErrorData
 *
 * @typedef {object} AvatarFrame
 * @property {Uint8Array<ArrayBuffer>} accessUnit one picture, H.264 Annex B
 * @property {boolean} isIdr
 * @property {number} timestampMs 40 × the frame's number
 * @property {number} [audioTimestampMs] of the first sample of the 40 ms that it shows
 * @property {string} state
 * @property {string} clip
 * @property {number} [actionProgress] 0 to 1
 * @property {number} arrivedMs by `performance.now()`
 * @property {number} wireBytes length of the whole message
 *
 * @typedef {object} InitSuccess
 * @property {boolean} model_loaded
 * @property {string[]} available_videos
 * @property {string} default_video
 * @property {string} engine
 * @property {{codec: string, width: number, height: number, fps: number}} video
 */

/** @param {string} userId @param {string} [server] http(s):// or ws(s)://; default: the page's own */
export function streamAddress(userId, server = location.href) {
  const url = new URL(`/musetalk/v1/ws/${encodeURIComponent(userId)}`, server);
  url.protocol = url.protocol.replace("http", "ws");
  return url.href;
}

export class AvatarClient extends EventTarget {
  /** @type {WebSocket | undefined} */
  #socket;
  /** @type {string | null} */
  #sessionId = null;
  #attempt = 0;
  #retryTimer = 0;
  #silenceTimer = 0;
  #lastHeardMs = 0;
  /** @type {"lost" | "shutdown" | "busy" | "avatar" | "token" | "ended"} of the last end */
  #reason = "lost";
  /** @type {ErrorData | undefined} the last ERROR of this connection */
  #problem;

  /**
   * @param {object} options
   * @param {string} options.userId whose avatar
   * @param {string} [options.server] default: where the page came from
   * @param {string} [options.token]
   */
  constructor({ userId, server, token }) {
    super();
    this.userId = userId;
    this.server = server;
    this.token = token;
    /** @type {Status} */
    this.status = { name: "off" };
    /** @type {InitSuccess | undefined} what the session offers, while there is one */
    this.session = undefined;
    /** How many samples this session was sent: the position of the next. */
    this.sentSamples = 0;
  }

  get sessionId() {
    return this.#sessionId;
  }

  /** Connect now, whatever was before. */
  connect() {
    this.#attempt = 0;
    this.#drop();
    this.#open();
  }

  /** Take leave; no new attempt is made. */
  close() {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#send("CLOSE", {});
    this.#drop();
    this.#go({ name: "stopped", reason: "ended" });
  }

  /**
   * Queue speech.
   * @param {Int16Array} pcm 16 kHz mono, up to a second
   * @param {{state: string, clip?: string}} [under] the clip wanted while it is spoken
   * @returns {number} the position of its first sample in the session, or -1 if there is no session
   */
  sendSpeech(pcm, under) {
    if (pcm.length === 0 || pcm.length > MAX_CHUNK_SAMPLES)
      throw new RangeError(`A chunk has 1 to ${MAX_CHUNK_SAMPLES} samples, not ${pcm.length}.`);
    if (!this.session) return -1;
    const chunk = {
      format: "pcm_s16le",
      sample_rate: SAMPLE_RATE_HZ,
      channels: 1,
      duration_ms: pcm.length / 16,
      data: toBase64(new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength)),
    };
    const wanted = under && { video_state: { type: under.state, base_video: under.clip ?? null } };
    this.#send("GENERATE", { audio_chunk: chunk, ...wanted });
    const position = this.sentSamples;
    this.sentSamples += pcm.length;
    return position;
  }

  /** Drop all speech that is queued. `interrupted` answers. */
  interrupt() {
    this.#send("INTERRUPT", {});
  }

  /** @param {string} state idle, speaking or action @param {string} [clip] default: its first */
  changeState(state, clip) {
    this.#send("STATE_CHANGE", { target_state: state, ...(clip && { base_video: clip }) });
  }

  /** @param {1 | 2} index */
  startAction(index) {
    this.#send("ACTION", { action_index: index });
  }

  /** Send any message of the protocol. @param {string} type @param {object} data */
  send(type, data) {
    this.#send(type, data);
  }

  #open() {
    this.#go({ name: "connecting", attempt: this.#attempt });
    this.#problem = undefined;
    const socket = new WebSocket(streamAddress(this.userId, this.server));
    this.#socket = socket;
    socket.onopen = () => {
      // Before INIT_SUCCESS no id is known: the server makes one.
      this.#send("INIT", { user_id: this.userId, ...(this.token && { auth_token: this.token }) });
      this.#hear();
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code }) => this.#closed(code);
  }

  /** @param {string} type @param {object} data */
  #send(type, data) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    const message = { type, session_id: this.#sessionId, data };
    this.#socket.send(JSON.stringify(message));
    this.#tell("message", { direction: "out", message });
  }

  /** @param {string} text */
  #receive(text) {
    const arrivedMs = performance.now();
    this.#lastHeardMs = arrivedMs;
    const message = JSON.parse(text);
    const { type, data } = message;
    switch (type) {
      case "VIDEO_FRAME":
      case "ACTION_FRAME":
        if (this.status.name !== "live") this.#live();
        this.#tell("frame", {
          accessUnit: fromBase64(data.frame_data),
          isIdr: data.keyframe,
          timestampMs: data.frame_timestamp,
          audioTimestampMs: data.audio_timestamp,
          state: data.state,
          clip: data.base_video,
          actionProgress: data.action_progress,
          arrivedMs,
          wireBytes: text.length,
        });
        break;
      case "INIT_SUCCESS":
        this.#sessionId = message.session_id;
        this.session = data;
        this.sentSamples = 0;
        this.#tell("open", data);
        this.#live();
        break;
      case "PING":
        this.#send("PONG", {});
        break;
      case "STATE_CHANGED":
        this.#tell("state", data);
        break;
      case "ACTION_TRIGGERED":
        this.#tell("action", data);
        break;
      case "INTERRUPTED":
        this.#tell("interrupted", data);
        break;
      case "ERROR":
        this.#problem = data;
        if (data.details?.reason === "no_worker") this.#go({ name: "waiting", problem: data });
        this.#tell("problem", data);
        break;
      default: // CLOSE_ACK: the close code says the same, and newer messages may be ignored
    }
    this.#tell("message", { direction: "in", message });
  }

  #live() {
    this.#attempt = 0;
    this.#go({ name: "live" });
  }

  /** Watch for a connection that died without a word. */
  #hear() {
    this.#lastHeardMs = performance.now();
    this.#silenceTimer = setInterval(() => {
      if (performance.now() - this.#lastHeardMs < SILENCE_MS || this.status.name === "waiting") return;
      // A timer of a page that slept rings late: what came meanwhile is read before the next ring.
      this.#lastHeardMs = performance.now() - SILENCE_MS / 2;
      if (this.status.name === "live") this.#go({ name: "waiting" });
      else {
        this.#drop();
        this.#closed(1006);
      }
    }, SILENCE_MS / 4);
  }

  /** @param {number} code */
  #closed(code) {
    this.#drop();
    const problem = this.#problem;
    let reason = /** @type {Record<number, any>} */ (CLOSED)[code] ?? "lost";
    // That nobody answers while the server restarts is no news.
    if (reason === "lost" && this.#attempt > 0) reason = this.#reason;
    this.#reason = reason;
    const isNotReady = reason === "avatar" && problem?.details?.reason === "preparing";
    if (reason === "ended" || reason === "token" || (reason === "avatar" && !isNotReady)) {
      this.#go({ name: "stopped", reason, closeCode: code, problem });
      return;
    }
    const patienceMs = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#attempt);
    let waitMs = patienceMs * (0.75 + Math.random() / 2); // clients of a restarted server spread out
    if (isNotReady) waitMs = NOT_READY_RETRY_MS;
    waitMs = problem?.details?.retry_after_ms ?? waitMs;
    this.#attempt += 1;
    const retryAtMs = performance.now() + waitMs;
    this.#go({ name: "retrying", reason, closeCode: code, retryAtMs, attempt: this.#attempt, problem });
    this.#retryTimer = setTimeout(() => this.#open(), waitMs);
  }

  /** Forget the connection, without a word to anybody. */
  #drop() {
    clearTimeout(this.#retryTimer);
    clearInterval(this.#silenceTimer);
    const socket = this.#socket;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
    this.#socket = undefined;
    this.#sessionId = null;
    this.session = undefined;
  }

  /** @param {Status} status */
  #go(status) {
    this.status = status;
    this.#tell("status", status);
  }

  /** @param {string} name @param {any} detail */
  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
