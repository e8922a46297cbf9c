"""The JavaScript library in real Chromium: a page of a few lines, streams, resuming, watching."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from benchmarks.studio_page import find_chromium
from tests.e2e.conftest import Serve, Start
from tests.e2e.talking import Server
from tests.processes import free_port
from tests.silent_proxy import SilentProxy

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_chromium() is None, reason="needs Chromium: install Debian's package chromium"
    ),
]

CLIENTS = Path(__file__).resolve().parents[2] / "clients"
EXAMPLE = CLIENTS / "javascript" / "example.html"
SEVERAL = CLIENTS / "javascript" / "several.html"
BACK_END = CLIENTS / "python" / "examples" / "back_end.py"
WAIT_MS = 20_000

# Records when each piece of speech is seen and heard.
RECORD = """
  globalThis.record = (avatar) => {
    const told = (globalThis.told = { seen: {}, heard: {}, events: [], times: [] });
    avatar.addEventListener("shown", ({ detail: { frame, shownMs } }) => {
      told.times.push(frame.timestampMs);
      if (frame.audioTimestampMs !== undefined) told.seen[frame.audioTimestampMs] = shownMs;
    });
    avatar.addEventListener("heard", ({ detail }) =>
      told.heard[detail.audioTimestampMs] = detail.heardMs);
    for (const name of ["open", "resumed", "session-lost", "speech-started", "speech-finished"])
      avatar.addEventListener(name, ({ detail }) => told.events.push([name, detail]));
  };
  // A vowel: pulses at 140 Hz.
  globalThis.vowel = (ms, rate) => Float32Array.from({ length: ms * rate / 1000 }, (_, i) => {
    let sum = 0;
    for (let n = 1; n < 20; n++) sum += Math.sin(2 * Math.PI * 140 * n * i / rate) / n;
    return sum * 0.2;
  });
