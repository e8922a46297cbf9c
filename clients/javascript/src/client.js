/**
 * A session with a talking avatar, over one WebSocket: connect, send speech, receive frames and events.
 *
 * It implements the protocol and nothing of a page: no canvas, no sound (for those see `player.js`;
 * `talking-avatar.js` joins all of it). A connection that is lost is tried again with growing waits,
 * and its session resumed where the server keeps it.
 *
 * Events (all `CustomEvent`s, what they carry in `detail`):
 *
 * | event | detail |
 * |---|---|
 * | `status` | `Status`: where the connection stands |
 * | `open` | `data` of INIT_SUCCESS: a session begins, positions of speech count from 0 |
 * | `resumed` | `data` of INIT_SUCCESS: the same session continues on another connection |
 * | `session-lost` | `{reason}`: the session before cannot be continued; `open` follows |
 * | `frame` | `AvatarFrame`, see `frame.js` |
 * | `speech-started`, `speech-finished` | `data` of SPEECH_STARTED, SPEECH_FINISHED |
 * | `state`, `action`, `interrupted`, `warning` | `data` of STATE_CHANGED, ACTION_TRIGGERED, INTERRUPTED, WARNING |
 * | `problem` | `data` of ERROR |
 * | `message` | `{direction: "in" \| "out", message}`: everything but binary messages, for logs |
 */

import { nameProblem, streamAddress } from "./addresses.js";
import { toBase64 } from "./base64.js";
import { BINARY_SUBPROTOCOL, JSON_SUBPROTOCOL, packSpeech } from "./binary.js";
import { SAMPLE_RATE_HZ, binaryFrameOf, frameOf } from "./frame.js";
import { ResumeState } from "./resume-state.js";
import { afterEnd } from "./retry-policy.js";
import { requestWatchToken, watchTokensAddress } from "./watch-tokens.js";

const PROTOCOL_VERSION = "1.2";
/** A message holds ten seconds; shorter ones are heard sooner. */
const MAX_CHUNK_S = 10;

/** The server sends 25 frames a second; so long a silence means that the connection is dead. */
const SILENCE_MS = 8_000;
/** Browsers give up a connection that nobody answers only after minutes. */
const CONNECT_MS = 10_000;
/** Of a connection that is given up: unlike 1000 and 1001, it leaves the session resumable. */
const GIVEN_UP = 4000;

/** Events that carry a message's `data` as it is. */
const EVENTS = /** @type {Record<string, string>} */ ({
  SPEECH_STARTED: "speech-started",
  SPEECH_FINISHED: "speech-finished",
  STATE_CHANGED: "state",
  ACTION_TRIGGERED: "action",
  INTERRUPTED: "interrupted",
  WARNING: "warning",
});

/**
 * @typedef {object} Status
 * @property {"off" | "connecting" | "waiting" | "live" | "retrying" | "stopped"} name
 *   waiting: connected, but no worker has taken the session yet. stopped: only `connect` helps.
 * @property {import("./retry-policy.js").Reason} [reason]
 * @property {number} [closeCode]
 * @property {number} [retryAtMs] of `performance.now()`, while retrying
 * @property {number} [attempt]
 * @property {number} [keptUntilMs] of `performance.now()`: until then the session can be resumed
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
 * @property {string} [protocol_version]
 * @property {Record<string, string>} [clip_titles] what clips show, for people
 * @property {{max_message_bytes: number, max_audio_ms: number, max_queued_speech_ms: number, session_idle_s: number, max_session_s: number, sample_rates: number[]}} [limits]
 * @property {{token: string, window_ms: number}} [resume]
 * @property {{token: string}} [watch]
 * @property {boolean} [resumed]
 * @property {number} [next_audio_ms]
 *
 * @typedef {object} ClientOptions
 * @property {string} userId whose avatar
 * @property {string} [server] http(s):// or ws(s)://; default: where the page came from
 * @property {string | (() => string | Promise<string>)} [token] who asks, where the server wants to
 *   know; a function is called at each connection, for tokens that expire
 * @property {{sessionId: string, token: string}} [watch] see and hear this session of `userId`
 * @property {boolean} [allowWatchers] ask for a token that lets others watch
 * @property {"keep" | "drop"} [lateAudio] after a gap; drop is right for a microphone
 * @property {boolean} [binary] false: JSON only
 */

