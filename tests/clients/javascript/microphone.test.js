import assert from "node:assert/strict";
import test from "node:test";
import { setTimeout as pause } from "node:timers/promises";

import { Microphone } from "../../../clients/javascript/src/microphone.js";

let opened = 0;
let load = async () => {};
class Context {
  audioWorklet = { addModule: () => load() };
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

test("one that is wanted again while it is opened is open", async () => {
  opened = 0;
  let loaded = () => {};
  load = () => new Promise((resolve) => (loaded = resolve));
  const { agree } = permission();
  const microphone = new Microphone(() => {});
  microphone.open();
  agree();
  await pause(0);
  microphone.close();
  const opening = microphone.open();
  loaded();
  load = async () => {};
  await opening;
  assert.equal(opened, 1);
  assert.ok(microphone.isOpen);
});

test("a module that fails to load in a closed context is no error", async () => {
  let fail = () => {};
  load = () => new Promise((_, reject) => (fail = () => reject(new Error("closed"))));
  const { agree } = permission();
  const microphone = new Microphone(() => {});
  const opening = microphone.open();
  agree();
  await pause(0);
  microphone.close();
  fail();
  load = async () => {};
  await opening;
  assert.equal(microphone.isOpen, false);
});
