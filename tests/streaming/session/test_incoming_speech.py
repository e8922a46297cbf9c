import time
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inference.assets.clip_index import ClipRequest
from inference.messages import AudioChunk, SpeechEnd, SpeechInterrupt
from streaming.session.incoming_speech import (
    MAX_IN_FLIGHT,
    MAX_PIECE,
    SpeechFeed,
    SpeechInput,
    SpeechWindow,
)
from tests.streaming.fakes import numbered

REQUESTS = [None, ClipRequest("speaking_1"), ClipRequest("idle_0", is_chosen=False)]


def test_speech_is_handed_on_as_it_came():
    window = SpeechWindow()
    window.accept(numbered(0, 1_024), None)
    assert window.take() == (0, numbered(0, 1_024), None)
    assert not window.has_next
    window.accept(numbered(1_024, 640), None)
    assert window.take() == (1_024, numbered(1_024, 640), None)


def test_at_most_two_seconds_are_in_flight():
    window = SpeechWindow()
    window.accept(numbered(0, 3 * 16_000), None)
    taken = []
    while window.has_next:
        taken.append(window.take())
    assert [(position, len(pcm) // 2) for position, pcm, _ in taken] == [
        (0, MAX_PIECE),
        (MAX_PIECE, MAX_PIECE),
    ]
    window.acknowledge(640)
    assert window.take() == (MAX_IN_FLIGHT, numbered(MAX_IN_FLIGHT, 640), None)
    assert not window.has_next


def test_a_piece_has_one_clip():
    window = SpeechWindow()
    window.accept(numbered(0, 100), ClipRequest("speaking_1"))
    window.accept(numbered(100, 100), ClipRequest("speaking_1"))
    window.accept(numbered(200, 50), None)
    window.accept(numbered(250, 50), ClipRequest("speaking_2"))
    assert [window.take() for _ in range(3)] == [
        (0, numbered(0, 200), ClipRequest("speaking_1")),
        (200, numbered(200, 50), None),
        (250, numbered(250, 50), ClipRequest("speaking_2")),
    ]


def test_single_samples_cost_no_more_when_many_are_kept():
    """Or a client could hold up the event loop by them, within its rate."""
    window = SpeechWindow(kept=80_000)

    def seconds_for(samples: int) -> float:
        began_s = time.process_time()
        for number in range(samples):
            window.accept(b"\1\0", REQUESTS[1 + number % 2], 0.0)
            window.end_utterance()
            while (piece := window.take()) is not None:
                window.arrived_s(piece[0])
            window.acknowledge(window.sent)
        return time.process_time() - began_s

    few_s = min(seconds_for(500) for _ in range(5))
    seconds_for(30_000)
    assert min(seconds_for(500) for _ in range(5)) < 5 * few_s


def test_what_was_shown_keeps_its_clip_for_what_follows():
    window = SpeechWindow()
    window.accept(numbered(0, 1_000), ClipRequest("speaking_1"))
    window.take()
    window.acknowledge(640)
    window.rewind()
    assert window.take() == (640, numbered(640, 360), ClipRequest("speaking_1"))


def test_a_padded_last_frame_acknowledges_no_more_than_was_sent():
    window = SpeechWindow()
    window.accept(numbered(0, 1_000), None)
    window.take()
    window.acknowledge(640)
    window.accept(numbered(1_000, 640), None)
    window.acknowledge(1_280)
    assert window.shown == 1_000
    assert window.take() == (1_000, numbered(1_000, 640), None)


def test_after_a_drop_the_numbering_continues():
    window = SpeechWindow()
    window.accept(numbered(0, 1_000), ClipRequest("speaking_1"))
    window.take()
    window.drop()
    assert (window.queued, window.has_next) == (0, False)
    window.accept(numbered(1_000, 10), None)
    assert window.take() == (1_000, numbered(1_000, 10), None)


class WindowMachine(RuleBasedStateMachine):
    """Whatever happens, a worker hears each sample in order and with its own number."""

    def __init__(self):
        super().__init__()
        self.window = SpeechWindow()
        self.heard = 0
        """The worker expects this sample next."""

    @rule(
        samples=st.integers(1, 16_000),
        clip=st.sampled_from(
            [None, ClipRequest("speaking_1"), ClipRequest("idle_0", is_chosen=False)]
        ),
    )
    def accept(self, samples, clip):
        self.window.accept(numbered(self.window.accepted, samples), clip)

    @rule()
    def end_utterance(self):
        self.window.end_utterance()

    @precondition(lambda self: self.window.has_next)
    @rule()
    def take(self):
        position, pcm, _ = self.window.take()
        assert position == self.heard
        assert pcm == numbered(position, len(pcm) // 2)
        self.heard += len(pcm) // 2

    @precondition(lambda self: self.window.has_next)
    @rule()
    def cannot_send(self):
        self.window.unread(self.window.take()[0])

    @rule(samples=st.integers(0, 3 * 640))
    def show(self, samples):
        self.window.acknowledge(self.window.shown + samples)

    @rule()
    def lose_worker(self):
        self.window.rewind()
        self.heard = self.window.shown

    @rule()
    def interrupt(self):
        self.window.drop()
        self.heard = self.window.accepted

    @invariant()
    def positions_are_in_order(self):
        window = self.window
        assert window.shown <= window.sent <= window.accepted
        assert window.sent - window.shown <= MAX_IN_FLIGHT
        assert window.queued == window.accepted - window.shown


TestWindowMachine = WindowMachine.TestCase


def fed(samples: int) -> tuple[SpeechWindow, SpeechFeed]:
    """A feed whose window was given that much speech."""
    window = SpeechWindow()
    window.accept(numbered(0, samples), None)
    return window, SpeechFeed(window)


def dropped_ms(answers) -> list[int]:
    return [answer.dropped_ms for answer in answers]


def test_speech_is_taken_under_its_positions_until_there_is_none():
    window, feed = fed(1_000)
    chunk = feed.take("c")
    assert chunk == AudioChunk(claim_id="c", pcm=numbered(0, 1_000), position=0, generation=0)
    assert not feed.has_next
    assert feed.take("c") is None
    window.accept(numbered(1_000, 500), ClipRequest("speaking_2"))
    assert feed.has_next
    chunk = feed.take("d")
    assert (chunk.claim_id, chunk.position, chunk.clip) == ("d", 1_000, "speaking_2")


def test_an_interrupt_overtakes_the_speech_that_it_drops():
    window, feed = fed(1_000)
    feed.interrupt()
    assert feed.has_next
    window.accept(numbered(1_000, 100), None)
    assert feed.take("c") == SpeechInterrupt(claim_id="c", generation=1)
    chunk = feed.take("c")
    assert (chunk.position, chunk.pcm, chunk.generation) == (1_000, numbered(1_000, 100), 1)
    assert feed.take("c") is None


def test_two_interrupts_are_said_as_one():
    _, feed = fed(1_000)
    feed.interrupt()
    feed.interrupt()
    assert feed.take("c") == SpeechInterrupt(claim_id="c", generation=2)
    assert feed.take("c") is None


def test_a_worker_that_begins_knows_the_generation():
    _, feed = fed(1_000)
    feed.interrupt()
    feed.begin()
    assert not feed.has_next
    assert feed.generation == 1


def test_a_chunk_that_could_not_be_sent_comes_again_unless_it_was_dropped():
    window, feed = fed(1_000)
    first: Any = feed.take("c")
    assert feed.unread(first)
    assert feed.take("c") == first
    feed.interrupt()
    feed.begin()
    assert not feed.unread(first)
    assert feed.take("c") is None
    assert window.shown == 1_000


def test_the_next_worker_is_sent_what_was_not_shown():
    window, feed = fed(2_000)
    feed.take("c")
    feed.shown(640)
    feed.rewind()
    chunk = feed.take("d")
    assert (chunk.position, chunk.pcm) == (640, numbered(640, 1_360))
    assert window.shown == 640


def test_an_interrupt_is_answered_when_it_is_confirmed():
    _, feed = fed(16_000)
    feed.take("c")
    feed.shown(640)
    feed.interrupt()
    feed.shown(1_280)  # by a frame that left before the worker received it
    assert feed.awaits_confirmation
    assert dropped_ms(feed.confirm(1, 1_920)) == [(16_000 - 1_920) // 16]
    assert not feed.awaits_confirmation
    assert feed.confirm(1, 1_920) == []


def test_without_a_confirmation_the_frames_that_came_tell():
    _, feed = fed(16_000)
    feed.interrupt()
    feed.interrupt()
    feed.shown(640)
    assert dropped_ms(feed.on_interrupt_timeout()) == [(16_000 - 640) // 16, 0]
    assert not feed.awaits_confirmation


def test_an_old_frames_padding_says_nothing_of_new_speech():
    window, feed = fed(1_000)
    feed.take("c")
    feed.interrupt()
    window.accept(numbered(1_000, 640), None)
    feed.shown(1_280)
    assert window.shown == 1_000


def test_a_padded_frame_shows_no_more_than_was_there():
    _, feed = fed(1_000)
    feed.take("c")
    feed.shown(640)
    feed.interrupt()
    feed.shown(1_280)
    assert dropped_ms(feed.confirm(1, 1_280)) == [0]


def test_each_of_two_interrupts_answers_for_its_own_speech():
    window, feed = fed(1_600)
    feed.interrupt()
    window.accept(numbered(1_600, 3_200), None)
    feed.interrupt()
    assert dropped_ms(feed.confirm(1, 0)) == [100]
    feed.shown(2_240)
    assert dropped_ms(feed.confirm(2, 2_240)) == [160]


def test_a_later_confirmation_answers_all_before_it():
    _, feed = fed(1_600)
    feed.interrupt()
    feed.interrupt()
    assert dropped_ms(feed.confirm(2, 0)) == [100, 0]


def test_the_end_of_an_utterance_follows_its_last_sample():
    window, feed = fed(1_000)
    window.end_utterance()
    window.accept(numbered(1_000, 500), None)
    assert feed.take("c").pcm == numbered(0, 1_000)
    assert feed.take("c") == SpeechEnd(claim_id="c", position=1_000, generation=0)
    assert feed.take("c").position == 1_000
    assert feed.take("c") is None


def test_an_end_that_comes_after_its_speech_was_sent_is_sent_alone():
    window, feed = fed(1_000)
    feed.take("c")
    window.end_utterance()
    assert feed.has_next
    end = feed.take("c")
    assert end == SpeechEnd(claim_id="c", position=1_000, generation=0)
    assert not feed.has_next
    assert feed.unread(end)
    assert feed.take("c") == end


def test_an_utterance_that_was_shown_whole_has_no_end_to_be_sent():
    window, feed = fed(640)
    feed.take("c")
    feed.shown(640)
    window.end_utterance()
    assert not feed.has_next


def test_the_next_worker_is_sent_the_ends_again():
    window, feed = fed(1_000)
    window.end_utterance()
    feed.take("c"), feed.take("c")
    feed.shown(640)
    feed.rewind()
    assert feed.take("d").position == 640
    assert feed.take("d") == SpeechEnd(claim_id="d", position=1_000, generation=0)


def test_speech_of_another_format_is_another_utterance():
    speech = SpeechInput()
    assert speech.has_format(24_000, 2)
    converted = speech.convert(bytes(4 * 2_400), 24_000, 2)
    assert speech.has_format(24_000, 2)
    assert not speech.has_format(24_000, 1)
    assert len(converted + speech.end()) == 2 * 1_600
    assert speech.has_format(48_000, 1)
    assert speech.convert(b"\1\0", 16_000, 1) == b"\1\0"
    assert speech.end() == b""
