/** What a client remembers of its session, to continue it on another connection. Pure. */

/** The server keeps no session that ended by one of these (docs/protocol.md, "Resuming"). */
const MEANT = new Set([1000, 1001, 4401, 4404, 4408, 4409, 4429]);

export class ResumeState {
  /** @type {string | undefined} */
  #token;
  #windowMs = 0;
  /** @type {number | undefined} until when the server keeps the session */
  #keptUntilMs;
  /** @type {number | undefined} */
  #lastFrameMs;
  /** @type {number | undefined} */
  #acknowledgedMs;
  /** @type {{target_state?: string, base_video?: string}} by the last STATE_CHANGE */
  #asked = {};
  /** @type {{target_state?: string, base_video?: string}} by the last one that the server took */
  #chosen = {};
  /** @type {Map<string, number>} messages by utterance, of those not finished, the oldest first */
  #utterances = new Map();
  #interrupts = 0;
  /** How many of them were not answered: they, or their answers, may be lost with the connection. */
  #unanswered = 0;

  /** Until when the session can be resumed, while the connection is lost. */
  get keptUntilMs() {
    return this.#keptUntilMs;
  }

  /**
   * INIT_SUCCESS came.
   * @param {{resume?: {token: string, window_ms: number}, resumed?: boolean}} data
   */
  opened({ resume, resumed }) {
    if (!resumed) this.forget();
    this.#token = resume?.token;
    this.#windowMs = resume?.window_ms ?? 0;
    this.#keptUntilMs = undefined;
  }

  /** @param {{timestampMs: number, audioTimestampMs?: number}} frame that came */
  frame({ timestampMs, audioTimestampMs }) {
    this.#lastFrameMs = timestampMs;
    if (audioTimestampMs !== undefined) this.#acknowledgedMs = audioTimestampMs;
  }

  /** @param {string} state @param {string} [clip] asked for by STATE_CHANGE */
  asked(state, clip) {
    this.#asked = { target_state: state, ...(clip && { base_video: clip }) };
  }

  /** @param {string} state by STATE_CHANGED */
  chose(state) {
    if (this.#asked.target_state === state) this.#chosen = this.#asked;
  }

  /** @param {string} utteranceId of which a message was sent */
  sent(utteranceId) {
    this.#utterances.set(utteranceId, (this.#utterances.get(utteranceId) ?? 0) + 1);
  }

  /**
   * A message was not accepted. Of an utterance of which none was the server knows nothing.
   * @param {string} utteranceId
   */
  refused(utteranceId) {
    const accepted = (this.#utterances.get(utteranceId) ?? 0) - 1;
    if (accepted > 0) this.#utterances.set(utteranceId, accepted);
    else this.#utterances.delete(utteranceId);
  }

  /** @param {string} utteranceId by SPEECH_FINISHED */
  finished(utteranceId) {
    this.#utterances.delete(utteranceId);
  }

  /** @returns {{number: number}} the fields of another INTERRUPT */
  interrupt() {
    this.#unanswered += 1;
    return { number: ++this.#interrupts };
  }

  /** INTERRUPTED came. */
  interrupted() {
    this.#unanswered = Math.max(0, this.#unanswered - 1);
  }

  /**
   * The INTERRUPTs to send again, the oldest first: by their numbers the server knows those that came.
   * @returns {{number: number}[]}
   */
  unanswered() {
    const first = this.#interrupts - this.#unanswered + 1;
    return Array.from({ length: this.#unanswered }, (_, at) => ({ number: first + at }));
  }

  /**
   * The connection ended.
   * @param {number} code of the close @param {number} nowMs
   * @returns {boolean} whether the session can be resumed
   */
  lost(code, nowMs) {
    if (MEANT.has(code)) this.forget();
    // An attempt that fails does not lengthen the time.
    else if (this.#token) this.#keptUntilMs ??= nowMs + this.#windowMs;
    return this.canResume(nowMs);
  }

  /** @param {number} nowMs */
  canResume(nowMs) {
    return this.#token !== undefined && nowMs < (this.#keptUntilMs ?? Infinity);
  }

  /** @returns {Record<string, unknown>} the fields of INIT that resume the session */
  init() {
    const [utteranceId] = this.#utterances.keys();
    return {
      resume_token: this.#token,
      last_frame_timestamp: this.#lastFrameMs,
      acknowledged_ms: this.#acknowledgedMs,
      utterance_id: utteranceId,
      ...this.#chosen,
    };
  }

  forget() {
    this.#token = this.#keptUntilMs = this.#lastFrameMs = this.#acknowledgedMs = undefined;
    this.#asked = this.#chosen = {};
    this.#utterances.clear();
    this.#unanswered = 0;
  }
}
