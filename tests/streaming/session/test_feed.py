from inference.messages import AudioChunk, SpeechInterrupt
from streaming.session.feed import SpeechFeed
from streaming.session.window import Window
from tests.streaming.fakes import numbered


def fed(samples: int) -> tuple[Window, SpeechFeed]:
    """A feed whose window was given that much speech."""
    window = Window()
    window.accept(numbered(0, samples), None)
    return window, SpeechFeed(window)


def test_speech_is_taken_under_its_positions_until_there_is_none():
    window, feed = fed(1_000)
    chunk = feed.take("c")
    assert chunk == AudioChunk(claim_id="c", pcm=numbered(0, 1_000), position=0, generation=0)
    assert not feed.has_next
    assert feed.take("c") is None
    window.accept(numbered(1_000, 500), "speaking_2")
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
    first = feed.take("c")
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
    feed.shown(1_280)  # by a frame that left before the worker heard of it
    assert feed.awaits_confirmation
    assert feed.confirm(1, 1_920) == [(16_000 - 1_920) // 16]
    assert not feed.awaits_confirmation
    assert feed.confirm(1, 1_920) == []


def test_without_a_confirmation_the_frames_that_came_tell():
    _, feed = fed(16_000)
    feed.interrupt()
    feed.interrupt()
    feed.shown(640)
    assert feed.on_interrupt_timeout() == [(16_000 - 640) // 16, 0]
    assert not feed.awaits_confirmation


def test_an_old_frames_padding_says_nothing_of_new_speech():
    window, feed = fed(1_000)
    feed.take("c")
    feed.interrupt()
    window.accept(numbered(1_000, 640), None)
    feed.shown(1_280)
    assert window.shown == 1_000
