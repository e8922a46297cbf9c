/**
 * The jitter buffer's rule: when a frame is due on the screen. Pure; times in ms.
 *
 * A frame stamped T is due at T + base. `base` is the quickest journey of the last ten seconds plus a
 * delay that swallows the journeys' unevenness: as small as they allow.
 *
 * - A frame that comes too late moves the base at once: what follows is smooth again.
 * - The base moves back slowly, and only while nothing is spoken: sound is never stretched.
 * - Frames that are hopelessly late (the page slept, the network stood still) are not waited for: the
 *   base stays, they are skipped, and the next that comes in time is live. If only such frames
 *   come, the journey itself has become longer, and the base starts over; as it does when a
 *   frame comes a second too early.
 * - A picture that comes out of the decoder too late moves the base, too, or the mouth would follow
 *   its voice. Not within the first second, in which decoders are slow because they start; and not
 *   beyond the largest delay: a decoder that is too slow for the stream would tear the sound to pieces.
 */

const WINDOW = 250; // frames: ten seconds
const MARGIN_MS = 40;
const STALE_MS = 400;
const STALE_FOR_MS = 1_500;
const STEP_MS = 2; // a frame: 5 % slower or faster is not seen
const JUMP_MS = 250;
const EARLY_MS = 1_000;
const DECODER_STARTS = 25; // frames

export class PlayoutSchedule {
  /** @type {number[]} arrival minus timestamp */
  #journeys = [];
  /** @type {number | undefined} */
  #base;
  /** @type {number | undefined} since when only stale frames have come */
  #staleSinceMs;

  /** @param {{smallestMs?: number, largestMs?: number}} [bounds] of the delay */
  constructor({ smallestMs = 80, largestMs = 400 } = {}) {
    this.smallestMs = smallestMs;
    this.largestMs = largestMs;
    /** How uneven the journeys are: 95 % take at most so much longer than the quickest. */
    this.jitterMs = 0;
  }

  /** The delay now, against the quickest journey. */
  get delayMs() {
    return this.#base === undefined ? 0 : this.#base - Math.min(...this.#journeys);
  }

  /** @param {number} timestampMs @returns {number} */
  due(timestampMs) {
    return timestampMs + (this.#base ?? 0);
  }

  /** The timestamp that is due at `nowMs`. @param {number} nowMs */
  timestampAt(nowMs) {
    return nowMs - (this.#base ?? 0);
  }

  /**
   * A frame has come.
   * @param {number} timestampMs @param {number} nowMs @param {boolean} isSpeech sound belongs to it
   * @returns {{dueMs: number, lateMs: number, isStale: boolean}}
   */
  arrived(timestampMs, nowMs, isSpeech) {
    const journey = nowMs - timestampMs;
    const lateMs = this.#base === undefined ? 0 : journey - this.#base;
    if (lateMs > STALE_MS) {
      this.#staleSinceMs ??= nowMs;
      if (nowMs - this.#staleSinceMs < STALE_FOR_MS)
        return { dueMs: this.due(timestampMs), lateMs, isStale: true };
    }
    if (lateMs > STALE_MS || lateMs < -EARLY_MS) this.reset();
    this.#staleSinceMs = undefined;
    this.#journeys.push(journey);
    if (this.#journeys.length > WINDOW) this.#journeys.shift();

    const quickest = Math.min(...this.#journeys);
    this.jitterMs = percentile(this.#journeys, 0.95) - quickest;
    const delay = Math.min(this.largestMs, Math.max(this.smallestMs, this.jitterMs + MARGIN_MS));
    const wanted = quickest + delay;
    if (this.#base === undefined) {
      this.#base = wanted;
    } else if (lateMs > 0) {
      this.#base += lateMs + MARGIN_MS / 2;
    } else if (!isSpeech) {
      const difference = wanted - this.#base;
      const isJump = Math.abs(difference) > JUMP_MS;
      this.#base += isJump ? difference : Math.max(-STEP_MS, Math.min(STEP_MS, difference));
    }
    return { dueMs: this.due(timestampMs), lateMs: Math.max(0, lateMs), isStale: false };
  }

  /**
   * A picture has come out of the decoder. @param {number} timestampMs @param {number} nowMs
   */
  decoded(timestampMs, nowMs) {
    if (this.#base === undefined || this.#journeys.length < DECODER_STARTS) return;
    const lateMs = nowMs - this.due(timestampMs);
    const more = lateMs + MARGIN_MS / 2;
    if (lateMs > 0 && this.delayMs + more <= this.largestMs) this.#base += more;
  }

  /** Another stream begins. */
  reset() {
    this.#journeys = [];
    this.#base = undefined;
    this.#staleSinceMs = undefined;
  }
}

/** @param {number[]} values @param {number} share 0 to 1 @returns {number} NaN of none */
export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length === 0
    ? NaN
    : sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}
