/**
 * One clock for picture and sound.
 *
 * It counts milliseconds like `performance.now()`, which stamps what arrives and what the screen
 * shows. Sound has a clock of its own, the sound card's: how it maps onto ours is read from
 * the AudioContext again and again and followed slowly, so that neither the reading's noise nor the
 * drift between the two (some 50 µs a second) is ever seen or heard.
 */

const FOLLOW = 0.05; // of a reading's difference, 25 times a second
const JUMP_MS = 60; // a difference that is no drift: the sound card slept, or was changed

export class MediaClock {
  /** @type {number | undefined} `now()` minus the time of the sound that is heard, in ms */
  #offsetMs;

  /** @param {() => number} now */
  constructor(now = () => performance.now()) {
    this.now = now;
  }

  /** Read the sound card. Call it often. @param {AudioContext | undefined} context */
  follow(context) {
    if (!context || context.state !== "running") {
      this.#offsetMs = undefined;
      return;
    }
    const { contextTime = 0, performanceTime = 0 } = context.getOutputTimestamp();
    // Nothing was played yet: what is computed now is heard when it has passed the sound card.
    const reading =
      contextTime > 0
        ? performanceTime - contextTime * 1000
        : this.now() - (context.currentTime - outputLatencyS(context)) * 1000;
    const difference = reading - (this.#offsetMs ?? reading);
    const isJump = this.#offsetMs === undefined || Math.abs(difference) > JUMP_MS;
    this.#offsetMs = isJump
      ? reading
      : /** @type {number} */ (this.#offsetMs) + difference * FOLLOW;
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

/** @param {AudioContext} context */
export function outputLatencyS(context) {
  return context.outputLatency || context.baseLatency || 0;
}
