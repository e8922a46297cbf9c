import assert from "node:assert/strict";
import test from "node:test";

import { SpeechLine } from "../../../clients/javascript/src/speech-line.js";

/** What the line needs of a client: it counts what it is sent, and may have no session. */
class Wire {
  session = true;
  tellsSpeech = true;
  sentSamples = 0;
  sentChunks = 0;
  /** @type {any[]} */
  sent = [];

  sendSpeech(pcm, { sampleRate, utteranceId }) {
    if (!this.session) return -1;
    const position = this.sentSamples;
    this.sent.push([utteranceId, pcm[0], sampleRate]);
    this.sentSamples += 640;
    this.sentChunks += 1;
    return position;
  }

  endSpeech(utteranceId) {
    this.sent.push(["end", utteranceId]);
  }
}

/** Frames that differ in their first sample. */
function numbered(count, rate = 16_000) {
  const size = rate / 25;
  return Int16Array.from({ length: count * size }, (_, i) => (i % size ? 0 : i / size));
}

function setUp() {
  let nowMs = 0;
  const wire = new Wire();
  const line = new SpeechLine(/** @type {any} */ (wire), () => nowMs);
  return { wire, line, pass: (/** @type {number} */ ms) => (nowMs += ms) };
}

const isPending = async (promise) =>
  (await Promise.race([promise, new Promise((resolve) => setTimeout(resolve, 5, "pending"))])) ===
  "pending";

test("an utterance is sent, ended by name, and finished by what the server says", async () => {
  const { wire, line } = setUp();
  const said = line.say(numbered(2, 24_000), { id: "a", sampleRate: 24_000 });
  assert.deepEqual(wire.sent, [["a", 0, 24_000], ["a", 1, 24_000], ["end", "a"]]);
  assert.equal(line.at(40)?.pcm.length, 960);
  assert.ok(await isPending(said.finished));
  line.finished({ utterance_id: "a", played_ms: 80, interrupted: false });
  assert.deepEqual(await said.finished, { playedMs: 80, interrupted: false });
});

test("speech whose frames never came makes room for more when it was played", () => {
  const { wire, line } = setUp();
  const poured = line.begin({ id: "a" });
  line.add(poured, numbered(100));
  line.shown(160);
  line.pump();
  assert.equal(wire.sentChunks, 80);
  line.finished({ utterance_id: "a", played_ms: 3_200, interrupted: false });
  line.pump();
  assert.equal(wire.sentChunks, 100);
  assert.equal(wire.sent.at(-1)[0], "a:2");
});

test("no more than three seconds are sent ahead", () => {
  const { wire, line } = setUp();
  line.say(numbered(100));
  assert.equal(wire.sentChunks, 75);
  for (let at = 0; at < 400; at += 40) line.shown(at);
  line.pump();
  assert.equal(wire.sentChunks, 85);
});

test("after an interruption new speech is sent at once, and what was unsent is over", async () => {
  const { wire, line } = setUp();
  const first = line.say(numbered(100), { id: "a" });
  const second = line.say(numbered(1), { id: "b" });
  line.interrupt();
  assert.deepEqual(await second.finished, { playedMs: 0, interrupted: true });
  assert.ok(await isPending(first.finished), "the server knows how much of it was shown");
  line.say(numbered(1), { id: "c" });
  assert.deepEqual(wire.sent.at(-2), ["c", 0, 16_000]);
  assert.equal(line.at(0), undefined);
  line.finished({ utterance_id: "a", played_ms: 400, interrupted: true });
  assert.deepEqual(await first.finished, { playedMs: 400, interrupted: true });
});

test("a refused utterance is sent again, whole and in order, after the time that was named", () => {
  const { wire, line, pass } = setUp();
  line.say(numbered(3), { id: "a" });
  line.say(numbered(1), { id: "b" });
  for (let chunk = 0; chunk < 3; chunk++)
    line.refused({ chunk, utterance_id: "a", reason: "speech_capacity", retry_after_ms: 700 });
  line.refused({ chunk: 3, utterance_id: "b", reason: "speech_capacity", retry_after_ms: 700 });
  assert.equal(wire.sentSamples, 0);
  wire.sent = [];
  pass(699);
  line.pump();
  assert.deepEqual(wire.sent, []);
  pass(1);
  line.pump();
  const [rate] = [16_000];
  assert.deepEqual(wire.sent, [
    ...[["a", 0, rate], ["a", 1, rate], ["a", 2, rate], ["end", "a"]],
    ...[["b", 0, rate], ["end", "b"]],
  ]);
});

test("a piece whose successor was accepted is not sent late", () => {
  const { wire, line, pass } = setUp();
  line.say(numbered(3), { id: "a" });
  line.refused({ chunk: 0, utterance_id: "a", reason: "speech_capacity", retry_after_ms: 100 });
  assert.equal(line.at(0)?.pcm[0], 1, "positions are those of what was accepted");
  wire.sent = [];
  pass(100);
  line.pump();
  assert.deepEqual(wire.sent, []);
  assert.equal(wire.sentSamples, 2 * 640);
});

