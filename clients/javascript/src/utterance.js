/** One utterance on its way: what is to be said, and a promise of how it went. */

/**
 * @typedef {object} Played
 * @property {number} playedMs how much of it was shown
 * @property {boolean} interrupted whether it was dropped before its end
 *
 * @typedef {"waiting" | "showing" | "shown" | "interrupted"} UtteranceState
 */

export class Utterance {
  /** @type {(played: Played) => void} */
  #resolve = () => {};
  /** @type {(() => void) | undefined} */
  #cancel;
  #wireId;
  #part = 1;
  #playedMs = 0;

  /**
   * @param {object} options
   * @param {string} options.id 1 to 64 letters, digits, `_`, `.`, `:` or `-`; used once a session
   * @param {string} options.label what people call it
   * @param {number} options.sampleRate Hz
   */
  constructor({ id, label, sampleRate }) {
    this.id = id;
    this.label = label;
    this.sampleRate = sampleRate;
    this.#wireId = id;
    /** Samples known so far, at 16 kHz. */
    this.length = 0;
    /** How many of the current part were sent. */
    this.sent = 0;
    /** Position of its first sample in the session; -1 before it is sent. */
    this.start = -1;
    /** @type {UtteranceState} */
    this.state = "waiting";
    /** Whether no more speech is added to it. */
    this.isComplete = false;
    /** Whether it is known how it went. */
    this.isOver = false;
    /** @type {Int16Array[]} 40 ms each, not yet sent */
    this.frames = [];
    /** @type {Promise<Played>} settled when it is over; never rejected */
    this.finished = new Promise((resolve) => (this.#resolve = resolve));
  }

  /** What the server calls it: a part that came after the server had ended it has a name of its own. */
  get wireId() {
    return this.#wireId;
  }

  /** Whether the server has, or had, some of it. */
  get hasBegun() {
    return this.sent > 0 || this.#part > 1;
  }

  /** @param {() => void} cancel stops what feeds it */
  set source(cancel) {
    this.#cancel = cancel;
  }

  /** The server ended it while speech was still to come: the rest is sent under another name. */
  beginPart(/** @type {number} */ playedMs) {
    this.#playedMs += playedMs;
    this.#part += 1;
    this.sent = 0;
    this.start = -1;
    this.#wireId = `${this.id.slice(0, 56)}:${this.#part}`;
  }

  /** @param {number} playedMs of the current part @param {boolean} interrupted */
  settle(playedMs, interrupted) {
    this.isOver = true;
    this.state = interrupted ? "interrupted" : "shown";
    this.frames = [];
    this.#cancel?.();
    this.#cancel = undefined;
    this.#resolve({ playedMs: this.#playedMs + playedMs, interrupted });
  }

  /** Drop what was not sent; the server tells how much was shown. */
  drop() {
    this.state = "interrupted";
    this.frames = [];
    this.isComplete = true;
    this.#cancel?.();
    this.#cancel = undefined;
  }
}
