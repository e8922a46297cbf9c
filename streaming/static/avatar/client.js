/**
 * A session with a talking avatar, over one WebSocket: connect, send speech, hear events.
 *
 * It knows the protocol and nothing of a page: no canvas, no sound (for those see `player.js`).
 * It connects anew, with growing patience, whenever trying again can help, and says so.
 *
 *     import { AvatarClient } from "/static/avatar/client.js";
 *     import { decodeSpeech } from "/static/avatar/pcm.js";
 *     import { AvatarPlayer } from "/static/avatar/player.js";
 *
 *     const client = new AvatarClient({ userId: "me" });
 *     const player = new AvatarPlayer(client, document.querySelector("#avatar"));
 *     client.connect();
 *     button.onclick = async () => {
 *       await player.unlockSound(); // browsers allow sound after a click
 *       player.speak(await decodeSpeech(file));
 *     };
 *
 * Events (all `CustomEvent`s, what they carry in `detail`):
 *
 * | event | detail |
 * |---|---|
 * | `status` | `Status`: where the connection stands |
 * | `open` | `data` of INIT_SUCCESS: a session begins, positions of speech count from 0 |
 * | `frame` | `AvatarFrame`, see `frame.js` |
 * | `state`, `action`, `interrupted` | `data` of STATE_CHANGED, ACTION_TRIGGERED, INTERRUPTED |
 * | `problem` | `data` of ERROR |
 * | `message` | `{direction: "in" \| "out", message}`: everything, for logs |
 */

import { toBase64 } from "./base64.js";
import { SAMPLE_RATE_HZ, frameOf } from "./frame.js";
import { afterEnd } from "./retry-policy.js";

const MAX_CHUNK_SAMPLES = 16_000;

/** The server sends 25 frames a second; so long a silence means that the connection is dead. */
const SILENCE_MS = 8_000;

/**
 * @typedef {object} Status
 * @property {"off" | "connecting" | "waiting" | "live" | "retrying" | "stopped"} name
 *   waiting: connected, but no worker has taken the session yet. stopped: only `connect` helps.
 * @property {import("./retry-policy.js").Reason} [reason]
 * @property {number} [closeCode]
 * @property {number} [retryAtMs] of `performance.now()`, while retrying
 * @property {number} [attempt]
 * @property {ErrorData} [problem] what the server said about it
 *
 * @typedef {import("./retry-policy.js").ErrorData} ErrorData
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
  /** @type {import("./retry-policy.js").Reason} of the last end */
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
        this.#tell("frame", frameOf(data, arrivedMs, text.length));
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
      if (performance.now() - this.#lastHeardMs < SILENCE_MS || this.status.name === "waiting")
        return;
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
    const { reason, waitMs } = afterEnd({
      code,
      problem,
      attempt: this.#attempt,
      before: this.#reason,
    });
    this.#reason = reason;
    if (waitMs === undefined) {
      this.#go({ name: "stopped", reason, closeCode: code, problem });
      return;
    }
    this.#attempt += 1;
    this.#go({
      name: "retrying",
      reason,
      closeCode: code,
      retryAtMs: performance.now() + waitMs,
      attempt: this.#attempt,
      problem,
    });
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
