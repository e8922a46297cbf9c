import assert from "node:assert/strict";
import test from "node:test";

import { Microphone } from "../../../clients/javascript/src/microphone.js";

let opened = 0;
class Context {
  audioWorklet = { addModule: async () => {} };
  createMediaStreamSource = () => ({ connect: () => (opened += 1) });
  close() {}
}
class Chunks {
  port = {};
}
Object.assign(globalThis, { AudioContext: Context, AudioWorkletNode: Chunks });

/** What people are asked, until a test says that they agreed. */
function permission() {
  const track = { isStopped: false, stop: () => (track.isStopped = true) };
  let agree = () => {};
  const asked = new Promise((resolve) => {
    agree = () => resolve({ getTracks: () => [track] });
  });
  const navigator = { mediaDevices: { getUserMedia: () => asked } };
  Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true });
  return { track, agree };
}

test("a microphone that is closed before it was allowed does not stay open", async () => {
  const { track, agree } = permission();
  const microphone = new Microphone(() => {});
  const opening = microphone.open();
  microphone.close();
  agree();
  await opening;
  assert.ok(track.isStopped);
  assert.equal(microphone.isOpen, false);
});

test("one that is wanted again by then is open", async () => {
  const { track, agree } = permission();
  const microphone = new Microphone(() => {});
  microphone.open();
  microphone.close();
  const opening = microphone.open();
  agree();
  await opening;
  assert.equal(track.isStopped, false);
  assert.ok(microphone.isOpen);
});

test("a source that is closed while it is opened is not listened to", async () => {
  opened = 0;
  const microphone = new Microphone(() => {}, /** @type {any} */ ({ getTracks: () => [] }));
  const opening = microphone.open();
  microphone.close();
  await opening;
  assert.equal(opened, 0);
});
