"""The rules of the JavaScript client, each module by itself, in the engine that runs them."""

import base64
import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from benchmarks.studio_page import find_chromium
from tests.e2e.talking import Server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_chromium() is None, reason="needs Chromium: install Debian's package chromium"
    ),
]

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def page(browser: Browser, server: Server) -> Page:
    page = browser.new_page()
    page.goto(server.origin + "/health")  # any page of that origin
    return page


@pytest.fixture
def run(page: Page) -> Run:
    """Run the body of a function of ``argument`` with a module's exports as ``it``."""

    def run(module: str, body: str, argument: object = None) -> Any:
        return page.evaluate(
            f"async argument => {{ const it = await import('/static/avatar/{module}'); {body} }}",
            argument,
        )

    return run


# A sound card whose sound takes 30 ms to the ear, read each 40 ms; `context` is what it reports.
LISTEN = """
  let now = 5_000, asked = 0;
  const clock = new it.MediaClock(() => now);
  const context = {
    state: "running",
    baseLatency: 0.01,
    get outputLatency() { asked += 1; return 0.03; },
    get currentTime() { return (now - 4_000) / 1000; },
    getOutputTimestamp: () => ({
      contextTime: (now - 4_030) / 1000, performanceTime: now + argument.astrayMs }),
  };
  const told = [];
  for (; now < 5_000 + argument.spanMs; now += 40) {
    clock.follow(context);
    told.push(clock.fromSound(1));
  }
  return { told, asked, latencyMs: clock.latencyMs };
"""


@pytest.mark.parametrize("astray_ms", [0, 6_000], ids=["its own stamps", "another clock's stamps"])
def test_sound_is_heard_when_it_has_passed_the_sound_card(run: Run, astray_ms: int) -> None:
    result = run("media-clock.js", LISTEN, {"spanMs": 15_000, "astrayMs": astray_ms})
    assert result["told"][-1] == pytest.approx(5_030, abs=1)
    assert result["latencyMs"] == 30


def test_a_sound_card_that_opens_is_not_asked(run: Run) -> None:
    result = run("media-clock.js", LISTEN, {"spanMs": 900, "astrayMs": 0})
    assert result["asked"] == 0
    assert result["told"][-1] == 5_010


FEED = """
  const schedule = new it.PlayoutSchedule();
  const told = argument.map(([timestamp, now, isSpeech]) => ({
    ...schedule.arrived(timestamp, now, isSpeech), delay: schedule.delayMs }));
  return { told, delay: schedule.delayMs, jitter: schedule.jitterMs };
"""


def feed(run: Run, frames: Sequence[tuple[float, float, bool]]) -> Any:
    return run("playout-schedule.js", FEED, frames)


def test_even_frames_wait_for_the_smallest_delay(run: Run) -> None:
    result = feed(run, [(n * 40, 1_000 + n * 40, False) for n in range(100)])
    assert result["delay"] == pytest.approx(80)
    assert result["jitter"] == 0
    assert all(frame["dueMs"] == 1_080 + n * 40 for n, frame in enumerate(result["told"]))


def test_uneven_frames_wait_longer_and_are_shown_evenly(run: Run) -> None:
    uneven = [(n * 40, 1_000 + n * 40 + (90 if n % 3 == 0 else 0), True) for n in range(200)]
    told = feed(run, uneven)["told"]
    dues = [frame["dueMs"] for frame in told[20:]]
    assert all(later - earlier == 40 for earlier, later in pairwise(dues))
    assert all(frame["lateMs"] == 0 for frame in told[20:])


def test_a_late_frame_moves_the_base_at_once_and_silence_moves_it_back(run: Run) -> None:
    frames = [(n * 40, 1_000 + n * 40, False) for n in range(10)]
    frames.append((400, 1_400 + 200, True))
    speaking = [(n * 40, 1_000 + n * 40, True) for n in range(11, 30)]
    silent = [(n * 40, 1_000 + n * 40, False) for n in range(30, 600)]
    told = feed(run, frames + speaking + silent)["told"]
    assert told[10]["dueMs"] == pytest.approx(1_600, abs=25)
    moved = told[29]["dueMs"] - 29 * 40
    assert moved == told[11]["dueMs"] - 11 * 40, "sound is never stretched"
    assert told[-1]["dueMs"] - 599 * 40 == pytest.approx(1_080, abs=3)
    steps = [b["dueMs"] - a["dueMs"] for a, b in pairwise(told[30:])]
    assert min(steps) >= 38


