from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streaming.session.window import MAX_IN_FLIGHT, MAX_PIECE, Window
from tests.streaming.fakes import numbered


def test_speech_is_handed_on_as_it_came():
    window = Window()
    window.accept(numbered(0, 1_024), None)
    assert window.take() == (0, numbered(0, 1_024), None)
    assert not window.has_next
    window.accept(numbered(1_024, 640), None)
    assert window.take() == (1_024, numbered(1_024, 640), None)


def test_at_most_two_seconds_are_in_flight():
    window = Window()
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
    window = Window()
    window.accept(numbered(0, 100), "speaking_1")
    window.accept(numbered(100, 100), "speaking_1")
    window.accept(numbered(200, 50), None)
    window.accept(numbered(250, 50), "speaking_2")
    assert [window.take() for _ in range(3)] == [
        (0, numbered(0, 200), "speaking_1"),
        (200, numbered(200, 50), None),
        (250, numbered(250, 50), "speaking_2"),
    ]


def test_what_was_shown_keeps_its_clip_for_what_follows():
    window = Window()
    window.accept(numbered(0, 1_000), "speaking_1")
    window.take()
    window.acknowledge(640)
    window.rewind()
    assert window.take() == (640, numbered(640, 360), "speaking_1")


def test_a_padded_last_frame_acknowledges_no_more_than_was_sent():
    window = Window()
    window.accept(numbered(0, 1_000), None)
    window.take()
    window.acknowledge(640)
    window.accept(numbered(1_000, 640), None)
    window.acknowledge(1_280)
    assert window.shown == 1_000
    assert window.take() == (1_000, numbered(1_000, 640), None)


def test_after_a_drop_the_numbering_goes_on():
    window = Window()
    window.accept(numbered(0, 1_000), "speaking_1")
    window.take()
    window.drop()
    assert (window.queued, window.has_next) == (0, False)
    window.accept(numbered(1_000, 10), None)
    assert window.take() == (1_000, numbered(1_000, 10), None)


class WindowMachine(RuleBasedStateMachine):
    """Whatever happens, a worker hears each sample in order and with its own number."""

    def __init__(self):
        super().__init__()
        self.window = Window()
        self.heard = 0
        """The worker expects this sample next."""

    @rule(samples=st.integers(1, 16_000), clip=st.sampled_from([None, "speaking_1", "idle_0"]))
    def accept(self, samples, clip):
        self.window.accept(numbered(self.window.accepted, samples), clip)

    @precondition(lambda self: self.window.has_next)
    @rule()
    def take(self):
        position, pcm, _ = self.window.take()
        assert position == self.heard
        assert pcm == numbered(position, len(pcm) // 2)
        assert pcm
        self.heard += len(pcm) // 2

    @precondition(lambda self: self.window.has_next)
    @rule()
    def cannot_send(self):
        position, _, _ = self.window.take()
        self.window.unread(position)

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
