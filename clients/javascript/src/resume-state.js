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
  /** @type {{target_state?: string, base_video?: string}} */
  #chosen = {};
  /** @type {Set<string>} of utterances that are not finished, the oldest first */
  #utterances = new Set();

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
  chose(state, clip) {
    this.#chosen = { target_state: state, ...(clip && { base_video: clip }) };
  }

  /** @param {string} utteranceId of which speech was sent */
  sent(utteranceId) {
    this.#utterances.add(utteranceId);
  }

  /** @param {string} utteranceId by SPEECH_FINISHED */
  finished(utteranceId) {
    this.#utterances.delete(utteranceId);
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
    const [utteranceId] = this.#utterances;
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
    this.#chosen = {};
    this.#utterances.clear();
  }
}
