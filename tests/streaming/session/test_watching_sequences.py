"""Watchers of a session, whatever happens: all that they receive can be decoded."""

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from inference.messages import SpeechInterrupted
from tests.streaming.fake_watcher import FakeWatcher, open_watched
from tests.streaming.fakes import (
    FakeGateway,
    numbered,
)

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("show"), st.integers(1, 30)),
        st.tuples(st.just("speak"), st.integers(1, 4_000)),
        st.tuples(st.just("interrupt"), st.just(0)),
        st.tuples(st.just("join"), st.booleans()),
        st.tuples(st.just("pause"), st.integers(0, 5)),
        st.tuples(st.just("continue"), st.integers(0, 5)),
        st.tuples(st.just("read"), st.integers(0, 5)),
        st.tuples(st.just("leave"), st.integers(0, 5)),
        st.tuples(st.just("owner pauses"), st.booleans()),
    ),
    max_size=40,
)


@hypothesis_settings(max_examples=200)
@given(STEPS)
def test_watchers_decode_and_the_owner_is_as_without_them(steps):
    watched, alone = (
        open_watched(),
        (gateway := FakeGateway(), gateway.init(protocol_version="1.2")),
    )
    sides = [watched, (alone[0], alone[0].worker_claims())]
    watchers: list[FakeWatcher] = []
    for kind, value in steps:
        for gateway, worker in sides:
            _step(gateway, worker, kind, value)
        watcher = watchers[value % len(watchers)] if watchers and type(value) is int else None
        match kind:
            case "join":
                watchers.append(FakeWatcher(watched[0].session.audience, is_binary=value))
            case "pause" | "continue" if watcher:
                watcher.watcher.set_paused(kind == "pause")
            case "read" if watcher:
                watcher.read()
            case "leave" if watcher:
                watcher.send("CLOSE")
    for gateway, _ in sides:
        gateway.client_sends("CLOSE")
    without = [m for m in sides[1][0].sent_to_client if m["type"] != "INIT_SUCCESS"]
    assert [m for m in watched[0].sent_to_client if m["type"] != "INIT_SUCCESS"] == without
    finished = [m for m in without if m["type"] == "SPEECH_FINISHED"]
    for watcher in watchers:
        watcher.read()
        assert watcher.closed == 1000
        _assert_decodable(watcher)
        own = [m for m in watcher.received if m["type"] == "SPEECH_FINISHED"]
        assert own == [m for m in finished if m in own], "in order, none made up, none twice"


def _step(gateway, worker, kind, value):
    match kind:
        case "show":
            for _ in range(value):
                queued = gateway.session.speech.window
                if (
                    queued.sent > queued.shown
                    and not gateway.session.speech.feed.awaits_confirmation
                ):
                    shown = min(640, queued.sent - queued.shown)
                    worker.speak(queued.shown, samples=shown)
                else:
                    worker.show()
        case "speak":
            gateway.client_speaks(numbered(0, value))
        case "interrupt":
            position = gateway.session.speech.window.shown
            gateway.client_sends("INTERRUPT")
            generation = gateway.session.speech.feed.generation
            gateway.worker_sends(
                SpeechInterrupted(
                    claim_id=worker.claim.claim_id, generation=generation, position=position
                )
            )
        case "owner pauses":
            gateway.session.set_paused(value)


def _assert_decodable(watcher):
    """Each frame is an IDR, or follows the one before it."""
    if watcher.watcher.form.is_binary:
        frames = [
            (int.from_bytes(packed[8:16], "big") // 40, bool(packed[3] & 1))
            for packed in watcher.packed
        ]
    else:
        frames = [
            (m["data"]["frame_timestamp"] // 40, m["data"]["keyframe"])
            for m in watcher.received
            if m["type"] == "VIDEO_FRAME"
        ]
    before = None
    for number, is_idr in frames:
        assert is_idr or number - 1 == before
        assert before is None or number > before
        before = number
