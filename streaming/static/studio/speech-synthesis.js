/** Text to speech: asks the worker, which is started when the first text is spoken. */

export class SpeechSynthesis {
  /** @type {Worker | undefined} */
  #worker;
  #asked = 0;
  /** @type {Map<number, {resolve: (pcm: Int16Array) => void, reject: (error: Error) => void}>} */
  #waiting = new Map();

  /** @param {string} text @param {string} voice one of `VOICES` @returns {Promise<Int16Array>} 16 kHz mono */
  speak(text, voice) {
    const worker = (this.#worker ??= this.#start());
    const id = ++this.#asked;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      worker.postMessage({ id, text, voice });
    });
  }

  #start() {
    const worker = new Worker(new URL("./speech-synthesis-worker.js", import.meta.url), {
      type: "module",
    });
    worker.onmessage = ({ data: { id, pcm, error } }) => {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error) waiting?.reject(new Error(error));
      else waiting?.resolve(pcm);
    };
    worker.onerror = () => {
      for (const { reject } of this.#waiting.values())
        reject(
          new Error("The speech synthesizer cannot run in this browser; use a sample or a file."),
        );
      this.#waiting.clear();
      this.#worker = undefined;
    };
    return worker;
  }
}