def test_stale_frames_are_skipped_and_the_next_one_is_live(run: Run) -> None:
    before = [(n * 40, 1_000 + n * 40, False) for n in range(50)]
    slept = [(n * 40, 62_000, False) for n in range(50, 1_526)]  # a minute of them at once
    live = [(n * 40, 1_000 + n * 40, False) for n in range(1_526, 1_540)]
    told = feed(run, before + slept + live)["told"]
    assert sum(frame["isStale"] for frame in told) > 1_400
    last = told[-1]
    assert not last["isStale"]
    assert last["dueMs"] - live[-1][1] < 500


def test_a_longer_way_begins_again(run: Run) -> None:
    near = [(n * 40, 1_000 + n * 40, False) for n in range(50)]
    far = [(n * 40, 6_000 + n * 40, False) for n in range(50, 150)]
    told = feed(run, near + far)["told"]
    assert told[50]["isStale"]
    assert told[-1]["dueMs"] == pytest.approx(6_000 + 149 * 40 + 80, abs=1)


def test_a_stream_that_jumps_ahead_is_not_waited_for(run: Run) -> None:
    frames = [(n * 40, 1_000 + n * 40, True) for n in range(20)]
    frames += [(n * 40, 1_000 + (n - 100) * 40, True) for n in range(120, 130)]
    last = feed(run, frames)["told"][-1]
    assert last["dueMs"] - frames[-1][1] == pytest.approx(80, abs=1)


# A decoder that takes some time for each picture; argument: how long, and of how many frames.
DECODED = """
  const schedule = new it.PlayoutSchedule();
  let lateMs = 0;
  for (let n = 0; n < argument.frames; n++) {
    const timestamp = n * 40, now = 1_000 + timestamp;
    schedule.arrived(timestamp, now, true);
    const outMs = now + argument.tookMs;
    lateMs = outMs - schedule.due(timestamp);
    schedule.decoded(timestamp, outMs);
  }
  return { lateMs, delay: schedule.delayMs };
"""


def test_a_slow_decoder_delays_the_sound_too(run: Run) -> None:
    result = run("playout-schedule.js", DECODED, {"tookMs": 250, "frames": 100})
    assert result["lateMs"] <= 0, "pictures are out when they are due"
    assert result["delay"] == pytest.approx(270)


def test_a_decoder_that_only_starts_slowly_delays_nothing(run: Run) -> None:
    assert run("playout-schedule.js", DECODED, {"tookMs": 250, "frames": 24})["delay"] == 80


def test_a_hopeless_decoder_does_not_delay_the_sound(run: Run) -> None:
    assert run("playout-schedule.js", DECODED, {"tookMs": 390, "frames": 100})["delay"] == 80


# A decoder that a picture takes `costMs`, given 25 frames a second, each 25th an IDR; told is how
# late each picture that is shown comes out.
OVERBURDENED = """
  const real = globalThis.VideoDecoder;
  let now = 10_000, free = 0;
  const queue = [];
  globalThis.VideoDecoder = class {
    state = "configured";
    constructor({ output }) { this.output = output; }
    configure() {}
    close() {}
    get decodeQueueSize() { return queue.length; }
    decode({ timestamp }) {
      free = Math.max(free, now) + argument.costMs;
      queue.push({ at: free, timestamp, out: this.output });
    }
  };
  const lateMs = [];
  let skipped = 0;
  const view = new it.CanvasView(
    document.createElement("div"),
    { codec: "avc1.42C01E", width: 64, height: 64 },
    { now: () => now },
    {
      shown: () => {},
      decoded: (frame) => lateMs.push(now - frame.timestampMs - 80),
      skipped: (count) => (skipped += count),
      failed: () => {},
    },
  );
  try {
    for (let n = 0; n < 500; n++) {
      const timestampMs = 10_000 + n * 40;
      while (queue[0]?.at <= timestampMs) {
        const { at, timestamp, out } = queue.shift();
        now = at;
        out({ timestamp, close: () => {} });
      }
      now = timestampMs;
      const frame = { isIdr: n % 25 === 0, timestampMs, accessUnit: new Uint8Array(1) };
      view.push(frame, timestampMs + 80, false);
    }
  } finally {
    view.close();
    globalThis.VideoDecoder = real;
  }
  return { lateMs: lateMs.slice(50), skipped };
"""


