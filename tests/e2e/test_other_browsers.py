"""The studio in browsers that are not Chromium: it shows, speaks, and says what it cannot.

They are asked only where they are installed; what all browsers share is tested with Chromium.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack

import numpy as np
import pytest

from benchmarks.browsers.firefox import find_firefox, firefox
from benchmarks.browsers.loudspeaker import find_pulseaudio, silent_loudspeaker
from benchmarks.browsers.tab import Browser, Tab
from benchmarks.browsers.webkit import find_webkit, webkit
from benchmarks.studio_page import StudioTab, bursts

needs_firefox = pytest.mark.skipif(
    find_firefox() is None, reason="needs Firefox: install Debian's package firefox-esr"
)
needs_webkit = pytest.mark.skipif(
    find_webkit() is None,
    reason="needs WebKitGTK: install Debian's packages webkit2gtk-driver and xvfb",
)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

Start = Callable[[str], AbstractContextManager[Browser]]
BURSTS = 5
# Slower by far than what is measured: other work on the machine must not fail a test.
OFFSET_LIMIT_MS = 150


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((find_firefox, firefox), id="firefox", marks=needs_firefox),
        pytest.param((find_webkit, webkit), id="webkit", marks=needs_webkit),
    ],
)
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    find, start = request.param
    with ExitStack() as stack:
        pulseaudio = find_pulseaudio()
        if pulseaudio:
            stack.enter_context(silent_loudspeaker(pulseaudio))
        yield stack.enter_context(start(find()))


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    with browser.tab() as tab:
        yield tab


@pytest.mark.parametrize("decoder", ["webcodecs", "mse"])
def test_picture_and_sound_go_together(tab: Tab, address: str, decoder: str) -> None:
    """Frame by frame: browsers that draw without a GPU leave out too many to look at a mouth."""
    if find_pulseaudio() is None:
        pytest.skip("needs a loudspeaker: install Debian's package pulseaudio")
    studio = StudioTab(tab, address, f"?decoder={decoder}")
    studio.wait_until_live()
    studio.unlock_sound()
    studio.watch()
    studio.pause(1_200)
    studio.speak(bursts(BURSTS))
    studio.pause(BURSTS * 600 + 2_000)
    seen, heard = studio.seen(), studio.heard()
    both = [s.shown_ms - heard[at] for s in seen if (at := s.audio_timestamp_ms) in heard]
    assert len(both) > 10
    assert abs(float(np.median(both))) < OFFSET_LIMIT_MS
    darkness = [s.darkness for s in seen]
    assert np.percentile(darkness, 95) > 1.2 * np.percentile(darkness, 5)


def test_a_text_is_spoken(tab: Tab, address: str) -> None:
    studio = StudioTab(tab, address)
    studio.wait_until_live()
    studio.watch()
    tab.evaluate("() => void (document.getElementById('text').value = 'Hello world')")
    tab.click("#say")
    tab.wait_for_function("() => seen.some(([, , , audio]) => audio >= 400)")
    label, samples = tab.evaluate(
        "() => studio.player.line.utterances.map(({ label, length }) => [label, length])[0]"
    )
    assert label == "Hello world"
    assert 0.5 < samples / 16_000 < 3
    seen = studio.seen()
    shut = np.median([s.darkness for s in seen if s.audio_timestamp_ms is None])
    assert max(s.darkness for s in seen) > 1.2 * shut


@needs_firefox
def test_without_a_loudspeaker_it_speaks_all_the_same(address: str) -> None:
    executable = find_firefox()
    assert executable is not None
    with firefox(executable, {"media.cubeb.backend": "none"}) as browser, browser.tab() as tab:
        studio = StudioTab(tab, address)
        studio.wait_until_live()
        tab.click("[data-sample]")
        tab.wait_for_function("() => studio.player.line.utterances[0]?.state === 'showing'")


@needs_firefox
def test_without_any_decoder_it_says_so(address: str) -> None:
    executable = find_firefox()
    assert executable is not None
    no_h264 = {"media.ffmpeg.enabled": False, "media.gmp-gmpopenh264.enabled": False}
    with firefox(executable, no_h264) as browser, browser.tab() as tab:
        tab.goto(f"{address}/")
        tab.wait_for_function(
            "() => document.getElementById('notice-title')?.textContent.includes('cannot show')"
            " && !document.getElementById('veil').hidden"
        )
        assert "libavcodec" in tab.evaluate(
            "() => document.getElementById('notice-text').textContent"
        )
        assert tab.evaluate("() => studio.client.status.name") == "stopped"
