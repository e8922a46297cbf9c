"""The studio in a real browser: opened, spoken through, and watched at the mouth.

`StudioTab` drives one tab of whatever browser, `Studio` one of Chromium. What it tells of the
picture is read from the canvas (or video) itself, at the moment that the player says a frame is on
the screen; what it tells of the sound is when the AudioContext plays it. Nothing is taken from what
the player believes of its own synchrony.
"""

import base64
import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from benchmarks.browsers.tab import Tab
from inference.timing import SAMPLE_RATE_HZ

NAMES = ("chromium", "chromium-browser", "google-chrome")
FIRST_PICTURE_TIMEOUT_MS = 15_000

# Where the presenter's mouth is, in her picture of 512 × 512: x, y, width, height.
MOUTH = (205, 248, 105, 75)
DARK = 75
"""An open mouth is darker than lips and skin."""

_IS_LIVE = """() => globalThis.studio?.client.status.name === "live"
  && !Number.isNaN(studio.player.meter.firstPictureMs)"""

# Both clocks are performance.now(): the player says when a frame is seen, and the AudioContext's
# own reading says when a sample is heard. It is read once a second: Firefox may hang over it.
# Not all browsers stamp it by the page's clock.
_WATCH = """([x, y, width, height, dark]) => {
  const { player } = studio;
  const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  const seen = (globalThis.seen = []);
  player.addEventListener("shown", ({ detail: { frame, shownMs } }) => {
    const picture = document.querySelector("#picture > *");
    copy.drawImage(picture, x, y, width, height, 0, 0, width, height);
    const { data } = copy.getImageData(0, 0, width, height);
    let count = 0;
    for (let i = 0; i < data.length; i += 4)
      if (0.3 * data[i] + 0.59 * data[i + 1] + 0.11 * data[i + 2] < dark) count++;
    seen.push([shownMs, count, frame.timestampMs, frame.audioTimestampMs ?? -1]);
  });
  const heard = (globalThis.heard = []);
  let offsetMs, readMs = -Infinity;
  const readOffset = (context) => {
    if (performance.now() - readMs < 1000) return;
    readMs = performance.now();
    const { contextTime, performanceTime } = context.getOutputTimestamp();
    offsetMs = Math.abs(performanceTime - readMs) < 500
      ? performanceTime - contextTime * 1000
      : readMs - (context.currentTime - context.outputLatency) * 1000;
  };
  const play = player.sound.play.bind(player.sound);
  player.sound.play = (pcm, position, dueMs) => {
    const startS = play(pcm, position, dueMs);
    if (startS === undefined) return startS;
    readOffset(player.sound.context);
    heard.push([position / 16, startS * 1000 + offsetMs]);
    return startS;
  };
}"""


_BYTES = "Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer"


def find_chromium() -> str | None:
    """Return the browser of this machine; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def chromium(executable: str, *, microphone: Path | None = None) -> Iterator[Browser]:
    """Yield a headless browser; ``microphone``: a WAV that its microphone hears repeatedly."""
    arguments = [
        "--no-sandbox",  # tests and containers run as root
        "--autoplay-policy=user-gesture-required",  # as people's browsers have it
        "--use-fake-device-for-media-stream",
    ]
    if microphone is not None:
        arguments.append(f"--use-file-for-fake-audio-capture={microphone}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield browser
        browser.close()


@dataclass(frozen=True, slots=True)
class Chromium:
    """Playwright's browser in the form of `benchmarks.browsers`."""

    browser: Browser
    name: str = "Chromium"

    @property
    def version(self) -> str:
        return self.browser.version

    @contextmanager
    def tab(self) -> Iterator[Tab]:
        # Playwright waits for conditions by eval, which the page's own policy forbids.
        with self.browser.new_context(bypass_csp=True) as context:
            yield context.new_page()


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame on the screen. ``darkness``: how many pixels of the mouth are dark."""

    shown_ms: float
    darkness: int
    timestamp_ms: int
    audio_timestamp_ms: int | None


class StudioTab:
    """One tab. ``address``: ``http://host:port``."""

    def __init__(self, tab: Tab, address: str, query: str = "") -> None:
        self.tab = tab
        tab.goto(f"{address}/{query}")

    def wait_until_live(self, timeout_ms: float = FIRST_PICTURE_TIMEOUT_MS) -> None:
        self.tab.wait_for_function(_IS_LIVE, timeout=timeout_ms)

    @property
    def first_picture_ms(self) -> float:
        """From the beginning of the navigation to the first picture on the screen."""
        return float(self.tab.evaluate("studio.player.meter.firstPictureMs"))

    def unlock_sound(self) -> None:
        """Do what the first click on the page does."""
        self.tab.click("#timeline")
        self.tab.evaluate("studio.player.unlockSound()")

    def watch(self) -> None:
        """From now on remember what is seen and heard."""
        self.tab.evaluate(_WATCH, [*MOUTH, DARK])

    def seen(self) -> list[Seen]:
        """Return what was seen since `watch` or the last call."""
        return [
            Seen(shown, darkness, timestamp, None if audio < 0 else audio)
            for shown, darkness, timestamp, audio in self.tab.evaluate("seen.splice(0)")
        ]

    def heard(self) -> dict[int, float]:
        """When it was heard (ms, the page's clock), by the sound's audio_timestamp."""
        return {int(audio): at_ms for audio, at_ms in self.tab.evaluate("heard.splice(0)")}

    def speak(self, pcm: NDArray[np.int16]) -> None:
        """s16 at 16 kHz, sent as any speech of the page is."""
        content = base64.b64encode(pcm.tobytes()).decode()  # numbers cost the page a second
        self.tab.evaluate(f"text => void studio.player.speak(new Int16Array({_BYTES}))", content)

    def measure(self) -> dict[str, Any]:
        measured: dict[str, Any] = self.tab.evaluate("studio.player.measure()")
        return measured

    def pause(self, duration_ms: float) -> None:
        self.tab.wait_for_timeout(duration_ms)