def test_a_decoder_that_falls_behind_is_spared_until_it_is_in_time(run: Run) -> None:
    result = run("canvas-view.js", OVERBURDENED, {"costMs": 60})
    assert max(result["lateMs"]) < 800
    assert sum(late <= 120 for late in result["lateMs"]) > len(result["lateMs"]) / 4
    assert 500 / 4 < result["skipped"] < 500 * 2 / 3, "a third is more than it can do"


def test_a_decoder_that_is_in_time_gets_everything(run: Run) -> None:
    result = run("canvas-view.js", OVERBURDENED, {"costMs": 30})
    assert result["skipped"] == 0
    assert max(result["lateMs"]) <= 0


def test_annex_b_becomes_avcc(run: Run) -> None:
    sps, pps = bytes([0x67, 0x42, 0xC0, 0x1E]), bytes([0x68, 0xCE])
    slices = [bytes([0x65, 1, 0, 0, 3, 1]), bytes([0x65, 9])]
    annex_b = b"".join(
        [b"\0\0\0\1\x09\xf0", b"\0\0\0\1" + sps, b"\0\0\1" + pps]
        + [b"\0\0\0\1" + one for one in slices]
    )
    found = run(
        "access-unit.js",
        "const { avcc, sps, pps } = it.toAvcc(Uint8Array.from(argument));"
        "return [[...avcc], [...sps], [...pps]];",
        list(annex_b),
    )
    assert bytes(found[0]) == b"".join(len(one).to_bytes(4, "big") + one for one in slices)
    assert [bytes(found[1]), bytes(found[2])] == [sps, pps]


@pytest.mark.parametrize("is_native", [True, False])
def test_base64_goes_both_ways(run: Run, is_native: bool) -> None:
    content = bytes(range(256)) * 100
    text = base64.b64encode(content).decode()
    body = """
      const [isNative, text] = argument;
      const { fromBase64 } = Uint8Array, { toBase64 } = Uint8Array.prototype;
      if (!isNative) Uint8Array.fromBase64 = Uint8Array.prototype.toBase64 = undefined;
      const bytes = it.fromBase64(text), encoded = it.toBase64(bytes);
      Object.assign(Uint8Array, { fromBase64 });
      Object.assign(Uint8Array.prototype, { toBase64 });
      return [[...bytes], encoded];
    """
    again, encoded = run("base64.js", body, [is_native, text])
    assert bytes(again) == content
    assert encoded == text


def test_samples_become_pcm_and_are_clipped(run: Run) -> None:
    samples = [0, 0.5, -0.5, 1, -1, 2, -2]
    pcm = run("pcm.js", "return [...it.toPcm(Float32Array.from(argument))];", samples)
    assert pcm == [0, 16_384, -16_384, 32_767, -32_768, 32_767, -32_768]


def test_a_fragment_has_its_time_and_its_picture(run: Run) -> None:
    body = """
      const writer = new it.FragmentWriter();
      const sets = [new Uint8Array([0x67, 0x42, 0xc0, 0x1e]), new Uint8Array([0x68])];
      const initial = writer.configure(...sets, 512, 512);
      const again = writer.configure(...sets, 512, 512);
      const fragment = writer.fragment(new Uint8Array([1, 2, 3, 4]), 80_000_000, 120, true);
      return { initial: [...initial], again: again === undefined, fragment: [...fragment] };
    """
    result = run("fragment-writer.js", body)
    assert b"avcC" in bytes(result["initial"])
    assert result["again"]
    fragment = bytes(result["fragment"])
    assert fragment.endswith(b"mdat\1\2\3\4")
    decode_time = fragment.index(b"tfdt") + 8
    assert int.from_bytes(fragment[decode_time : decode_time + 8], "big") == 80_000_000 * 90
    assert (120 * 90).to_bytes(4, "big") in fragment