export { streamAddress };

export class AvatarClient extends EventTarget {
  /** @type {WebSocket | undefined} */
  #socket;
  /** @type {string | null} */
  #sessionId = null;
  #resume = new ResumeState();
  /** Whether the INIT that is not answered yet resumes a session. */
  #isResuming = false;
  #attempt = 0;
  #retryTimer = 0;
  #silenceTimer = 0;
  #lastHeardMs = 0;
  /** What binary frames show. */
  #info = { state: "idle", base_video: "" };
  #offersBinary;
  /** Whether a connection was opened, so that it is known what the server selects. */
  #knowsServer = false;
  /** @type {import("./retry-policy.js").Reason} of the last end */
  #reason = "lost";
  /** @type {ErrorData | undefined} the last ERROR of this connection */
  #problem;

  /** @param {ClientOptions} options */
  constructor({ userId, server, token, watch, allowWatchers, lateAudio, binary = true }) {
    super();
    this.userId = userId;
    this.server = server;
    this.token = token;
    this.watch = watch;
    this.allowWatchers = allowWatchers;
    this.lateAudio = lateAudio;
    this.#offersBinary = binary;
    this.binary = binary;
    /** @type {Status} */
    this.status = { name: "off" };
    /** @type {InitSuccess | undefined} what the session offers, while there is one */
    this.session = undefined;
    /** How many samples this session was sent, at 16 kHz: the position of the next. */
    this.sentSamples = 0;
    /** How many messages of speech this session was sent. */
    this.sentChunks = 0;
  }

  get sessionId() {
    return this.#sessionId;
  }

  /** Whether frames come as binary messages. */
  get isBinary() {
    return this.#socket?.protocol === BINARY_SUBPROTOCOL;
  }

  /** Whether the server tells when an utterance begins and ends (version 1.2). */
  get tellsSpeech() {
    return this.session?.protocol_version !== undefined;
  }

