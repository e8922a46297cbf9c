"""``python -m benchmarks.studio [--browser firefox] [--opens 10] [--bursts 40] [--stall-s 60]``

The studio in a real browser, as its visitors have it: how soon there is a picture, and how well
mouth and voice go together (for both ways of decoding). In Chromium, the default, also how a page
that slept comes back, and with ``--soak-min 30`` whether half an hour leaves anything behind.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import numpy as np
from playwright.sync_api import Browser

from benchmarks.browsers.firefox import find_firefox, firefox
from benchmarks.browsers.loudspeaker import find_pulseaudio, silent_loudspeaker
from benchmarks.browsers.tab import Browser as AnyBrowser
from benchmarks.browsers.webkit import find_webkit, webkit
from benchmarks.server import Server, add_server_arguments, server_under_test
from benchmarks.studio_page import (
    Chromium,
    Studio,
    StudioTab,
    burst_offsets_ms,
    bursts,
    chromium,
    find_chromium,
)
from benchmarks.verdict import Verdict

Find = Callable[[], str | None]
Start = Callable[[str], AbstractContextManager[AnyBrowser]]

FIRST_PICTURE_LIMIT_MS = 1_000.0
OFFSET_LIMIT_MS = 40.0
BACK_LIMIT_MS = 1_000.0
HEAP_GROWTH_LIMIT_MB = 5.0
LATENCY_GROWTH_LIMIT_MS = 20.0
LATE_MS = 250.0
"""A picture is live if it is shown at most so long after the quickest one before."""


def open_often(browser: AnyBrowser, address: str, verdict: Verdict, count: int) -> None:
    times_ms = []
    for _ in range(count):
        with browser.tab() as tab:  # with an empty cache
            studio = StudioTab(tab, address)
            studio.wait_until_live()
            times_ms.append(studio.first_picture_ms)
    verdict.below("open to first picture, median", FIRST_PICTURE_LIMIT_MS, _median(times_ms))
    verdict.told("open to first picture, slowest", max(times_ms, default=None), "ms")


def burst(browser: AnyBrowser, address: str, verdict: Verdict, count: int) -> None:
    for decoder in ("webcodecs", "mse"):
        with browser.tab() as tab:
            studio = StudioTab(tab, address, f"?decoder={decoder}")
            studio.wait_until_live()
            studio.unlock_sound()
            studio.watch()
            studio.pause(1_000)
            studio.speak(bursts(count))
            studio.pause(count * 600 + 3_000)
            offsets = burst_offsets_ms(studio.seen(), studio.heard(), count=count)
            measured = studio.measure()
        p95 = float(np.percentile(np.abs(offsets), 95)) if offsets else None
        verdict.at_least(f"{decoder}: bursts seen and heard", count * 0.9, len(offsets))
        verdict.at_most(f"{decoder}: mouth against sound, p95", OFFSET_LIMIT_MS, p95, "ms")
        verdict.told(f"{decoder}: mouth after sound, median", _median(offsets), "ms")
        verdict.told(f"{decoder}: frames", measured["frames"])
        verdict.told(f"{decoder}: not shown in time", measured["dropped"])


def stall(browser: Browser, address: str, verdict: Verdict, stall_s: float) -> None:
    """Freeze the page as browsers freeze those in the background, and see how it comes back."""
    context = browser.new_context(bypass_csp=True)  # Playwright waits by eval
    studio = Studio(context, address)
    studio.wait_until_live()
    studio.watch()
    studio.pause(2_000)
    journey_ms = min(seen.shown_ms - seen.timestamp_ms for seen in studio.seen())
    devtools = context.new_cdp_session(studio.page)
    devtools.send("Page.setWebLifecycleState", {"state": "frozen"})
    studio.pause(stall_s * 1_000)
    devtools.send("Page.setWebLifecycleState", {"state": "active"})
    back_ms = float(studio.page.evaluate("performance.now()"))
    studio.pause(4_000)
    live = [
        seen.shown_ms - back_ms
        for seen in studio.seen()
        if seen.shown_ms > back_ms and seen.shown_ms - seen.timestamp_ms < journey_ms + LATE_MS
    ]
    verdict.below(
        f"live again after {stall_s:g} s of sleep", BACK_LIMIT_MS, min(live, default=None)
    )
    context.close()


def soak(browser: Browser, address: str, verdict: Verdict, minutes: float) -> None:
    """Leave the page open, let it speak now and then, and look at heap, latency and decoder."""
    context = browser.new_context(bypass_csp=True)  # Playwright waits by eval
    studio = Studio(context, address)
    studio.wait_until_live()
    studio.unlock_sound()
    devtools = context.new_cdp_session(studio.page)
    heaps_mb, latencies_ms = [], []
    for _ in range(max(4, round(minutes * 2))):
        studio.speak(bursts(5))
        studio.pause(30_000)
        devtools.send("HeapProfiler.collectGarbage")
        used = devtools.send("Runtime.getHeapUsage")["usedSize"]
        heaps_mb.append(used / 1e6)
        latencies_ms.append(studio.measure()["latencyMs"])
    measured = studio.measure()
    third = max(1, len(heaps_mb) // 3)
    for name, limit, unit, values in (
        ("heap", HEAP_GROWTH_LIMIT_MB, "MB", heaps_mb),
        ("latency", LATENCY_GROWTH_LIMIT_MS, "ms", latencies_ms),
    ):
        growth = statistics.median(values[-third:]) - statistics.median(values[:third])
        verdict.told(f"{name} at the end, median", statistics.median(values[-third:]), unit)
        verdict.at_most(f"{name}, last third minus first", limit, growth, unit)
    verdict.told("frames in all", measured["frames"])
    verdict.told("not shown in time", measured["dropped"])
    verdict.told("left out by the server", measured["missing"])
    verdict.none_of("decoder errors", studio.page.evaluate("studio.player.meter.errors"))
    context.close()


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None


def measure(server: Server, browser: AnyBrowser, options: argparse.Namespace) -> Verdict:
    address = server.address.replace("ws", "http", 1)
    verdict = Verdict("studio")
    if options.opens:
        open_often(browser, address, verdict, options.opens)
    if options.bursts:
        burst(browser, address, verdict, options.bursts)
    if isinstance(browser, Chromium):
        if options.stall_s:
            stall(browser.browser, address, verdict, options.stall_s)
        if options.soak_min:
            soak(browser.browser, address, verdict, options.soak_min)
    verdict.notes.append(f"{browser.name} {browser.version}, on the server's machine")
    return verdict


@contextmanager
def browser_named(name: str) -> Iterator[AnyBrowser]:
    """Yield the browser of this machine, with something to play sound on.

    The program ends without one.
    """
    find, start = BROWSERS[name]
    executable = find()
    if executable is None:
        sys.exit(f"{name} was not found; Debian's package is `{PACKAGES[name]}`.")
    with ExitStack() as stack:
        pulseaudio = find_pulseaudio()
        if pulseaudio:
            stack.enter_context(silent_loudspeaker(pulseaudio))
        elif name != "chromium":
            print("Without PulseAudio nothing may be heard.", file=sys.stderr)
        yield stack.enter_context(start(executable))


@contextmanager
def _chromium(executable: str) -> Iterator[AnyBrowser]:
    with chromium(executable) as browser:
        yield Chromium(browser)


BROWSERS: dict[str, tuple[Find, Start]] = {
    "chromium": (find_chromium, _chromium),
    "firefox": (find_firefox, firefox),
    "webkit": (find_webkit, webkit),
}
PACKAGES = {
    "chromium": "chromium",
    "firefox": "firefox-esr",
    "webkit": "webkit2gtk-driver (and xvfb, gstreamer1.0-libav)",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--browser", choices=BROWSERS, default="chromium")
    parser.add_argument("--opens", type=int, default=10)
    parser.add_argument("--bursts", type=int, default=40)
    parser.add_argument("--stall-s", type=float, default=60)
    parser.add_argument("--soak-min", type=float, default=0, help="30 for the whole; default: none")
    add_server_arguments(parser)
    options = parser.parse_args()
    with browser_named(options.browser) as browser, server_under_test(options) as server:
        return measure(server, browser, options).conclude(options.json)


if __name__ == "__main__":
    sys.exit(main())