GATE = """
  const gate = new it.SpeechGate();
  return argument.map((amplitude) =>
    gate.pass(Int16Array.from({ length: 640 }, (_, i) => amplitude * (i % 2 ? 1 : -1))).length);
"""


def test_silence_is_kept_back_and_speech_let_through_whole(run: Run) -> None:
    room, voice = 60, 3_000
    passed = run("speech-gate.js", GATE, [room] * 50 + [voice] * 20 + [room] * 50 + [voice])
    assert sum(passed[:50]) == 0
    assert passed[50] == 6, "and what was just before it"
    assert passed[51:70] == [1] * 19
    assert 0 < sum(passed[70:120]) < 25, "a short pause does not end it"
    assert passed[119] == 0
    assert passed[120] > 1


def test_a_loud_room_is_learned(run: Run) -> None:
    passed = run("speech-gate.js", GATE, [800] * 250 + [8_000] * 5)
    assert sum(passed[200:250]) == 0
    assert all(passed[250:])


@pytest.mark.parametrize(
    ("end", "reason", "wait_ms"),
    [
        ({"code": 1006, "attempt": 0}, "lost", 400),
        ({"code": 1006, "attempt": 2}, "lost", 1_600),
        ({"code": 1006, "attempt": 30}, "lost", 5_000),
        ({"code": 1006, "attempt": 30, "isKept": True}, "lost", 2_000),
        ({"code": 1006, "attempt": 3, "before": "shutdown"}, "shutdown", 3_200),
        ({"code": 4012, "attempt": 0}, "shutdown", 400),
        ({"code": 4500, "attempt": 0}, "lost", 400),
        ({"code": 4429, "attempt": 1}, "busy", 800),
        (
            {"code": 4429, "attempt": 1, "problem": {"details": {"retry_after_ms": 7_000}}},
            "busy",
            7_000,
        ),
        (
            {"code": 4404, "attempt": 9, "problem": {"details": {"reason": "preparing"}}},
            "avatar",
            2_000,
        ),
        ({"code": 4404, "attempt": 0, "problem": {"details": {"reason": "none"}}}, "avatar", None),
        ({"code": 4401, "attempt": 0}, "token", None),
        ({"code": 4408, "attempt": 0}, "ended", None),
        ({"code": 4409, "attempt": 0}, "ended", None),
        ({"code": 1000, "attempt": 0}, "ended", None),
    ],
)
def test_each_end_has_its_remedy(
    run: Run, end: dict[str, Any], reason: str, wait_ms: float | None
) -> None:
    asked = {"before": "lost", "chance": 0.5, **end}
    text = run("retry-policy.js", "return JSON.stringify(it.afterEnd(argument));", asked)
    found = json.loads(text)
    assert found["reason"] == reason
    assert found.get("waitMs") == wait_ms


def test_the_client_stands_on_its_own(page: Page) -> None:
    told = page.evaluate(
        """async () => {
          const { AvatarClient } = await import("/static/avatar/client.js");
          const { AvatarPlayer } = await import("/static/avatar/player.js");
          document.body.replaceChildren(document.createElement("div"));
          const client = new AvatarClient({ userId: "me" });
          const player = new AvatarPlayer(client, document.querySelector("div"));
          const seen = new Promise((resolve) =>
            player.addEventListener("shown", ({ detail }) => resolve(detail.frame.clip)));
          client.connect();
          const clip = await seen;
          const position = client.sendSpeech(new Int16Array(640));
          const interrupted = new Promise((resolve) =>
            client.addEventListener("interrupted", ({ detail }) => resolve(detail)));
          client.interrupt();
          const { dropped_ms } = await interrupted;
          const canvas = document.querySelector("canvas");
          const size = [canvas.width, canvas.height];
          client.close();
          player.close();
          return { clip, position, dropped: dropped_ms, size, status: client.status };
        }"""
    )
    assert told["clip"].startswith("idle")
    assert told["position"] == 0
    assert 0 <= told["dropped"] <= 40
    assert told["size"] == [512, 512]
    assert told["status"] == {"name": "stopped", "reason": "ended"}