  /** Another token that lets others watch, from a server that asks for credentials. */
  async newWatchToken() {
    if (!this.#sessionId || this.watch) throw new Error("There is no session of one's own.");
    const token = typeof this.token === "function" ? await this.token() : this.token;
    return requestWatchToken(watchTokensAddress(this.#sessionId, this.server), token);
  }

  /** Connect now, as a new session, whatever was before. */
  connect() {
    this.#attempt = 0;
    this.#resume.forget();
    this.#drop(1000);
    this.#sessionId = null;
    this.#open();
  }

  /** Try now instead of waiting; the session is resumed where that is possible. */
  retryNow() {
    if (this.status.name !== "retrying") {
      this.connect();
      return;
    }
    clearTimeout(this.#retryTimer);
    this.#open();
  }

  /** Take leave; no new attempt is made. */
  close() {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#send("CLOSE", {});
    this.#drop(1000);
    this.#resume.forget();
    this.#sessionId = null;
    this.#go({ name: "stopped", reason: "ended" });
  }

  /**
   * Queue speech.
   * @param {Int16Array} pcm mono, at most ten seconds
   * @param {object} [options]
   * @param {number} [options.sampleRate] Hz, one of `session.limits.sample_rates`
   * @param {string} [options.utteranceId] what belongs together has the same one
   * @param {{state: string, clip?: string}} [options.under] the clip wanted while it is spoken
   * @returns {number} the position of its first sample in the session, or -1 if there is no session
   */
  sendSpeech(pcm, { sampleRate = SAMPLE_RATE_HZ, utteranceId, under } = {}) {
    if (pcm.length === 0 || pcm.length > MAX_CHUNK_S * sampleRate)
      throw new RangeError(
        `A chunk has 1 to ${MAX_CHUNK_S * sampleRate} samples, not ${pcm.length}.`,
      );
    if (!this.session || this.watch) return -1;
    if (this.isBinary && !under) {
      this.#socket?.send(packSpeech(pcm, sampleRate, utteranceId));
    } else {
      const chunk = {
        format: "pcm_s16le",
        sample_rate: sampleRate,
        channels: 1,
        duration_ms: (pcm.length * 1000) / sampleRate,
        data: toBase64(new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength)),
      };
      const wanted = under && {
        video_state: { type: under.state, base_video: under.clip ?? null },
      };
      this.#send("GENERATE", { audio_chunk: chunk, utterance_id: utteranceId, ...wanted });
    }
    if (utteranceId) this.#resume.sent(utteranceId);
    const position = this.sentSamples;
    this.sentSamples += Math.ceil((pcm.length * SAMPLE_RATE_HZ) / sampleRate);
    this.sentChunks += 1;
    return position;
  }

  /** The utterance is complete. @param {string} [utteranceId] must be the newest */
  endSpeech(utteranceId) {
    if (this.tellsSpeech) this.#send("END_OF_SPEECH", { utterance_id: utteranceId });
  }

  /** Drop all speech that is queued. `interrupted` answers. */
  interrupt() {
    this.#send("INTERRUPT", this.#resume.interrupt());
  }

  /** The user begins or stops speaking: the avatar turns attentive. @param {boolean} active */
  userSpeaking(active) {
    this.#send("USER_SPEAKING", { active });
  }

  /** @param {string} state idle, speaking or action @param {string} [clip] default: any of it */
  changeState(state, clip) {
    this.#resume.asked(state, clip);
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
    const problem = nameProblem(this.userId);
    if (problem) {
      this.#giveUp("avatar", problem);
      return;
    }
    this.#go({
      name: "connecting",
      attempt: this.#attempt,
      keptUntilMs: this.#resume.keptUntilMs,
    });
    this.#problem = undefined;
    this.#isResuming = this.#resume.canResume(performance.now());
    if (!this.#isResuming) this.#loseSession("expired");
    const known = this.watch?.sessionId ?? this.#sessionId;
    const address = streamAddress(this.userId, this.server, known);
    const socket = this.#offersBinary
      ? new WebSocket(address, [BINARY_SUBPROTOCOL, JSON_SUBPROTOCOL])
      : new WebSocket(address);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    let hasOpened = false;
    this.#retryTimer = setTimeout(() => this.#closed(1006), CONNECT_MS);
    socket.onopen = () => {
      clearTimeout(this.#retryTimer);
      hasOpened = true;
      this.#offersBinary = socket.protocol !== ""; // as this server wants it, from now on
      this.#knowsServer = true;
      this.#hear();
      this.#introduce(socket);
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code }) => {
      // Browsers refuse a server that selects none of the subprotocols: those before 1.2 do not.
      if (!hasOpened && !this.#knowsServer) this.#offersBinary = this.binary && !this.#offersBinary;
      this.#closed(code);
    };
  }

  /** @param {WebSocket} socket that was opened */
  async #introduce(socket) {
    let token;
    try {
      token = typeof this.token === "function" ? await this.token() : this.token;
    } catch (error) {
      if (socket !== this.#socket) return;
      const message = error instanceof Error ? error.message : String(error);
      this.#problem = { code: "UNAUTHORIZED", message: `There is no token: ${message}` };
      this.#closed(1006); // where tokens come from may be out of reach for a while only
      return;
    }
    if (socket !== this.#socket) return;
    const watching = this.watch && { role: "watch", watch_token: this.watch.token };
    // Before the first INIT_SUCCESS no id is known: the server makes one.
    this.#send(
      "INIT",
      {
        user_id: this.userId,
        protocol_version: PROTOCOL_VERSION,
        auth_token: token,
        allow_watchers: this.watch ? undefined : this.allowWatchers,
        late_audio: this.lateAudio,
        ...watching,
        ...(this.#isResuming && this.#resume.init()),
      },
      this.watch?.sessionId,
    );
  }

  /** @param {"expired" | "refused"} reason */
  #loseSession(reason) {
    const hadOne = this.#sessionId !== null && !this.watch;
    this.#resume.forget();
    this.#sessionId = null;
    if (hadOne) this.#tell("session-lost", { reason });
  }

  /** @param {string} type @param {object} data @param {string} [sessionId] */
  #send(type, data, sessionId) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    const message = { type, session_id: sessionId ?? this.#sessionId, data };
    this.#socket.send(JSON.stringify(message));
    this.#tell("message", { direction: "out", message });
  }

  /** @param {string | ArrayBuffer} content */
  #receive(content) {
    const arrivedMs = performance.now();
    this.#lastHeardMs = arrivedMs;
    if (typeof content !== "string") {
      this.#frame(binaryFrameOf(content, this.#info, arrivedMs));
      return;
    }
    const message = JSON.parse(content);
    const { type, data } = message;
    switch (type) {
      case "VIDEO_FRAME":
      case "ACTION_FRAME":
        this.#frame(frameOf(data, arrivedMs, content.length));
        break;
      case "FRAME_INFO":
        this.#info = data;
        break;
      case "INIT_SUCCESS":
        this.#opened(message.session_id, data);
        break;
      case "PING":
        this.#send("PONG", {});
        break;
      case "ERROR":
        if (this.#reopens(data)) break;
        if (data.details?.chunk !== undefined) this.#resume.refused(data.details.utterance_id);
        this.#problem = data;
        if (data.details?.reason === "no_worker") this.#go({ name: "waiting", problem: data });
        this.#tell("problem", data);
        break;
      default: // CLOSE_ACK: the close code says the same, and newer messages may be ignored
        if (type === "SPEECH_FINISHED") this.#resume.finished(data.utterance_id);
        if (type === "STATE_CHANGED") this.#resume.chose(data.current_state);
        if (type === "INTERRUPTED") this.#resume.interrupted();
        if (EVENTS[type]) this.#tell(EVENTS[type], data);
    }
    this.#tell("message", { direction: "in", message });
  }

  /** @param {import("./frame.js").AvatarFrame} frame */
  #frame(frame) {
    if (this.status.name !== "live") this.#live();
    this.#resume.frame(frame);
    this.#tell("frame", frame);
  }

  /** @param {string} sessionId @param {InitSuccess} data */
  #opened(sessionId, data) {
    this.#sessionId = sessionId;
    this.session = data;
    this.#isResuming = false;
    this.#resume.opened(this.watch ? {} : data);
    if (!data.resumed) this.sentSamples = this.sentChunks = 0;
    for (const interrupt of this.#resume.unanswered()) this.#send("INTERRUPT", interrupt);
    this.#tell(data.resumed ? "resumed" : "open", data);
    this.#live();
  }

  /**
   * What the server answers to an INIT that cannot be: the session to resume is gone, and another
   * one is opened on the same connection; or there is nothing to watch.
   * @param {ErrorData} problem @returns {boolean}
   */
  #reopens(problem) {
    if (this.session) return false;
    if (this.#isResuming && ["INVALID_SESSION", "INVALID_MESSAGE"].includes(problem.code)) {
      this.#isResuming = false;
      this.#loseSession("refused");
      if (this.#socket) this.#introduce(this.#socket);
      return true;
    }
    if (this.watch && problem.code === "INVALID_SESSION") {
      this.#giveUp("unwatchable", problem);
      return true;
    }
    return false;
  }

  /** @param {import("./retry-policy.js").Reason} reason @param {ErrorData} problem */
  #giveUp(reason, problem) {
    this.#drop(1000);
    this.#go({ name: "stopped", reason, problem });
    this.#tell("problem", problem);
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
      // A timer of a page that slept rings late: what has arrived is read before the next ring.
      this.#lastHeardMs = performance.now() - SILENCE_MS / 2;
      // To resume costs little. Without that, a worker may be on its way: the session is kept.
      const canWait = this.status.name === "live" && !this.#resume.canResume(performance.now());
      if (canWait) this.#go({ name: "waiting" });
      else this.#closed(1006);
    }, SILENCE_MS / 4);
  }

  /** @param {number} code */
  #closed(code) {
    this.#drop(GIVEN_UP);
    const problem = this.#problem;
    const canResume = this.#resume.lost(code, performance.now());
    const { reason, waitMs } = afterEnd({
      code,
      problem,
      attempt: this.#attempt,
      before: this.#reason,
      isKept: canResume,
    });
    this.#reason = reason;
    if (waitMs === undefined) {
      this.#sessionId = null;
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
      keptUntilMs: canResume ? this.#resume.keptUntilMs : undefined,
      problem,
    });
    this.#retryTimer = setTimeout(() => this.#open(), waitMs);
  }

  /** Let the connection go. @param {number} code of its close, if it is still open */
  #drop(code) {
    clearTimeout(this.#retryTimer);
    clearInterval(this.#silenceTimer);
    const socket = this.#socket;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(code);
    }
    this.#socket = undefined;
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
