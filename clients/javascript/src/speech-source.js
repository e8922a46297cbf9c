/** Whatever speech comes as, made into pieces that can be sent: PCM of one channel, its rate named. */

import { SAMPLE_RATE_HZ } from "./frame.js";
import { samplesOf } from "./binary.js";
import { mixed } from "./mixing.js";
import { toPcm } from "./pcm.js";

/** What every server of version 1.2 takes; others are resampled here. */
export const SAMPLE_RATES_HZ = [8000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];

/**
 * Samples: s16 as Int16Array or as bytes (little-endian), or -1 to 1 as Float32Array.
 * @typedef {Int16Array | Float32Array | Uint8Array | ArrayBuffer} Samples
 *
 * @typedef {AsyncIterable<Samples> | ReadableStream<Samples>} SampleStream
 * @typedef {Samples | AudioBuffer | SampleStream | MediaStream} Speech
 */

/** @param {unknown} rate @throws {RangeError} that names the rates */
export function checkRate(rate) {
  if (!SAMPLE_RATES_HZ.includes(/** @type {number} */ (rate)))
    throw new RangeError(
      `A sample rate of ${rate} Hz is not taken; allowed are ${SAMPLE_RATES_HZ.join(", ")}.`,
    );
}

/** @param {number} rate @returns {number} the same, or the one to resample to */
export const rateFor = (rate) => (SAMPLE_RATES_HZ.includes(rate) ? rate : SAMPLE_RATE_HZ);

/** @param {Samples} samples @returns {Int16Array} @throws {TypeError} */
export function toSamples(samples) {
  if (samples instanceof Int16Array) return samples;
  if (samples instanceof Float32Array) return toPcm(samples);
  if (samples instanceof Uint8Array) return samplesOf(samples);
  if (samples instanceof ArrayBuffer) return samplesOf(new Uint8Array(samples));
  throw new TypeError("Speech comes as Int16Array, Float32Array, Uint8Array or ArrayBuffer.");
}

/** @param {unknown} speech @returns {speech is Samples} */
export const isSamples = (speech) =>
  speech instanceof Int16Array ||
  speech instanceof Float32Array ||
  speech instanceof Uint8Array ||
  speech instanceof ArrayBuffer;

/**
 * Mix to one channel, and resample where the rate is none of those that servers take.
 * @param {AudioBuffer} buffer @returns {Promise<{pcm: Int16Array, sampleRate: number}>}
 */
export async function fromAudioBuffer(buffer) {
  const sampleRate = rateFor(buffer.sampleRate);
  return { pcm: toPcm(await mixed(buffer, sampleRate, console.warn)), sampleRate };
}

/** Cuts a stream of samples, or of bytes in any pieces, into whole frames of 40 ms. Pure. */
export class Framer {
  #frame;
  #filled = 0;
  /** @type {number | undefined} the first byte of a sample whose second has not come */
  #half;

  /** @param {number} sampleRate Hz */
  constructor(sampleRate) {
    this.size = sampleRate / 25;
    this.#frame = new Int16Array(this.size);
  }

  /** @param {Samples} piece @returns {Int16Array[]} the frames that it fills */
  push(piece) {
    const samples = this.#whole(piece);
    const frames = [];
    for (let at = 0; at < samples.length; ) {
      const part = samples.subarray(at, at + this.size - this.#filled);
      this.#frame.set(part, this.#filled);
      this.#filled += part.length;
      at += part.length;
      if (this.#filled === this.size) frames.push(this.#take());
    }
    return frames;
  }

  /** @returns {Int16Array[]} what is left, padded with silence */
  end() {
    this.#half = undefined;
    return this.#filled > 0 ? [this.#take()] : [];
  }

  #take() {
    const frame = this.#frame;
    this.#frame = new Int16Array(this.size);
    this.#filled = 0;
    return frame;
  }

  /** Network pieces end anywhere, also inside a sample. @param {Samples} piece */
  #whole(piece) {
    if (piece instanceof Int16Array || piece instanceof Float32Array) return toSamples(piece);
    const bytes = piece instanceof ArrayBuffer ? new Uint8Array(piece) : piece;
    if (!(bytes instanceof Uint8Array)) return toSamples(piece);
    const joined = new Uint8Array(bytes.length + (this.#half === undefined ? 0 : 1));
    if (this.#half !== undefined) joined[0] = this.#half;
    joined.set(bytes, joined.length - bytes.length);
    this.#half = joined.length % 2 ? joined.at(-1) : undefined;
    return samplesOf(joined);
  }
}

/**
 * @param {SampleStream} stream @returns {AsyncIterableIterator<Samples>}
 *   not every browser can iterate over a ReadableStream
 */
export async function* piecesOf(stream) {
  if (Symbol.asyncIterator in stream) {
    yield* /** @type {AsyncIterable<Samples>} */ (stream);
    return;
  }
  const reader = /** @type {ReadableStream<Samples>} */ (stream).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {}); // nothing is left to be done about it
  }
}
