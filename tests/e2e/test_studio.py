"""The studio in real Chromium against the real server: seen, heard, directed, lost and found."""

import base64
import io
import json
import signal
import wave
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Route, WebSocketRoute, expect

from avatars_app.models import Avatar
from benchmarks.studio_page import (
    Seen,
    Studio,
    burst_offsets_ms,
    bursts,
    chromium,
    find_chromium,
    sung_ah,
)
from tests.e2e.conftest import DatabaseOf, Serve, Start
from tests.e2e.talking import Server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_chromium() is None, reason="needs Chromium: install Debian's package chromium"
    ),
]

# Three times the aims: other work on the machine must not fail a test.
OFFSET_LIMIT_MS = 120
FIRST_PICTURE_LIMIT_MS = 3_000
WAIT_MS = 10_000


def wav(pcm: "np.ndarray[tuple[int], np.dtype[np.int16]]", channels: int = 1) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((channels, 2, 16_000, len(pcm) // channels, "NONE", ""))
        file.writeframes(pcm.tobytes())
    return content.getvalue()


def liveliness(seen: Sequence[Seen]) -> float:
    """How much the mouth opens and shuts: spread of its darkness, in pixels."""
    darkness = [s.darkness for s in seen]
    return float(np.percentile(darkness, 95) - np.percentile(darkness, 5))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    heard_by_microphone = tmp_path_factory.mktemp("microphone") / "speech.wav"
    heard_by_microphone.write_bytes(wav(bursts(10, burst_ms=200)))
    executable = find_chromium()
    assert executable is not None
    with chromium(executable, microphone=heard_by_microphone) as running:
        yield running


@contextmanager
def new_context(browser: Browser) -> Iterator[BrowserContext]:
    # Headless, nobody is there to ask: without this permission the microphone is refused.
    # Playwright waits for conditions by eval, which the page's own policy forbids.
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, locale="en-GB", bypass_csp=True
    )
    context.set_default_timeout(WAIT_MS)
    yield context
    context.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with new_context(browser) as context:
        yield context


@pytest.fixture
def studio(context: BrowserContext, address: str) -> Iterator[Studio]:
    studio = Studio(context, address)
    studio.wait_until_live()
    yield studio
    assert studio.troubles == []


@pytest.fixture(scope="module")
def shared_studio(browser: Browser, server: Server) -> Iterator[Studio]:
    """One page for all tests that leave it, and its session, as they were."""
    with new_context(browser) as context:
        studio = Studio(context, server.origin)
        studio.wait_until_live()
        yield studio
        assert studio.troubles == []


def test_one_click_makes_it_talk_and_an_interrupt_stops_it(studio: Studio) -> None:
    page = studio.page
    opened_ms = [studio.first_picture_ms]
    while opened_ms[-1] >= FIRST_PICTURE_LIMIT_MS:  # what is wrong with the page delays it always
        assert len(opened_ms) < 3, opened_ms
        page.reload()
        studio.wait_until_live()
        opened_ms.append(studio.first_picture_ms)
    expect(page.locator("#status")).to_contain_text("Live")
    expect(page.locator("#decoder")).to_have_text("WebCodecs")
    studio.watch()
    studio.pause(1_200)
    still = liveliness(studio.seen())

    page.get_by_role("button", name="Let me say hello").click()
    page.wait_for_function("seen.some(([, , , audio]) => audio >= 0)")
    studio.pause(2_000)
    assert liveliness(studio.seen()) > 3 * still
    assert len(studio.heard()) > 20

    page.get_by_role("button", name="Interrupt").click()
    studio.pause(800)
    studio.seen(), studio.heard()
    studio.pause(1_200)
    assert all(seen.audio_timestamp_ms is None for seen in studio.seen())
    assert studio.heard() == {}
    assert page.evaluate("studio.player.line.queuedSamples") == 0


def test_mouth_and_sound_go_together(studio: Studio) -> None:
    """A machine that stands still moves one burst; what is wrong with the player moves all."""
    studio.unlock_sound()
    studio.watch()
    studio.pause(800)
    told: list[list[float]] = []
    for _ in range(3):
        spoken_ms = studio.page.evaluate("studio.client.sentSamples") // 16
        studio.speak(bursts(6))
        studio.pause(6 * 600 + 1_200)
        offsets = burst_offsets_ms(studio.seen(), studio.heard(), count=6, first_ms=spoken_ms)
        told.append(offsets)
        is_in_step = len(offsets) >= 4 and np.percentile(np.abs(offsets), 95) < OFFSET_LIMIT_MS
        if is_in_step and abs(float(np.median(offsets))) < OFFSET_LIMIT_MS / 3:
            break
    else:
        raise AssertionError(told)


def test_a_text_is_spoken(studio: Studio) -> None:
    studio.watch()
    studio.page.get_by_label("What the avatar should say").fill("Hello world")
    studio.page.keyboard.press("Enter")
    studio.page.wait_for_function("heard.length > 12")
    spoken = studio.page.evaluate("studio.player.line.utterances[0]")
    assert spoken["label"] == "Hello world"
    assert 0.5 < spoken["length"] / 16_000 < 3


def test_a_file_is_spoken_and_another_is_refused(studio: Studio) -> None:
    studio.watch()
    chooser = studio.page.locator("#file")
    speech = {"name": "ah.wav", "mimeType": "audio/wav", "buffer": wav(sung_ah(600))}
    chooser.set_input_files(speech)  # type: ignore[arg-type]
    studio.page.wait_for_function("heard.length >= 14")
    assert studio.page.evaluate("studio.player.line.utterances[0].label") == "ah.wav"
    nothing = {"name": "no.wav", "mimeType": "audio/wav", "buffer": b"no sound at all"}
    chooser.set_input_files(nothing)  # type: ignore[arg-type]
    expect(studio.page.get_by_role("alert").filter(visible=True)).to_contain_text("no sound file")


def test_a_side_that_is_inverted_is_said_and_does_not_silence_the_other(studio: Studio) -> None:
    ah = sung_ah(600)
    content = wav(np.stack([ah, -ah], axis=1).ravel(), channels=2)
    speech = {"name": "ah.wav", "mimeType": "audio/wav", "buffer": content}
    studio.page.locator("#file").set_input_files(speech)  # type: ignore[arg-type]
    expect(studio.page.locator("#message")).to_contain_text("inverted")
    loudest = studio.page.evaluate(
        """async (text) => {
            const { decodeSpeech } = await import("/static/avatar/index.js");
            const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            const pcm = await decodeSpeech(bytes.buffer, () => {});
            return pcm.reduce((most, sample) => Math.max(most, sample), 0);
        }""",
        base64.b64encode(content).decode(),
    )
    assert loudest > 0.8 * ah.max()


def test_the_microphone_is_heard_and_seen(studio: Studio, context: BrowserContext) -> None:
    context.grant_permissions(["microphone"])
    studio.watch()
    studio.pause(800)
    still = liveliness(studio.seen())
    talk = studio.page.get_by_role("button", name="Hold to talk")
    talk.hover()
    studio.page.mouse.down()
    studio.page.wait_for_function("heard.length > 60")
    studio.page.mouse.up()
    assert liveliness([s for s in studio.seen() if s.audio_timestamp_ms is not None]) > 3 * still
    assert not studio.page.evaluate("studio.player.line.utterances.length > 1")


def test_an_open_microphone_sends_speech_and_keeps_silence_back(
    studio: Studio, context: BrowserContext
) -> None:
    context.grant_permissions(["microphone"])
    button = studio.page.get_by_role("button", name="Open mic")
    studio.watch()
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    studio.page.wait_for_function("heard.length > 20")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    sent = studio.page.evaluate("studio.client.sentSamples")
    studio.pause(300)
    assert studio.page.evaluate("studio.client.sentSamples") == sent


def test_a_refused_microphone_is_explained(studio: Studio) -> None:
    studio.page.get_by_role("button", name="Open mic").click()
    expect(studio.page.get_by_role("alert").filter(visible=True)).to_contain_text("blocked")
    expect(studio.page.get_by_role("button", name="Open mic")).to_have_attribute(
        "aria-pressed", "false"
    )


def test_clips_and_actions_are_directed(studio: Studio) -> None:
    page = studio.page
    page.get_by_role("button", name="Nod", exact=True).click()
    expect(page.locator("#clip")).to_have_text("idle_3")
    page.get_by_role("button", name="Wave").click()
    expect(page.locator("#clip")).to_have_text("action_1")
    page.get_by_role("button", name="Present").click()
    expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("action is running")


@pytest.mark.lasting
def test_media_source_extensions_show_the_same(context: BrowserContext, address: str) -> None:
    studio = Studio(context, address, "?decoder=mse")
    studio.wait_until_live()
    expect(studio.page.locator("#decoder")).to_have_text("Media Source Extensions")
    studio.unlock_sound()
    studio.watch()
    studio.pause(1_500)
    studio.speak(bursts(5))
    studio.pause(5 * 600 + 1_500)
    seen = studio.seen()
    offsets = burst_offsets_ms(seen, studio.heard(), count=5)
    assert len(offsets) >= 3
    assert np.percentile(np.abs(offsets), 95) < OFFSET_LIMIT_MS
    silent = [s for s in seen if s.audio_timestamp_ms is None][:30]
    assert liveliness(seen) > 3 * liveliness(silent)
    assert studio.troubles == []


def test_where_webcodecs_fail_media_source_extensions_take_over(
    context: BrowserContext, address: str
) -> None:
    context.add_init_script(
        """
        const { configure } = VideoDecoder.prototype;
        VideoDecoder.prototype.configure = function () {
          configure.call(this, { codec: "avc1.42C01E", description: new Uint8Array(3) });
        };
        """
    )
    studio = Studio(context, address)
    expect(studio.page.locator("#decoder")).to_have_text("Media Source Extensions")
    studio.wait_until_live()


def test_without_a_loudspeaker_it_speaks_all_the_same_and_says_why_it_is_silent(
    context: BrowserContext, address: str
) -> None:
    # What Firefox does where there is none.
    context.add_init_script(
        """
        AudioContext.prototype.resume = () => new Promise(() => {});
        Object.defineProperty(AudioContext.prototype, "state", { get: () => "suspended" });
        """
    )
    studio = Studio(context, address)
    studio.wait_until_live()
    studio.watch()
    studio.page.get_by_role("button", name="Let me say hello").click()
    studio.page.wait_for_function("seen.some(([, , , audio]) => audio >= 400)")
    expect(studio.page.locator("#message")).to_contain_text("There is no sound")
    assert studio.heard() == {}


@pytest.mark.lasting
def test_two_tabs_speak_at_once(context: BrowserContext, address: str) -> None:
    studios = [Studio(context, address), Studio(context, address, "?avatar=another")]
    for studio in studios:
        studio.wait_until_live()
        studio.page.bring_to_front()
        studio.unlock_sound()
        studio.watch()
        studio.speak(sung_ah(1_200))
    for studio in studios:
        studio.page.wait_for_function("heard.length > 25")
        assert studio.troubles == []
    ids = {studio.page.evaluate("studio.client.sessionId") for studio in studios}
    assert len(ids) == 2


@pytest.mark.lasting
def test_a_page_that_slept_shows_the_present(studio: Studio, context: BrowserContext) -> None:
    studio.watch()
    studio.pause(1_000)
    journey_ms = min(seen.shown_ms - seen.timestamp_ms for seen in studio.seen())
    devtools = context.new_cdp_session(studio.page)
    devtools.send("Page.setWebLifecycleState", {"state": "frozen"})
    studio.pause(3_000)
    devtools.send("Page.setWebLifecycleState", {"state": "active"})
    studio.page.evaluate("seen.splice(0)")
    studio.pause(1_000)
    last = studio.seen()[-1]
    assert last.shown_ms - last.timestamp_ms < journey_ms + 400


@pytest.mark.lasting
def test_speech_continues_in_a_background_tab(studio: Studio) -> None:
    # Headless browsers hide no tab; this is what a hidden one sees of the world.
    studio.page.evaluate(
        "Object.defineProperty(document, 'hidden', { get: () => true });"
        "globalThis.requestAnimationFrame = () => 0"
    )
    studio.unlock_sound()
    studio.watch()
    studio.speak(sung_ah(5_000))  # more than is sent ahead
    studio.page.wait_for_function("heard.length > 100")


def test_a_token_is_asked_for_and_sent(context: BrowserContext, address: str) -> None:
    tokens = []

    def relay(socket: WebSocketRoute) -> None:
        def receive(text: str | bytes) -> None:
            message = json.loads(text)
            if message["type"] == "INIT":
                tokens.append(message["data"].get("auth_token"))
            if tokens == [None]:
                data = {"code": "UNAUTHORIZED", "message": "Show who you are."}
                socket.send(json.dumps({"type": "ERROR", "session_id": None, "data": data}))
                socket.close(code=4401)
            else:
                server.send(text)

        server = socket.connect_to_server()
        socket.on_message(receive)

    context.route_web_socket("**/musetalk/**", relay)
    studio = Studio(context, address)
    notice = studio.page.locator("#notice")
    expect(notice).to_contain_text("Show who you are.")
    studio.page.get_by_label("Access token").fill("open sesame")
    studio.page.keyboard.press("Enter")
    studio.wait_until_live()
    assert tokens == [None, "open sesame"]


def test_a_full_server_is_tried_again(context: BrowserContext, address: str) -> None:
    attempts = []

    def relay(socket: WebSocketRoute) -> None:
        attempts.append(socket)
        if len(attempts) > 1:
            socket.connect_to_server()
            return
        data = {
            "code": "RATE_LIMIT_EXCEEDED",
            "message": "All seats are taken.",
            "details": {"retry_after_ms": 1_500},
        }
        socket.send(json.dumps({"type": "ERROR", "session_id": None, "data": data}))
        socket.close(code=4429)

    context.route_web_socket("**/musetalk/**", relay)
    studio = Studio(context, address)
    expect(studio.page.locator("#notice")).to_contain_text("All seats are taken")
    # What counts down is seen, and not read aloud every second.
    expect(studio.page.locator("#notice-next[aria-hidden=true]")).to_contain_text("Next try in")
    expect(studio.page.locator("#notice-text")).not_to_contain_text("Next try")
    studio.wait_until_live()
    assert len(attempts) == 2


def test_a_name_that_no_server_takes_is_explained(context: BrowserContext, address: str) -> None:
    attempts: list[WebSocketRoute] = []
    context.route_web_socket("**/musetalk/**", lambda socket: attempts.append(socket))
    studio = Studio(context, address, "?avatar=not%20a%20name")
    notice = studio.page.locator("#notice")
    expect(notice).to_contain_text("There is no avatar here")
    expect(notice).to_contain_text("1 to 64 letters")
    assert not attempts


@pytest.mark.lasting
def test_a_server_that_restarts_is_found_again(
    context: BrowserContext, serve: Serve, start: Start
) -> None:
    server = serve()
    studio = Studio(context, server.origin)
    studio.wait_until_live()
    notice = studio.page.locator("#notice")
    server.process.send(signal.SIGTERM)
    expect(notice).to_contain_text("restarting")
    expect(studio.page.locator("#status")).to_contain_text("Reconnecting")
    server.process.wait()
    start("manage.py", "serve", "--host", "127.0.0.1", "--port", str(server.port))
    expect(notice).to_be_hidden(timeout=3 * WAIT_MS)  # a start on a busy machine
    studio.wait_until_live()
    studio.unlock_sound()
    studio.watch()
    studio.speak(sung_ah(800))
    studio.page.wait_for_function("heard.length > 15")


def test_an_avatar_in_preparation_shows_its_progress(
    context: BrowserContext, server: Server, database_of: DatabaseOf
) -> None:
    # Playwright has a loop in this thread, in which models may not be used.
    with ThreadPoolExecutor() as thread:
        thread.submit(_begin_a_preparation, server, database_of).result()
    studio = Studio(context, server.origin, "?avatar=unfinished")
    notice = studio.page.locator("#notice")
    expect(notice).to_contain_text("being prepared")
    expect(notice).to_contain_text("42 %")
    studio.page.get_by_label("Avatar of user").fill("guest")
    studio.page.get_by_role("button", name="Connect", exact=True).click()
    studio.wait_until_live()


def _begin_a_preparation(server: Server, database_of: DatabaseOf) -> None:
    with database_of(server) as alias:
        Avatar.objects.using(alias).create(user_id="unfinished", status="preparing", percent=42)


def test_an_avatar_of_one_s_own_is_sent_and_what_is_wrong_with_it_is_said(
    context: BrowserContext, address: str
) -> None:
    studio = Studio(context, address)
    studio.wait_until_live()
    video = {"name": "me.mp4", "mimeType": "video/mp4", "buffer": b"no video at all"}
    hint = studio.page.locator("#own-hint")
    studio.page.set_input_files("#video", video)  # type: ignore[arg-type]
    expect(hint).to_contain_text("Write a name of your own")
    studio.page.get_by_label("Avatar of user").fill("damaged")
    studio.page.set_input_files("#video", video)  # type: ignore[arg-type]
    expect(studio.page.locator("#notice")).to_contain_text("could not be prepared", timeout=30_000)
    expect(hint).to_contain_text("cannot be decoded")


def test_what_is_sent_shows_who_sends_it_and_a_lost_server_is_a_sentence(
    context: BrowserContext, address: str
) -> None:
    context.add_init_script("sessionStorage.setItem('token', 'open sesame')")
    studio = Studio(context, address)
    studio.wait_until_live()
    shown: list[str | None] = []

    def refuse(route: Route) -> None:
        shown.append(route.request.headers.get("authorization"))
        route.abort()

    context.route("**/prepare_avatar/**", refuse)
    studio.page.get_by_label("Avatar of user").fill("another")
    studio.page.set_input_files(
        "#video",
        {"name": "me.mp4", "mimeType": "video/mp4", "buffer": b"no video at all"},
    )
    expect(studio.page.locator("#own-hint")).to_have_text("The server does not answer.")
    assert shown == ["Bearer open sesame"]


@pytest.mark.parametrize("path", ["/", "/protocol"])
def test_no_page_is_wider_than_its_window(context: BrowserContext, address: str, path: str) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(address + path)
    for width in (390, 820, 1440, 390):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_protocol_page_sends_its_examples(context: BrowserContext, address: str) -> None:
    page = context.new_page()
    page.goto(f"{address}/protocol")
    log = page.locator("#log")
    page.locator("#GENERATE .send").first.click()
    expect(log).to_contain_text("INIT_SUCCESS")
    expect(log.locator(".out").filter(has_text="GENERATE")).to_have_count(1)
    page.locator("#STATE_CHANGE .send").click()
    expect(log).to_contain_text("STATE_CHANGED")
    expect(log.locator(".problem")).to_have_count(0)
    # What the server really says has the form that the page tells.
    told = json.loads(page.locator("#STATE_CHANGED pre").inner_text())
    line = log.locator("li").filter(has_text="STATE_CHANGED").last.inner_text()
    assert json.loads(line).keys() == told.keys()
    assert json.loads(line)["data"].keys() == told["data"].keys()


def test_avatars_that_the_server_knows_are_offered(shared_studio: Studio) -> None:
    page = shared_studio.page
    known = [{"user_id": "ada", "status": "ready"}, {"user_id": "bob", "status": "preparing"}]
    page.evaluate("document.getElementById('avatars').dataset.source = '/known'")
    page.route("**/known", lambda route: route.fulfill(json=known))
    page.get_by_label("Avatar of user").focus()
    offered = page.locator("#avatars option")
    expect(offered).to_have_count(2)
    assert [one.get_attribute("value") for one in offered.all()] == ["ada", "bob"]
    assert offered.nth(1).text_content() == "bob (preparing)"


def test_everything_is_reached_by_keyboard(shared_studio: Studio) -> None:
    page = shared_studio.page
    wanted = page.evaluate(
        "[...document.querySelectorAll('button, input, select, textarea, a, summary')]"
        ".filter(e => e.checkVisibility() && !e.disabled).length"
    )
    page.locator("body").press("Tab")
    reached = set()
    for _ in range(wanted + 4):
        reached.add(
            page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)")
        )
        page.keyboard.press("Tab")
    assert len(reached) >= wanted


def test_the_report_can_be_copied(shared_studio: Studio) -> None:
    page = shared_studio.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy report").click()
    expect(page.locator("#copy")).to_have_text("Copied")
    report = page.evaluate("navigator.clipboard.readText()")
    assert "Chrome" in report
    assert "decoding by WebCodecs" in report