test("a resumed session gets what its server has not", () => {
  const { wire, line } = setUp();
  line.say(numbered(10), { id: "a" });
  for (const at of [0, 40, 80]) line.shown(at);
  wire.session = false;
  line.say(numbered(1), { id: "b" });
  wire.session = true;
  wire.sent = [];
  line.resumed(8 * 40);
  assert.deepEqual(wire.sent.map(([id, first]) => [id, first]), [
    ...[["a", 8], ["a", 9], ["end", "a"]],
    ...[["b", 0], ["end", "b"]],
  ]);
  assert.equal(line.at(8 * 40)?.pcm[0], 8);
  assert.equal(wire.sentSamples, 11 * 640);
});

test("what was interrupted is not sent again", () => {
  const { wire, line } = setUp();
  line.say(numbered(10), { id: "a" });
  line.interrupt();
  line.say(numbered(1), { id: "b" });
  wire.sent = [];
  line.resumed(2 * 40);
  assert.deepEqual(wire.sent, [["b", 0, 16_000], ["end", "b"]]);
  assert.equal(line.at(2 * 40)?.utterance.id, "b");
});

test("what was interrupted and lost on its way is over", async () => {
  const { line } = setUp();
  const said = line.say(numbered(2), { id: "a" });
  line.interrupt();
  line.resumed(0);
  assert.deepEqual(await said.finished, { playedMs: 0, interrupted: true });
});

test("any number of utterances may wait, and each is finished", async () => {
  const { line } = setUp();
  const said = Array.from({ length: 60 }, (_, n) => line.say(numbered(1), { id: `u${n}` }));
  for (const { id } of said)
    line.finished({ utterance_id: id, played_ms: 40, interrupted: false });
  for (const { finished } of said)
    assert.deepEqual(await finished, { playedMs: 40, interrupted: false });
  line.say(numbered(1));
  assert.ok(line.utterances.length <= 41, "only the latest are kept");
});

test("another session says what the old one had not begun, and ends the rest", async () => {
  const { wire, line } = setUp();
  const begun = line.say(numbered(100), { id: "a" });
  const waiting = line.say(numbered(1), { id: "b" });
  for (const at of [0, 40]) line.shown(at);
  wire.sent = [];
  wire.sentSamples = wire.sentChunks = 0;
  line.restart();
  assert.deepEqual(await begun.finished, { playedMs: 80, interrupted: true });
  assert.deepEqual(wire.sent, [["b", 0, 16_000], ["end", "b"]]);
  assert.ok(await isPending(waiting.finished));
});

test("speech that comes too slowly continues under another name", async () => {
  const { wire, line } = setUp();
  const said = line.begin({ id: "a" });
  line.add(said, numbered(2));
  line.finished({ utterance_id: "a", played_ms: 40, interrupted: false });
  line.add(said, numbered(1));
  line.complete(said);
  assert.deepEqual(wire.sent.map(([id]) => id), ["a", "a", "a:2", "a:2", "end"]);
  assert.equal(wire.sentSamples, 3 * 640);
  line.finished({ utterance_id: "a:2", played_ms: 80, interrupted: false });
  assert.deepEqual(await said.finished, { playedMs: 120, interrupted: false });
});

test("speech that ends after the server has ended it is over", async () => {
  const { wire, line } = setUp();
  const poured = line.begin({ id: "a" });
  line.add(poured, numbered(2));
  line.finished({ utterance_id: "a", played_ms: 80, interrupted: false });
  line.complete(poured);
  assert.deepEqual(wire.sent.slice(2), [], "of its second part the server knows nothing");
  assert.deepEqual(await poured.finished, { playedMs: 80, interrupted: false });
});

test("an interruption in the pause of a stream ends it", async () => {
  const { line } = setUp();
  const poured = line.begin({ id: "a" });
  line.add(poured, numbered(2));
  line.finished({ utterance_id: "a", played_ms: 80, interrupted: false });
  line.interrupt();
  assert.deepEqual(await poured.finished, { playedMs: 80, interrupted: true });
});

test("without a session to come everything is over", async () => {
  const { wire, line } = setUp();
  wire.session = false;
  const said = line.say(numbered(1));
  line.abandon();
  assert.deepEqual(await said.finished, { playedMs: 0, interrupted: true });
});

test("a server of version 1.1 tells nothing: frames do", async () => {
  const { wire, line } = setUp();
  wire.tellsSpeech = false;
  const said = line.say(numbered(2));
  line.shown(0);
  assert.ok(await isPending(said.finished));
  line.shown(40);
  assert.deepEqual(await said.finished, { playedMs: 80, interrupted: false });
});
