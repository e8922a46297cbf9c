import assert from "node:assert/strict";
import test from "node:test";

import {
  Framer,
  checkRate,
  piecesOf,
  toSamples,
} from "../../../clients/javascript/src/speech-source.js";

test("rates that no server takes are named", () => {
  checkRate(24_000);
  assert.throws(() => checkRate(11_025), /11025 Hz .* 8000, 16000/);
});

test("bytes cut anywhere become the same samples", () => {
  const pcm = Int16Array.from({ length: 2_000 }, (_, i) => i * 37 - 30_000);
  const bytes = new Uint8Array(pcm.buffer);
  const framer = new Framer(16_000);
  const found = [];
  for (let at = 0, size = 1; at < bytes.length; at += size, size = (size * 7) % 613)
    found.push(...framer.push(bytes.subarray(at, at + size)));
  found.push(...framer.end());
  assert.equal(found.length, 4);
  assert.ok(found.every(({ length }) => length === 640));
  const joined = found.flatMap((frame) => [...frame]);
  assert.deepEqual(joined.slice(0, 2_000), [...pcm]);
  assert.deepEqual(joined.slice(2_000), Array(560).fill(0));
});

for (const [rate, size] of [[8_000, 320], [22_050, 882], [44_100, 1_764], [48_000, 1_920]])
  test(`a frame at ${rate} Hz has ${size} samples`, () => {
    const framer = new Framer(rate);
    assert.equal(framer.push(new Int16Array(size - 1)).length, 0);
    assert.deepEqual(framer.push(new Int16Array(1)).map(({ length }) => length), [size]);
    assert.deepEqual(framer.end(), []);
  });

test("floats and bytes become samples, text does not", () => {
  assert.deepEqual(toSamples(Float32Array.of(0.5, -1)), Int16Array.of(16_384, -32_768));
  assert.deepEqual(toSamples(Uint8Array.of(1, 0, 0xff, 0xff)), Int16Array.of(1, -1));
  assert.throws(() => toSamples(/** @type {any} */ ("a")), TypeError);
});

test("a ReadableStream is read where it cannot be iterated over", async () => {
  const pieces = [Int16Array.of(1), Int16Array.of(2)];
  const reader = { read: async () => ({ done: pieces.length === 0, value: pieces.shift() }), cancel: async () => {} };
  const found = [];
  for await (const piece of piecesOf(/** @type {any} */ ({ getReader: () => reader })))
    found.push(...piece);
  assert.deepEqual(found, [1, 2]);
});
