import assert from "node:assert/strict";
import test from "node:test";

import { packSpeech, unpackFrame } from "../../../clients/javascript/src/binary.js";

/** A frame as the server packs it (struct ">BBHIQQ"). */
function frame({ version = 1, kind = 1, flags = 0, timestamp = 0n, audio = 0n, rest = [], sound = 0 }) {
  const message = new Uint8Array(24 + rest.length);
  const view = new DataView(message.buffer);
  view.setUint8(0, version);
  view.setUint8(1, kind);
  view.setUint16(2, flags);
  view.setUint32(4, sound);
  view.setBigUint64(8, timestamp);
  view.setBigUint64(16, audio);
  message.set(rest, 24);
  return message.buffer;
}

test("a frame without speech has no audio timestamp", () => {
  const found = unpackFrame(frame({ flags: 1, timestamp: 81_240n, rest: [0, 0, 1, 0x65] }));
  assert.deepEqual([...found.accessUnit], [0, 0, 1, 0x65]);
  assert.equal(found.isIdr, true);
  assert.equal(found.timestampMs, 81_240);
  assert.equal(found.audioTimestampMs, undefined);
  assert.equal(found.sound, undefined);
});

test("an action's frame with sound is taken apart", () => {
  const rest = [0xff, 0xff, 0, 0, 0x5d, 0xc0, 1, 0, 0xff, 0xff, 9];
  const found = unpackFrame(frame({ kind: 2, flags: 6, audio: 5_120n, rest, sound: 4 }));
  assert.equal(found.actionProgress, 1);
  assert.equal(found.audioTimestampMs, 5_120);
  assert.deepEqual(found.sound, { sampleRate: 24_000, pcm: Int16Array.of(1, -1) });
  assert.deepEqual([...found.accessUnit], [9]);
});

test("what is no frame of this version is refused", () => {
  assert.throws(() => unpackFrame(frame({ version: 2 })), /Version 2/);
  assert.throws(() => unpackFrame(frame({ kind: 3 })), /kind 3/);
  assert.throws(() => unpackFrame(new ArrayBuffer(5)), /24 bytes/);
});

test("speech is packed as the protocol says", () => {
  const bytes = [...new Uint8Array(packSpeech(Int16Array.of(1, -2), 22_050, "a-1"))];
  assert.deepEqual(bytes.slice(0, 2), [1, 3]);
  assert.deepEqual(bytes.slice(2, 24), Array(22).fill(0));
  assert.deepEqual(bytes.slice(24), [0, 0, 0x56, 0x22, 1, 3, 97, 45, 49, 1, 0, 0xfe, 0xff]);
});
