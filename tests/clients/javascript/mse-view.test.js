import assert from "node:assert/strict";
import test from "node:test";

/** A player that shows nothing by itself, and tells what it showed when a test says so. */
class Player extends EventTarget {
  buffered = { length: 0 };
  /** @param {(now: number, seen: object) => void} callback */
  requestVideoFrameCallback(callback) {
    this.tell = (/** @type {number} */ ms) =>
      callback(0, { mediaTime: ms / 1000, expectedDisplayTime: 0 });
  }
}

class Source extends EventTarget {
  static isTypeSupported = () => true;
}

test("a page that shows nothing keeps the last seconds alone", async () => {
  const player = new Player();
  const page = { createElement: () => player };
  Object.assign(globalThis, { MediaSource: Source, document: page, window: globalThis });
  URL.createObjectURL = () => "blob:";
  const { MseView } = await import("../../../clients/javascript/src/mse-view.js");
  let skipped = 0;
  const report = { shown() {}, decoded() {}, failed() {}, skipped: (count) => (skipped += count) };
  const video = { codec: "avc1.42C01E", width: 512, height: 512 };
  const clock = { now: () => 0 };
  const view = new MseView(/** @type {any} */ ({}), video, /** @type {any} */ (clock), report);
  for (let number = 0; number < 1_000; number++) {
    const frame = { accessUnit: new Uint8Array(8), isIdr: false, timestampMs: 40 * number };
    view.push(/** @type {any} */ (frame), 0);
    if (number === 0) player.tell(0);
  }
  player.tell(40 * 999);
  assert.ok(skipped > 0 && skipped <= 151, `${skipped} frames were kept`);
});
