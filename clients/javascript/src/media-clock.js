/**
 * One clock for picture and sound.
 *
 * It counts milliseconds like `performance.now()`, which stamps what arrives and what the screen
 * shows. Sound has a clock of its own, the sound card's: how it maps onto ours is read from
 * the AudioContext repeatedly and followed slowly, so that neither the reading's noise nor the
 * drift between the two (some 50 µs a second) is ever seen or heard.
 *
 * What browsers say of the sound card is taken with care. Firefox asks it each time, and now and then
 * stands still for good over that, most of all while it opens: so it is asked seldom, and not at first. WebKitGTK
 * stamps what is heard by another clock than `performance.now()`: such a stamp is not believed.
 */

const READ_EVERY_MS = 200; // the AudioContext
const ASK_EVERY_MS = 1_000; // the sound card
const FOLLOW = 0.3; // of a reading's difference
const JUMP_MS = 60; // a difference that is no drift: the sound card slept, or was changed
const OPENING_MS = 1_000;
const BELIEVED_MS = 500; // between now and the moment of what is heard now

export class MediaClock {
  /** @type {number | undefined} `now()` minus the time of the sound that is heard, in ms */
  #offsetMs;
  /** @type {number | undefined} since when the sound runs */
  #runningSinceMs;
  #lastReadMs = -Infinity;
  /** How long sound takes from the AudioContext to the ear. */
  latencyMs = 0;

  /** @param {() => number} now */
  constructor(now = () => performance.now()) {
    this.now = now;
  }

  /** Look at the sound card. Call it often. @param {AudioContext | undefined} context */
  follow(context) {
    if (!context || context.state !== "running") {
      this.#offsetMs = this.#runningSinceMs = undefined;
      this.#lastReadMs = -Infinity;
      return;
    }
    const nowMs = this.now();
    this.#runningSinceMs ??= nowMs;
    const isOpening = nowMs - this.#runningSinceMs < OPENING_MS;
    if (nowMs - this.#lastReadMs < (isOpening ? READ_EVERY_MS : ASK_EVERY_MS)) return;
    this.#lastReadMs = nowMs;
    const reading = this.#read(context, isOpening);
    const difference = reading - (this.#offsetMs ?? reading);
    const isJump = this.#offsetMs === undefined || Math.abs(difference) > JUMP_MS;
    this.#offsetMs = isJump
      ? reading
      : /** @type {number} */ (this.#offsetMs) + difference * FOLLOW;
  }

  /** @param {AudioContext} context @param {boolean} isOpening @returns {number} the offset, in ms */
  #read(context, isOpening) {
    const asked = isOpening ? 0 : context.outputLatency;
    this.latencyMs = (asked || context.baseLatency || 0) * 1000;
    if (!isOpening) {
      const { contextTime = 0, performanceTime = 0 } = context.getOutputTimestamp();
      if (contextTime > 0 && Math.abs(performanceTime - this.now()) < BELIEVED_MS)
        return performanceTime - contextTime * 1000;
    }
    // What is computed now is heard when it has passed the sound card.
    return this.now() - context.currentTime * 1000 + this.latencyMs;
  }

  /**
   * When the AudioContext must play what is to be heard at `timeMs`.
   * @param {number} timeMs @returns {number | undefined} seconds; undefined while nothing can be heard
   */
  toSound(timeMs) {
    return this.#offsetMs === undefined ? undefined : (timeMs - this.#offsetMs) / 1000;
  }

  /** When it is heard, what the AudioContext plays at `soundS`. @param {number} soundS */
  fromSound(soundS) {
    return this.#offsetMs === undefined ? undefined : soundS * 1000 + this.#offsetMs;
  }
}