class Studio(StudioTab):
    """One tab of Chromium."""

    def __init__(self, context: BrowserContext, address: str, query: str = "") -> None:
        self.page: Page = context.new_page()
        self.troubles: list[str] = []
        """What the page's console said that nobody wants to read there."""
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on(
            "console",
            lambda line: self.troubles.append(line.text) if line.type == "error" else None,
        )
        super().__init__(self.page, address, query)


def sung_ah(duration_ms: int) -> NDArray[np.int16]:
    """Return a vowel: pulses at 140 Hz through the first formants of "ah", int16 at 16 kHz."""
    samples = duration_ms * SAMPLE_RATE_HZ // 1_000
    time_s = np.arange(samples) / SAMPLE_RATE_HZ
    voice = np.zeros(samples)
    for harmonic in range(1, 28):
        frequency_hz = 140 * harmonic
        gain = sum(
            weight / (1 + ((frequency_hz - formant_hz) / width_hz) ** 2)
            for formant_hz, width_hz, weight in ((730, 90, 1), (1090, 110, 0.6), (2440, 160, 0.2))
        )
        voice += gain * np.sin(2 * math.pi * frequency_hz * time_s)
    ramp = np.minimum(1, np.minimum(time_s, time_s[::-1]) / 0.008)
    pcm: NDArray[np.int16] = (voice / np.abs(voice).max() * ramp * 16_000).astype(np.int16)
    return pcm


def bursts(count: int, *, burst_ms: int = 120, period_ms: int = 600) -> NDArray[np.int16]:
    """Sung vowels with silence between them, one each ``period_ms``, in the middle of it."""
    period = np.zeros(period_ms * SAMPLE_RATE_HZ // 1_000, np.int16)
    vowel = sung_ah(burst_ms)
    begin = (len(period) - len(vowel)) // 2
    period[begin : begin + len(vowel)] = vowel
    return np.tile(period, count)


def burst_offsets_ms(
    seen: Sequence[Seen],
    heard: dict[int, float],
    *,
    count: int,
    first_ms: int = 0,
    burst_ms: int = 120,
    period_ms: int = 600,
) -> list[float]:
    """By how much the open mouth comes after (+) or before (−) each burst that is heard.

    Of both the middle counts: of the sound by the AudioContext's time, of the mouth as the center
    of its darkness over what it is between the bursts. ``first_ms``: the position of the speech
    that `bursts` made. A burst that was not wholly seen and heard gives nothing.
    """
    offsets = []
    for number in range(count):
        period_begin = first_ms + number * period_ms
        sound_begin = period_begin + (period_ms - burst_ms) // 2
        at_frame = heard.get(sound_begin // 40 * 40)
        if at_frame is None:
            continue
        sound_middle = at_frame + sound_begin % 40 + burst_ms / 2
        shown = [s for s in seen if abs(s.shown_ms + 20 - sound_middle) < period_ms / 2]
        if len(shown) < period_ms / 40 * 0.8:
            continue
        darkness = np.array([s.darkness for s in shown], float)
        open_by = np.clip(darkness - np.percentile(darkness, 40), 0, None)
        open_by[open_by < open_by.max() * 0.25] = 0
        if open_by.sum() > 0:
            middles = np.array([s.shown_ms + 20 for s in shown])
            offsets.append(float((middles * open_by).sum() / open_by.sum() - sound_middle))
    return offsets
