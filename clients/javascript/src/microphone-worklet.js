/** Gathers the microphone's samples into chunks of 40 ms. Runs beside the page, on the sound's own thread. */

const CHUNK_SAMPLES = 640;

class Chunks extends AudioWorkletProcessor {
  #chunk = new Float32Array(CHUNK_SAMPLES);
  #filled = 0;

  /** @param {Float32Array[][]} inputs */
  process([[samples]]) {
    for (const sample of samples ?? []) {
      this.#chunk[this.#filled++] = sample;
      if (this.#filled < CHUNK_SAMPLES) continue;
      this.port.postMessage(this.#chunk, [this.#chunk.buffer]);
      this.#chunk = new Float32Array(CHUNK_SAMPLES);
      this.#filled = 0;
    }
    return true;
  }
}

registerProcessor("chunks", Chunks);
