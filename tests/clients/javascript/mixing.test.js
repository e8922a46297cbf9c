import assert from "node:assert/strict";
import test from "node:test";

import { louderOfInverted } from "../../../clients/javascript/src/mixing.js";

const voice = Float32Array.from({ length: 4_000 }, (_, i) => Math.sin(i / 9) * Math.cos(i / 500));
const noise = Float32Array.from({ length: 4_000 }, (_, i) => Math.sin(i * i * 0.37));
/** @param {number} a @param {number} b */
const blend = (a, b) => voice.map((sample, i) => a * sample + b * noise[i]);

test("of two sides that cancel each other the louder one is taken", () => {
  assert.equal(louderOfInverted(voice, blend(-1, 0)), 0);
  assert.equal(louderOfInverted(voice, blend(-1.5, 0.3)), 1);
});

test("the same, other, quiet and silent sides are mixed", () => {
  for (const [left, right] of [
    [voice, voice],
    [voice, noise],
    [voice, blend(0.1, 0)],
    [voice, voice.map(() => 0)],
    [voice.map(() => 0), voice.map(() => 0)],
    [voice, blend(-0.3, 0.7)],
  ])
    assert.equal(louderOfInverted(left, right), null);
});
