"""Whatever workers and a client do, in any order: the session keeps its rules."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inference.messages import (
    AudioChunk,
    SessionEnded,
    SpeechInterrupt,
    SpeechInterrupted,
)
from tests.streaming.fakes import FakeGateway, frame, numbered


class LinkMachine(RuleBasedStateMachine):
    """Workers come, show, stall and die at any moment. Each sample that is not interrupted is
    shown once, under its own number, and each interrupt is answered once."""

    def __init__(self):
        super().__init__()
        self.gateway = FakeGateway()
        self.gateway.init()
        self.workers = 0
        self.worker = None
        self.heard = bytearray()
        """What the worker has and has not shown."""
        self.heard_from = 0
        self.read = 0
        """Messages of its channel that the worker has read."""
        self.generation = 0
        self.accepted = 0
        self.shown: list[int] = []
        """Every sample on the screen, in order."""
        self.dropped: list[tuple[int, int]] = []
        self.interrupts = 0

    def _read(self):
        """The worker reads its channel."""
        channel = self.worker.channel
        messages = self.gateway.sent_to_worker(channel)
        for message in messages[self.read :]:
            if isinstance(message, AudioChunk) and message.generation >= self.generation:
                if not self.heard:
                    self.heard_from = message.position
                assert message.position == self.heard_from + len(self.heard) // 2
                self.heard += message.pcm
            elif isinstance(message, SpeechInterrupt):
                self.generation = message.generation
                self.heard.clear()
                position = self.shown[-1] + 1 if self.shown else 0
                self.gateway.worker_sends(
                    SpeechInterrupted(
                        claim_id=message.claim_id,
                        generation=message.generation,
                        position=position,
                    )
                )
        self.read = len(messages)

    @rule(samples=st.integers(1, 4_000))
    def speak(self, samples):
        self.gateway.client_speaks(numbered(self.accepted, samples))
        self.accepted += samples

    @rule()
    def interrupt(self):
        self.gateway.client_sends("INTERRUPT")
        self.interrupts += 1
        self.dropped.append((self.shown[-1] + 1 if self.shown else 0, self.accepted))

    @precondition(lambda self: self.worker is None)
    @rule()
    def a_worker_comes(self):
        self.workers += 1
        while self.gateway.session.link.worker is None:
            self.worker = self.gateway.worker_claims(f"w{self.workers}")
        self.heard.clear()
        self.read = 0
        self.generation = self.worker.accepted.generation
        self.heard_from = self.worker.accepted.next_position

    @precondition(lambda self: self.worker is not None)
    @rule(frames=st.integers(1, 8))
    def show(self, frames):
        for _ in range(frames):
            self._read()
            if len(self.heard) < 1_280:
                self.worker.show()
                continue
            pcm, position = bytes(self.heard[:1_280]), self.heard_from
            assert pcm == numbered(position, 640)
            del self.heard[:1_280]
            self.heard_from += 640
            self.shown += range(position, position + 640)
            self.worker.speak(position)

    @precondition(lambda self: self.worker is not None)
    @rule(why=st.sampled_from(["silence", "drain"]))
    def the_worker_goes(self, why):
        if why == "silence":
            self.gateway.wait(1.5)
        else:
            claim_id = self.worker.claim.claim_id
            self.gateway.worker_sends(SessionEnded(claim_id=claim_id, reason="drain"))
        self.worker = None

    @rule()
    def an_old_worker_continues(self):
        if len(self.gateway.claims) > 1:
            old = self.gateway.claims[-2].claim_id
            if self.worker is None or old != self.worker.claim.claim_id:
                self.gateway.worker_sends(frame(old, 10_000, is_idr=True, position=self.accepted))

    @rule(seconds=st.sampled_from([0.1, 0.5]))
    def time_passes(self, seconds):
        if self.worker is None:
            self.gateway.wait(seconds)

    @invariant()
    def what_is_on_the_screen_is_in_order_and_whole(self):
        assert self.shown == sorted(set(self.shown))
        gone = {n for start, end in self.dropped for n in range(start, end)}
        missing = set(range(self.shown[-1] if self.shown else 0)) - set(self.shown)
        assert missing <= gone

    @invariant()
    def time_never_turns_back(self):
        numbers = self.gateway.frame_numbers
        assert numbers == sorted(set(numbers))
        assert 10_000 not in numbers

    def teardown(self):
        """In the end all is shown but what was interrupted, and all interrupts are answered."""
        if self.worker is None:
            self.a_worker_comes()
        left = self.accepted - (self.shown[-1] + 1 if self.shown else 0)
        self.show(left // 640 + 2)
        assert len(self.gateway.of_type("INTERRUPTED")) == self.interrupts
        gone = {n for start, end in self.dropped for n in range(start, end)}
        unshown = set(range(self.accepted)) - set(self.shown) - gone
        assert len(unshown) < 640
        assert all(n >= self.accepted - 640 for n in unshown)


TestLinkMachine = LinkMachine.TestCase


TestLinkMachine.settings = settings(max_examples=40, stateful_step_count=30)
