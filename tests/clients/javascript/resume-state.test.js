import assert from "node:assert/strict";
import test from "node:test";

import { ResumeState } from "../../../clients/javascript/src/resume-state.js";

const OFFER = { resume: { token: "t1", window_ms: 30_000 } };

function opened() {
  const state = new ResumeState();
  state.opened(OFFER);
  return state;
}

test("INIT says what was seen and what is not finished", () => {
  const state = opened();
  state.sent("one");
  state.sent("two");
  state.finished("one");
  state.asked("idle", "idle_3");
  state.chose("idle");
  state.asked("idle", "no such clip"); // the server refuses it
  state.frame({ timestampMs: 5_000, audioTimestampMs: 400 });
  state.frame({ timestampMs: 5_040 });
  assert.equal(state.lost(1006, 1_000), true);
  assert.deepEqual(state.init(), {
    resume_token: "t1",
    last_frame_timestamp: 5_040,
    acknowledged_ms: 400,
    utterance_id: "two",
    target_state: "idle",
    base_video: "idle_3",
  });
});

test("attempts that fail do not lengthen the time", () => {
  const state = opened();
  state.lost(1006, 1_000);
  state.lost(1006, 20_000);
  assert.equal(state.keptUntilMs, 31_000);
  assert.equal(state.canResume(30_999), true);
  assert.equal(state.canResume(31_000), false);
});

test("a resumed session keeps what was seen, another one does not", () => {
  const state = opened();
  state.frame({ timestampMs: 80, audioTimestampMs: 40 });
  state.lost(4012, 0);
  state.opened({ resume: { token: "t2", window_ms: 30_000 }, resumed: true });
  assert.equal(state.init().resume_token, "t2");
  assert.equal(state.init().acknowledged_ms, 40);
  assert.equal(state.keptUntilMs, undefined);
  state.opened({ resume: { token: "t3", window_ms: 30_000 } });
  assert.equal(state.init().acknowledged_ms, undefined);
});

for (const code of [1000, 1001, 4401, 4404, 4408, 4409, 4429])
  test(`an end by ${code} is final`, () => assert.equal(opened().lost(code, 0), false));

test("without a token nothing is resumed", () => {
  const state = new ResumeState();
  state.opened({});
  assert.equal(state.lost(1006, 0), false);
});

test("an utterance of which the server accepted nothing is not asked about", () => {
  const state = opened();
  state.sent("one");
  state.sent("one");
  state.refused("one");
  assert.equal(state.init().utterance_id, "one");
  state.refused("one");
  state.sent("two");
  assert.equal(state.init().utterance_id, "two");
});

test("each interrupt that was not answered is sent again by its number, in another session none", () => {
  const state = opened();
  assert.deepEqual([state.interrupt(), state.interrupt(), state.interrupt()].map((i) => i.number), [1, 2, 3]);
  state.interrupted();
  state.lost(1006, 0);
  state.opened({ ...OFFER, resumed: true });
  assert.deepEqual(state.unanswered(), [{ number: 2 }, { number: 3 }]);
  state.opened(OFFER);
  assert.deepEqual(state.unanswered(), []);
  state.interrupted(); // not asked for
  assert.equal(state.interrupt().number, 4);
});
