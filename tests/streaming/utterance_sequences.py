"""Random conversations around one session, and what must hold of every utterance in them.

Chunks, ends, interrupts, speech that a worker skips, workers that are lost and clients that read
too slowly come in any order. Of each utterance of which audio was accepted SPEECH_FINISHED must
come exactly once, in order, with ``played_ms`` as the frames that came add up.

``python -m tests.streaming.utterance_sequences [COUNT] [SECONDS]`` runs COUNT of them, for at most
so many seconds; a failure names its seed.
"""

import logging
import random
import sys
import time
from dataclasses import dataclass
from itertools import pairwise

from inference.messages import (
    AudioChunk,
    SessionAccepted,
    SpeechEnd,
    SpeechInterrupt,
    SpeechInterrupted,
    SpeechSkipped,
)
from tests.streaming.fakes import FakeGateway, frame, numbered

FRAME_SAMPLES = 640
END_OF_SPEECH_FRAMES = 6


@dataclass
class Expected:
    """An utterance as the client knows it."""

    id: str
    start: int
    end: int
    is_over: bool = False
    """The client ended it, or began another one."""


class SimulatedWorker:
    """Shows what it is sent, frame after frame."""

    def __init__(self, gateway: FakeGateway, channel: str) -> None:
        self._gateway = gateway
        self._channel = channel
        self._claim_id = gateway.claims[-1].claim_id
        gateway.worker_claims(channel)
        self._read = 0
        self._position = self._end = 0
        self._ends: list[int] = []
        self._silent_frames = 0
        self._is_first = True
        self._interrupt: int | None = None
        self._frame = gateway.accepted(channel).next_frame
        self.shown: list[tuple[int, int]] = []
        """Samples of each frame with speech: first, one after the last."""
        self.skipped: list[tuple[int, int]] = []

    def _receive(self) -> None:
        messages = self._gateway.sent_to_worker(self._channel)
        for message in messages[self._read :]:
            match message:
                case SessionAccepted():
                    self._position = self._end = message.next_position
                case AudioChunk() if self._interrupt is None or self._is_new(message.generation):
                    if self._position == self._end:
                        self._position = message.position
                    assert message.position in (self._end, self._position), "no gap but interrupts"
                    self._end = message.position + len(message.pcm) // 2
                    self._silent_frames = 0
                case SpeechEnd():
                    self._ends.append(message.position)
                case SpeechInterrupt():
                    self._interrupt = message.generation
                    break
        else:
            self._read = len(messages)
            return
        self._read = messages.index(message, self._read) + 1

    def _is_new(self, generation: int) -> bool:
        return self._interrupt is not None and generation >= self._interrupt

    def show(self) -> None:
        """One frame, and 40 ms."""
        self._receive()
        number, self._frame = self._frame, self._frame + 1
        samples = self._next_samples()
        speech: dict[str, object] = {}
        if samples:
            speech = {"position": self._position, "samples": samples, "state": "speaking"}
            self.shown.append((self._position, self._position + samples))
            self._position += samples
        is_idr = self._is_first or number % 25 == 0
        self._is_first = False
        self._gateway.worker_sends(frame(self._claim_id, number, is_idr=is_idr, **speech))
        self._gateway.wait(0.04)

    def _next_samples(self) -> int:
        self._silent_frames += 1
        limit = next((end for end in self._ends if end > self._position), None)
        available = min(self._end, limit or self._end) - self._position
        if available >= FRAME_SAMPLES:
            return FRAME_SAMPLES
        if limit is not None and limit <= self._end:
            return available
        return available if self._silent_frames > END_OF_SPEECH_FRAMES else 0

    def confirm(self) -> None:
        """Answer the interrupt that was read last."""
        while True:
            self._receive()
            if self._interrupt is None:
                return
            generation, self._interrupt = self._interrupt, None
            self._end = self._position
            self._ends.clear()
            self._gateway.worker_sends(
                SpeechInterrupted(
                    claim_id=self._claim_id, generation=generation, position=self._position
                )
            )

    def skip(self, samples: int) -> None:
        """Drop late speech."""
        self._receive()
        samples = min(samples, self._end - self._position)
        if samples > 0 and self._interrupt is None:
            self.skipped.append((self._position, self._position + samples))
            self._position += samples
            self._gateway.worker_sends(
                SpeechSkipped(claim_id=self._claim_id, position=self._position, samples=samples)
            )


