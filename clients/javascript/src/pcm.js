/** Speech as the avatar hears it: 16 kHz, mono, 16 bit. */

import { SAMPLE_RATE_HZ } from "./frame.js";
import { mixed } from "./mixing.js";

/** @param {Float32Array} samples -1 to 1 @returns {Int16Array<ArrayBuffer>} */
export function toPcm(samples) {
  const pcm = new Int16Array(samples.length);
  for (let i = 0; i < samples.length; i++)
    pcm[i] = Math.max(-32768, Math.min(32767, Math.round(samples[i] * 32768)));
  return pcm;
}

/** @param {Int16Array} pcm @param {Float32Array} into */
export function fromPcm(pcm, into) {
  for (let i = 0; i < pcm.length; i++) into[i] = pcm[i] / 32768;
}

/**
 * Speech of any file that this browser can decode.
 * @param {Blob | ArrayBuffer} file
 * @param {(sentence: string) => void} [warn] called if one side of it is inverted
 * @returns {Promise<Int16Array<ArrayBuffer>>}
 * @throws {Error} with a sentence, if it is no sound that the browser knows
 */
export async function decodeSpeech(file, warn = console.warn) {
  const bytes = file instanceof Blob ? await file.arrayBuffer() : file;
  // Decoding resamples to the context's rate.
  const decoder = new OfflineAudioContext(1, 1, SAMPLE_RATE_HZ);
  let decoded;
  try {
    decoded = await decoder.decodeAudioData(bytes);
  } catch {
    throw new Error(
      "This is no sound file that your browser can decode. WAV, MP3, FLAC and OGG work mostly everywhere.",
    );
  }
  return toPcm(await mixed(decoded, SAMPLE_RATE_HZ, warn));
}
