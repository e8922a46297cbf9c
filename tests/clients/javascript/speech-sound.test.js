import assert from "node:assert/strict";
import test from "node:test";
import { setTimeout as pause } from "node:timers/promises";

import { MediaClock } from "../../../clients/javascript/src/media-clock.js";
import { SpeechSound } from "../../../clients/javascript/src/speech-sound.js";

class Context {
  /** @type {Context[]} */
  static made = [];
  state = "suspended";
  currentTime = 0;

  constructor({ sampleRate }) {
    this.sampleRate = sampleRate;
    Context.made.push(this);
  }

  async resume() {
    await pause(5);
    this.state = "running";
  }

  createGain() {
    return { gain: { value: 1, setTargetAtTime() {} }, connect() {}, disconnect() {} };
  }

  async close() {
    assert.notEqual(this.state, "closed", "browsers reject that");
    this.state = "closed";
  }
}
globalThis.AudioContext = /** @type {any} */ (Context);

test("sound that is closed while it is prepared for another rate is let go", async () => {
  const sound = new SpeechSound(new MediaClock());
  assert.ok(await sound.unlock());
  const prepared = sound.prepare(24_000);
  sound.close();
  await prepared;
  assert.deepEqual(Context.made.map(({ state }) => state), ["closed", "closed"]);
  assert.equal(sound.isUnlocked, false);
});
