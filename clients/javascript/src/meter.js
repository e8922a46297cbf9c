/** What the player measures: counted as it happens, summed up when asked. */

import { percentile } from "./playout-schedule.js";

const SPAN_MS = 10_000;

/** Values of the last ten seconds. */
class Recent {
  /** @type {{atMs: number, value: number}[]} */
  #values = [];

  /** @param {number} value @param {number} atMs */
  add(value, atMs) {
    this.#values.push({ atMs, value });
    while (this.#values[0].atMs < atMs - SPAN_MS) this.#values.shift();
  }

  /** @param {number} sinceMs @returns {number[]} */
  since(sinceMs) {
    return this.#values.filter(({ atMs }) => atMs >= sinceMs).map(({ value }) => value);
  }
}

/**
 * @typedef {object} Measurement
 * @property {number} fps pictures shown a second, over the last two
 * @property {number} jitterMs unevenness of the frames' journeys, p95, ten seconds
 * @property {number} delayMs of the jitter buffer
 * @property {number} bytesPerSecond as they came over the wire
 * @property {number} decodeMs median of the last second; NaN if none was decoded
 * @property {number} latencyMs from sending speech, when none was queued, to its picture; the latest; NaN before
 * @property {number} offsetMs picture after (+) or before (−) its sound: median of ten seconds; NaN if silent
 * @property {number} offsetP95Ms of its absolute value
 * @property {number} dropped pictures that came but were never seen, in the whole session
 * @property {number} missing pictures that the server left out
 * @property {number} frames received
 */

export class Meter {
  #shown = new Recent();
  #bytes = new Recent();
  #decode = new Recent();
  #offset = new Recent();
  #latencyMs = NaN;
  #lastTimestampMs = -1;
  dropped = 0;
  missing = 0;
  frames = 0;
  errors = 0;
  /** When the page asked for the first picture, and when it was on the screen. */
  firstPictureMs = NaN;

  /** @param {import("./frame.js").AvatarFrame} frame */
  received(frame) {
    this.frames += 1;
    this.#bytes.add(frame.wireBytes, frame.arrivedMs);
    if (this.#lastTimestampMs >= 0)
      this.missing += Math.max(0, (frame.timestampMs - this.#lastTimestampMs) / 40 - 1);
    this.#lastTimestampMs = frame.timestampMs;
  }

  /** A new session counts its timestamps from 0. */
  sessionBegins() {
    this.#lastTimestampMs = -1;
  }

  /** @param {number} atMs */
  shown(atMs) {
    this.#shown.add(1, atMs);
  }

  /** @param {number} tookMs */
  decoded(tookMs) {
    this.#decode.add(tookMs, performance.now());
  }

  /** @param {number} offsetMs @param {number} atMs */
  synchronised(offsetMs, atMs) {
    this.#offset.add(offsetMs, atMs);
  }

  /** @param {number} latencyMs */
  answered(latencyMs) {
    this.#latencyMs = latencyMs;
  }

  /** @param {import("./playout-schedule.js").PlayoutSchedule} schedule @returns {Measurement} */
  read(schedule) {
    const now = performance.now();
    const second = now - 1000;
    const offsets = this.#offset.since(now - SPAN_MS);
    return {
      fps: this.#shown.since(now - 2000).length / 2,
      jitterMs: schedule.jitterMs,
      delayMs: schedule.delayMs,
      bytesPerSecond: this.#bytes.since(second).reduce((sum, bytes) => sum + bytes, 0),
      decodeMs: percentile(this.#decode.since(second), 0.5),
      latencyMs: this.#latencyMs,
      offsetMs: percentile(offsets, 0.5),
      offsetP95Ms: percentile(offsets.map(Math.abs), 0.95),
      dropped: this.dropped,
      missing: this.missing,
      frames: this.frames,
    };
  }
}