"""
IS_LIVE = "avatar.status.name === 'live' && avatar.player.meter.frames > 10"
MAKE = """async (options) => {
  const { TalkingAvatar } = await import("/static/avatar/index.js");
  document.body.replaceChildren(document.createElement("div"));
  globalThis.avatar = new TalkingAvatar({
    container: document.querySelector("div"), user: "guest", ...options });
  record(avatar);
  avatar.connect();
}"""


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 640, "height": 640}, bypass_csp=True)
    context.set_default_timeout(WAIT_MS)
    context.add_init_script(RECORD)
    yield context
    context.close()


@pytest.fixture
def proxy(server: Server) -> Iterator[SilentProxy]:
    with SilentProxy(server.port) as running:
        yield running


def written(context: BrowserContext, address: str, html: str) -> Page:
    """A page of the server's origin with other content.

    Chromium lets pages that did not come from this machine not connect to it; so one that did is
    rewritten.
    """
    page = context.new_page()
    page.goto(f"{address}/health")
    page.set_content(html)
    return page


def blank(context: BrowserContext, address: str) -> Page:
    return written(context, address, "<!doctype html><title>Test</title><button>Sound</button>")


def opened(context: BrowserContext, address: str, **options: object) -> Page:
    """A page with an avatar that moves, and sound that is allowed."""
    page = blank(context, address)
    page.get_by_role("button").click()
    page.evaluate(MAKE, options)
    page.wait_for_function(IS_LIVE)
    assert page.evaluate("avatar.unlockSound()")
    return page


def events(page: Page, name: str) -> list[Any]:
    return [detail for kind, detail in page.evaluate("told.events") if kind == name]


def offsets_ms(page: Page) -> list[float]:
    """Of each piece of speech that was seen and heard: picture after (+) its sound."""
    told = page.evaluate("told")
    return [told["seen"][at] - heard for at, heard in told["heard"].items() if at in told["seen"]]


def test_a_page_of_twenty_lines_speaks_and_is_interrupted(
    context: BrowserContext, address: str
) -> None:
    html = EXAMPLE.read_text()
    assert len(html.splitlines()) <= 22
    page = written(context, address, html)
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    element = page.locator("talking-avatar")
    expect(element).to_have_attribute("data-status", "live", timeout=WAIT_MS)
    page.evaluate("record(document.querySelector('talking-avatar').avatar)")
    page.get_by_role("button", name="Speak").click()
    page.wait_for_function("Object.keys(told.heard).length > 12")
    colors = page.evaluate(
        """() => {
          const canvas = document.querySelector("talking-avatar").shadowRoot
            .querySelector("canvas");
          const { data } = canvas.getContext("2d").getImageData(0, 0, 512, 512);
          const colors = new Set();
          for (let i = 0; i < data.length; i += 400) colors.add(data[i] << 16 | data[i + 1] << 8);
          return colors.size;
        }"""
    )
    assert colors > 100
    page.get_by_role("button", name="Interrupt").click()
    expect(page.locator("output")).to_have_text(re.compile(r"^\d+ ms, interrupted$"))
    played_ms = int((page.locator("output").text_content() or "").split()[0])
    assert played_ms > 400
    assert troubles == []


@pytest.mark.lasting
def test_several_avatars_in_a_page_speak_in_turns(context: BrowserContext, address: str) -> None:
    page = written(context, address, SEVERAL.read_text())
    for index in range(2):
        element = page.locator("talking-avatar").nth(index)
        expect(element).to_have_attribute("data-status", "live", timeout=WAIT_MS)
    page.evaluate(
        """() => { globalThis.spoke = [];
          document.querySelectorAll("talking-avatar").forEach((one) => one.addEventListener(
            "speech-started", () => spoke.push(one.getAttribute("user")))); }"""
    )
    page.get_by_role("button", name="Begin").click()
    expect(page.locator("output")).to_have_text(re.compile(r"^\d+ and \d+ ms$"), timeout=60_000)
    played_ms = map(int, re.findall(r"\d+", page.locator("output").text_content() or ""))
    assert all(each > 2_000 for each in played_ms), "a page that cannot keep up misses frames"
    assert page.evaluate("spoke") == ["presenter", "narrator"]


@pytest.mark.lasting
@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng")
def test_a_back_end_speaks_and_a_browser_watches(context: BrowserContext, serve: Serve) -> None:
    port = free_port()
    origin = f"http://localhost:{port}"
    server = serve(CORS_ORIGINS=origin)
    program = subprocess.Popen(
        [sys.executable, str(BACK_END), server.address, "ann", str(port)],
        env={**os.environ, "PYTHONPATH": str(BACK_END.parents[1] / "src")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with program:
        assert program.stdin is not None
        assert program.stdout is not None
        try:
            assert program.stdout.readline() == f"{origin}\n"
            page = context.new_page()
            page.goto(origin)
            element = page.locator("talking-avatar")
            expect(element).to_have_attribute("data-status", "live", timeout=WAIT_MS)
            page.evaluate("record(document.querySelector('talking-avatar').avatar)")
            program.stdin.write("Good morning, everybody.\n")
            program.stdin.flush()
            said_ms = int(program.stdout.readline().split()[1])
            # A slow machine leaves out pictures up to the next IDR.
            page.wait_for_function(f"Math.max(...Object.keys(told.seen)) > {said_ms - 1_000}")
        finally:
            program.stdin.close()
        assert program.wait(10) == 0


def test_speech_of_every_form_is_said_and_heard_in_step(
    context: BrowserContext, address: str
) -> None:
    page = opened(context, address)
    assert page.evaluate("avatar.client.isBinary")
    played = page.evaluate(
        """async () => {
          const stream = async function* () {
            const pcm = vowel(1000, 24000);
            for (let at = 0; at < pcm.length; at += 777) yield pcm.subarray(at, at + 777);
          };
          const buffer = new AudioBuffer({ numberOfChannels: 2, length: 22050, sampleRate: 44100 });
          buffer.getChannelData(0).set(vowel(500, 44100));
          const said = [
            avatar.speak(vowel(400, 16000), { utteranceId: "plain" }),
            avatar.speak(stream(), { sampleRate: 24000 }),
            avatar.speak(buffer),
          ];
          return Promise.all(said.map(({ finished }) => finished));
        }"""
    )
    assert played == [
        {"playedMs": 400, "interrupted": False},
        {"playedMs": 1_000, "interrupted": False},
        {"playedMs": 520, "interrupted": False},
    ]
    assert events(page, "speech-started")[0]["utterance_id"] == "plain"
    page.wait_for_timeout(500)
    offsets = offsets_ms(page)
    assert len(offsets) > 20
    assert abs(median(offsets)) < 40


def test_json_says_the_same(context: BrowserContext, address: str) -> None:
    page = opened(context, address, binary=False)
    assert not page.evaluate("avatar.client.isBinary")
    played = page.evaluate("avatar.speak(vowel(400, 8000), { sampleRate: 8000 }).finished")
    assert played == {"playedMs": 400, "interrupted": False}


def test_what_no_server_takes_is_refused_with_a_sentence(
    context: BrowserContext, address: str
) -> None:
    page = opened(context, address)
    refused = page.evaluate(
        """() => [[{ sampleRate: 11025 }], [{ utteranceId: "a b" }]].map(([options]) => {
          try {
            avatar.speak(new Int16Array(640), options);
          } catch (error) {
            return error.message;
          }
        })"""
    )
    assert "11025" in refused[0]
    assert "16000" in refused[0]
    assert '"a b"' in refused[1]


@pytest.mark.parametrize(
    "loss",
    ["cut", *(pytest.param(loss, marks=pytest.mark.lasting) for loss in ("silence", "black hole"))],
)
def test_a_lost_connection_is_resumed_and_nothing_is_said_twice(
    context: BrowserContext, proxy: SilentProxy, loss: str
) -> None:
    page = opened(context, f"http://127.0.0.1:{proxy.port}")
    session_id = page.evaluate("avatar.sessionId")
    page.evaluate("globalThis.said = avatar.speak(vowel(3000, 16000), { utteranceId: 'long' })")
    page.wait_for_function("Object.keys(told.seen).length > 15")
    if loss == "cut":
        proxy.cut()
    else:
        proxy.silence(new_as_well=loss == "black hole")
    if loss == "black hole":  # connections are accepted, and nobody answers
        proxy.cut()
        page.wait_for_timeout(2_000)
        proxy.heal()
    played = page.evaluate("said.finished")
    assert played == {"playedMs": 3_000, "interrupted": False}
    page.wait_for_function("Math.max(...Object.keys(told.seen)) > 2000")
    page.wait_for_function("told.events.some(([name]) => name === 'resumed')")
    assert [name for name, _ in page.evaluate("told.events") if name in ("open", "resumed")] == [
        "open",
        "resumed",
    ]
    assert page.evaluate("avatar.sessionId") == session_id
    assert len(events(page, "speech-finished")) == 1
    times = page.evaluate("told.times")
    assert times == sorted(set(times))


@pytest.mark.lasting
def test_a_server_that_is_killed_in_mid_sentence_costs_no_speech(
    context: BrowserContext, serve: Serve, start: Start
) -> None:
    server = serve()
    page = opened(context, server.origin)
    page.evaluate("globalThis.said = avatar.speak(vowel(5000, 24000), { sampleRate: 24000 })")
    page.wait_for_function("Object.keys(told.seen).length > 15")
    server.process.kill()
    page.wait_for_function("avatar.status.name === 'retrying'")
    assert page.evaluate("avatar.status.keptUntilMs > performance.now()")
    start("manage.py", "serve", "--host", "127.0.0.1", "--port", str(server.port))
    played = page.evaluate("said.finished")
    page.wait_for_function("Math.max(...Object.keys(told.seen)) > 4000")
    assert played["interrupted"] is False
    assert len(events(page, "resumed")) == 1
    assert events(page, "session-lost") == []
    # A slow machine leaves out pictures, of 125; but not all that follow the gap.
    assert page.evaluate("Object.keys(told.heard).length") > 75


@pytest.mark.lasting
def test_a_session_that_is_gone_is_reported_and_another_one_speaks(
    context: BrowserContext, share: Serve
) -> None:
    server = share(RESUME_S="0")
    with SilentProxy(server.port) as proxy:
        page = opened(context, f"http://127.0.0.1:{proxy.port}")
        page.evaluate("globalThis.said = avatar.speak(vowel(3000, 16000))")
        page.wait_for_function("Object.keys(told.seen).length > 5")
        proxy.cut()
        assert page.evaluate("said.finished")["interrupted"] is True
        page.wait_for_function("told.events.filter(([name]) => name === 'open').length === 2")
        assert events(page, "session-lost") == [{"reason": "expired"}]
        played = page.evaluate("avatar.speak(vowel(400, 16000)).finished")
    assert played == {"playedMs": 400, "interrupted": False}


@pytest.mark.lasting
def test_a_watcher_sees_and_hears_what_the_owner_says(
    context: BrowserContext, address: str
) -> None:
    owner = opened(context, address, allowWatchers=True)
    session = owner.evaluate("({ sessionId: avatar.sessionId, token: avatar.watchToken })")
    page = blank(context, address)
    page.evaluate("import('/static/avatar/talking-avatar-element.js')")
    page.evaluate(
        """({ sessionId, token }) => {
          const element = document.createElement("talking-avatar");
          element.setAttribute("user", "guest");
          element.setAttribute("watch-session", sessionId);
          element.setAttribute("watch-token", token);
          document.body.append(element);
          globalThis.avatar = element.avatar;
          record(avatar);
        }""",
        session,
    )
    page.get_by_role("button", name="Sound on").click()
    expect(page.get_by_role("button", name="Sound on")).to_be_hidden()
    page.wait_for_function(IS_LIVE)
    owner.evaluate("avatar.speak(vowel(2000, 24000), { sampleRate: 24000 }).finished")
    page.wait_for_timeout(800)
    offsets = offsets_ms(page)
    assert len(offsets) > 20
    assert abs(median(offsets)) < 40
    assert events(page, "speech-finished")[0]["played_ms"] == 2_000
    refused = page.evaluate(
        """() => {
          try { avatar.speak(new Int16Array(640)); } catch (error) { return error.message; }
        }"""
    )
    assert "cannot speak" in refused
    owner.evaluate("avatar.close()")
    page.wait_for_function("avatar.status.name === 'stopped'")


def test_a_session_that_cannot_be_watched_is_not_tried_again(
    context: BrowserContext, address: str
) -> None:
    page = blank(context, address)
    watch = {"sessionId": "6f1c2e1a-5b0e-4c53-9d0b-0b3b7d7d7f10", "token": "no token"}
    page.evaluate(MAKE, {"watch": watch})
    page.wait_for_function("avatar.status.name === 'stopped'")
    assert page.evaluate("avatar.status.reason") == "unwatchable"
