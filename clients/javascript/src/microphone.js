/**
 * The microphone as the avatar wants it: 16 kHz, mono, 640 samples a chunk.
 *
 * Echo cancellation is on, so that the avatar's own voice is not sent back to it.
 */

import { SAMPLE_RATE_HZ } from "./frame.js";
import { toPcm } from "./pcm.js";

/** Why there is no microphone, as a sentence that helps. */
export class MicrophoneRefused extends Error {}

const REFUSALS = /** @type {Record<string, string>} */ ({
  NotAllowedError:
    "The microphone is blocked for this page. Allow it in the browser's address bar, then try again.",
  NotFoundError: "No microphone was found. Connect one, then try again.",
  NotReadableError: "Another program holds the microphone. Close it there, then try again.",
});

export class Microphone {
  /** @type {AudioContext | undefined} */
  #context;
  /** @type {MediaStream | undefined} */
  #stream;
  /** @type {Promise<void> | undefined} */
  #opening;
  /** Whether it is to be open; a page may close it while people are asked for it. */
  #isWanted = false;

  /**
   * @param {(chunk: Int16Array, level: number) => void} hear each 40 ms; level 0 to 1
   * @param {MediaStream} [given] another source than the microphone
   */
  constructor(hear, given) {
    this.hear = hear;
    this.given = given;
  }

  get isOpen() {
    return this.#stream !== undefined;
  }

  /** @returns {Promise<void>} @throws {MicrophoneRefused} */
  open() {
    this.#isWanted = true;
    // Who asks twice, before the first question was answered, gets one microphone.
    this.#opening ??= this.#openWhileWanted().finally(() => (this.#opening = undefined));
    return this.#opening;
  }

  /** It may be closed, and wanted again, while it opens. */
  async #openWhileWanted() {
    while (this.#isWanted && !this.#stream) await this.#open();
  }

  async #open() {
    const stream = this.given ?? (await ask());
    this.#stream = stream;
    if (!this.#isWanted) {
      this.close();
      return;
    }
    const context = new AudioContext({ sampleRate: SAMPLE_RATE_HZ });
    this.#context = context;
    try {
      await context.audioWorklet.addModule(new URL("./microphone-worklet.js", import.meta.url));
    } catch (error) {
      if (this.#context !== context) return; // a closed one loads nothing
      this.close();
      const { message } = /** @type {DOMException} */ (error);
      throw new MicrophoneRefused(`The microphone's module could not be loaded: ${message}`);
    }
    if (this.#context !== context) return; // it was closed
    const chunks = new AudioWorkletNode(context, "chunks", { numberOfOutputs: 0 });
    chunks.port.onmessage = ({ data: samples }) => {
      let energy = 0;
      for (const sample of samples) energy += sample * sample;
      this.hear(toPcm(samples), Math.min(1, 4 * Math.sqrt(energy / samples.length)));
    };
    context.createMediaStreamSource(stream).connect(chunks);
  }

  /** Let the device go; the browser's recording light goes out. */
  close() {
    this.#isWanted = false;
    if (!this.given) for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#context?.close();
    this.#stream = this.#context = undefined;
  }
}

/** @returns {Promise<MediaStream>} @throws {MicrophoneRefused} */
async function ask() {
  if (!navigator.mediaDevices || !globalThis.AudioWorkletNode)
    throw new MicrophoneRefused(
      "Browsers give the microphone only to pages of https:// or of localhost. Open this page in such a way, or send a file.",
    );
  const audio = {
    channelCount: 1,
    echoCancellation: true,
    noiseSuppression: true,
    autoGainControl: true,
  };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    const { name, message } = /** @type {DOMException} */ (error);
    throw new MicrophoneRefused(REFUSALS[name] ?? `There is no microphone: ${message}.`);
  }
}