class Sequence:
    """One conversation."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.gateway = FakeGateway()
        self.gateway.init(protocol_version="1.2")
        self._workers = [SimulatedWorker(self.gateway, "w0")]
        self._expected: list[Expected] = []

    @property
    def _worker(self) -> SimulatedWorker:
        return self._workers[-1]

    def run(self, steps: int) -> None:
        kinds = {
            self._chunk: 10,
            self._frames: 8,
            self._end: 2,
            self._interrupt: 2,
            self._skip: 1,
            self._lose_worker: 0.3,
            self._pause: 0.5,
            self._be_silent: 1,
        }
        for _ in range(steps):
            self._random.choices(list(kinds), list(kinds.values()))[0]()
        if self._random.random() < 0.5:
            self._finish()
        self.gateway.client_sends("CLOSE")
        self.check()

    def _is_finished(self, utterance: Expected) -> bool:
        return any(
            message["data"]["utterance_id"] == utterance.id
            for message in self.gateway.of_type("SPEECH_FINISHED")
        )

    def _chunk(self) -> None:
        newest = self._expected[-1] if self._expected else None
        is_open = newest is not None and not newest.is_over and not self._is_finished(newest)
        kind = self._random.choice(["same", "same", "same", "new", "none", "old"])
        given: str | None = f"u{len(self._expected)}"
        if kind == "same" and newest is not None:
            given = None if newest.id.startswith("#") else newest.id
        elif kind == "none":
            given = None
        elif kind == "old" and self._expected:
            given = self._random.choice(self._expected).id
            given = None if given.startswith("#") else given
        accepted = self.gateway.session.speech.window.accepted
        samples = self._random.choice([1, 7, 320, 640, 1_024, 3_000])
        fields = {} if given is None else {"utterance_id": given}
        self.gateway.client_speaks(numbered(accepted, samples), **fields)
        grown = self.gateway.session.speech.window.accepted - accepted
        names_over = given is not None and any(
            u.id == given and (u is not newest or not is_open) for u in self._expected
        )
        assert grown == (0 if names_over else samples), "an id is used once"
        if not grown:
            return
        continues = is_open and newest is not None
        continues = continues and (newest.id == given or (given is None and newest.id[0] == "#"))
        if continues and newest is not None:
            newest.end += grown
            return
        if newest is not None:
            newest.is_over = True
        name = given or f"#{len(self._expected) + 1}"
        self._expected.append(Expected(name, accepted, accepted + grown))

    def _frames(self) -> None:
        for _ in range(self._random.randint(1, 6)):
            self._worker.show()

    def _end(self) -> None:
        self.gateway.client_sends("END_OF_SPEECH")
        if self._expected:
            self._expected[-1].is_over = True

    def _interrupt(self) -> None:
        self.gateway.client_sends("INTERRUPT")
        if self._expected:
            self._expected[-1].is_over = True
        for _ in range(self._random.randint(0, 2)):
            self._worker.show()  # on their way already
        self._worker.confirm()

    def _skip(self) -> None:
        self._worker.skip(self._random.choice([100, 640, 2_000]))

    def _lose_worker(self) -> None:
        self.gateway.wait(1.5)
        self._workers.append(SimulatedWorker(self.gateway, f"w{len(self._workers)}"))

    def _pause(self) -> None:
        self.gateway.session.set_paused(self._random.random() < 0.5)

    def _be_silent(self) -> None:
        for _ in range(self._random.randint(1, 12)):
            self._worker.show()

    def _finish(self) -> None:
        """Show everything, and wait until the last utterance has timed out."""
        self.gateway.session.set_paused(False)
        for _ in range(1_000):
            if not self.gateway.session.speech.window.queued:
                break
            self._worker.show()
        for _ in range(END_OF_SPEECH_FRAMES + 2):
            self._worker.show()

    def check(self) -> None:
        """Each utterance was finished once, in order, having played what frames showed of it."""
        finished = [m["data"] for m in self.gateway.of_type("SPEECH_FINISHED")]
        assert [f["utterance_id"] for f in finished] == [u.id for u in self._expected]
        started = [m["data"]["utterance_id"] for m in self.gateway.of_type("SPEECH_STARTED")]
        shown = [piece for worker in self._workers for piece in worker.shown]
        assert all(a[1] <= b[0] for a, b in pairwise(shown)), "once each"
        played = [
            sum(max(0, min(end, u.end) - max(first, u.start)) for first, end in shown)
            for u in self._expected
        ]
        assert [f["played_ms"] for f in finished] == [samples // 16 for samples in played]
        passed = shown + [piece for worker in self._workers for piece in worker.skipped]
        assert [f["interrupted"] for f in finished] == [
            not any(first < u.end <= end for first, end in passed) for u in self._expected
        ], "interrupted unless its last sample was passed"
        assert started == [
            u.id for u, samples in zip(self._expected, played, strict=True) if samples
        ]
        assert self.gateway.sent_to_client[-1]["type"] == "CLOSE_ACK"


def run(count: int, *, first_seed: int = 0, within_s: float = float("inf")) -> int:
    """Run sequences; how many were run in the time."""
    end_s = time.monotonic() + within_s
    for number in range(count):
        if time.monotonic() > end_s:
            return number
        seed = first_seed + number
        try:
            Sequence(seed).run(steps=30)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    return count


if __name__ == "__main__":
    logging.disable()
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    limit_s = float(sys.argv[2]) if len(sys.argv) > 2 else 600.0
    began_s = time.monotonic()
    done = run(wanted, within_s=limit_s)
    print(f"{done} sequences of {wanted} in {time.monotonic() - began_s:.0f} s: all hold")
