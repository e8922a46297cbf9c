"""Random clients, workers and clocks around the session's rules: no step may raise.

A conversation is a session from INIT to its end. Its client sends valid and mutated messages, also
binary ones, reads too slowly, loses its connection; workers claim, send frames, refuse, fail and
answer late or twice; timers are due in between. After every step whatever the client was sent must
be a message of the protocol, and nothing may follow the close.
"""

import logging
import random
from functools import reduce
from operator import or_
from typing import Any

import msgspec

from inference.messages import (
    SessionClaimed,
    SessionEnded,
    SessionRefused,
    SpeechFailed,
    SpeechInterrupted,
    SpeechSkipped,
)
from streaming.protocol.server_messages import SERVER_MESSAGES
from streaming.session.limits import SessionLimits
from tests.chaos.batches import in_batches
from tests.chaos.parser_fuzz import Mutator
from tests.chaos.result import Result
from tests.streaming.fakes import SESSION_ID, USER, FakeGateway, claimed, frame, numbered

STEPS_OF_A_CONVERSATION = 200
BATCH = 20_000
_MAX_KEPT = 10
_RULES = (
    SessionLimits(),
    SessionLimits(max_queued_speech_s=1, idle_s=20, max_session_s=40, resume_s=5, max_watchers=1),
)
_FAULT = "INTERNAL_ERROR"
_BY_WORKERS = "times within a minute"
"""INTERNAL_ERROR says so where workers failed repeatedly, which is no fault of the session."""


class Conversation:
    """One session and everything around it."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._mutator = Mutator(seed)
        self.gateway = FakeGateway(
            self._random.choice(_RULES), is_resumable=self._random.random() < 0.5
        )
        self._checked = 0
        self._frame = 0

    def step(self) -> None:
        """One thing happens."""
        steps = (
            (self._send_valid, 10),
            (self._send_mutated, 5),
            (self._send_binary, 1),
            (self._speak, 8),
            (self._claim, 4),
            (self._show, 10),
            (self._trouble, 2),
            (self._wait, 4),
            (self._read_slowly, 1),
        )
        chosen = self._random.choices([s for s, _ in steps], [weight for _, weight in steps])
        chosen[0]()
        self._check()

    @property
    def is_over(self) -> bool:
        """The server closed the connection."""
        return self.gateway.closed is not None

    def end(self) -> None:
        """The connection is lost, or the server ends."""
        if self._random.random() < 0.5:
            self.gateway.do(self.gateway.session.shut_down())
            self._check()
        self.gateway.session.disconnected()

    def _send_valid(self) -> None:
        roll = self._random
        name, fields = roll.choice(
            (
                ("INIT", {"user_id": USER, "protocol_version": roll.choice(("1.1", "1.2"))}),
                ("INIT", {"user_id": USER, "receive": ["video", "audio"], "late_audio": "drop"}),
                ("STATE_CHANGE", {"target_state": roll.choice(("idle", "speaking"))}),
                ("ACTION", {"action_index": roll.choice((1, 2))}),
                ("INTERRUPT", {}),
                ("END_OF_SPEECH", {}),
                ("USER_SPEAKING", {"active": roll.random() < 0.5}),
                ("PONG", {}),
                ("CLOSE", {}) if roll.random() < 0.05 else ("PONG", {}),
            )
        )
        session_id = SESSION_ID if roll.random() < 0.9 else None
        self.gateway.client_sends(str(name), session_id, **fields)

    def _send_mutated(self) -> None:
        text = self._mutator.text().replace("3f2b8c1e-5d4a-4e6f-9a7b-0c1d2e3f4a5b", SESSION_ID)
        gateway = self.gateway
        gateway.do(gateway.session.text(text.replace('"guest"', f'"{USER}"'), gateway.now_s))

    def _send_binary(self) -> None:
        gateway = self.gateway
        gateway.do(gateway.session.binary(self._mutator.bytes(), gateway.now_s))

    def _speak(self) -> None:
        fields = {"utterance_id": self._random.choice("abc")} if self._random.random() < 0.3 else {}
        samples = self._random.choice((1, 320, 640, 16_000))
        self.gateway.client_speaks(numbered(0, samples), **fields)

    def _claim(self) -> None:
        """A worker answers a claim, the newest or an older one."""
        if not self.gateway.claims:
            return
        newest = self._random.random() < 0.7
        claim = self.gateway.claims[-1] if newest else self._random.choice(self.gateway.claims)
        if self._random.random() < 0.8:
            self.gateway.worker_sends(claimed(claim, self._random.choice(("w1", "w2"))))
        else:
            reason = self._random.choice(("avatar", "capacity"))
            self.gateway.worker_sends(
                SessionRefused(claim_id=claim.claim_id, reason=reason, message="full")  # type: ignore[arg-type]
            )

    @property
    def _claim_id(self) -> str:
        """Mostly of the worker that has the session."""
        worker: SessionClaimed | None = getattr(self.gateway.session.link, "worker", None)
        if worker is not None and self._random.random() < 0.95:
            return worker.claim_id
        return self.gateway.claims[0].claim_id if self.gateway.claims else "none"

    def _show(self) -> None:
        self._frame = max(0, self._frame + self._random.choice((1, 1, 1, 1, 2, 30, -3)))
        fields: dict[str, Any] = {}
        speech = self.gateway.session.speech
        if speech is not None and speech.window.queued and self._random.random() < 0.7:
            samples = min(640, speech.window.queued)
            fields = {"position": speech.window.shown, "samples": samples, "state": "speaking"}
        shown = frame(self._claim_id, self._frame, **fields)
        self.gateway.worker_sends(shown)
        if self._random.random() < 0.1:
            self.gateway.worker_sends(shown)  # delivered twice
        self.gateway.wait(0.04)

    def _trouble(self) -> None:
        claim_id, speech = self._claim_id, self.gateway.session.speech
        position = 0 if speech is None else speech.window.shown
        generation = 0 if speech is None else speech.feed.generation
        self.gateway.worker_sends(
            self._random.choice(
                (
                    SpeechFailed(claim_id=claim_id, reason="engine_late"),
                    SessionEnded(claim_id=claim_id, reason="drain"),
                    SessionEnded(claim_id=claim_id, reason="error"),
                    SpeechSkipped(claim_id=claim_id, position=position, samples=0),
                    SpeechInterrupted(
                        claim_id=claim_id,
                        generation=max(0, generation - self._random.choice((0, 0, 1))),
                        position=position,
                    ),
                )
            )
        )

    def _wait(self) -> None:
        self.gateway.wait(self._random.choice((0.04, 0.5, 1.1, 3, 12)))

    def _read_slowly(self) -> None:
        self.gateway.session.set_paused(self._random.random() < 0.5)
        channels = self.gateway.full_channels
        channels.clear() if channels else channels.add("w1")

    def _check(self) -> None:
        """What the client was sent since the last step."""
        for text in self.gateway.texts[self._checked :]:
            message = _decoder.decode(text)
            error = getattr(message.data, "code", None)
            assert error != _FAULT or _BY_WORKERS in text, text
        self._checked = len(self.gateway.texts)


_decoder = msgspec.json.Decoder(reduce(or_, SERVER_MESSAGES))


def fuzz(seed: int, steps: int) -> tuple[int, list[str]]:
    """How many conversations there were, and the escapes, of one batch."""
    logging.disable()
    count, escapes = 0, list[str]()
    while steps > 0:
        of_this_one = f"{seed}/{count}"
        conversation = Conversation(hash((seed, count)))
        count += 1
        done = 0
        try:
            while done < min(STEPS_OF_A_CONVERSATION, steps) and not conversation.is_over:
                done += 1
                conversation.step()
            conversation.end()
        except Exception as error:  # noqa: BLE001 - whatever comes out is what is looked for
            if len(escapes) < _MAX_KEPT:
                escapes.append(f"conversation {of_this_one}, step {done}: {error!r}")
        steps -= max(done, 1)
    logging.disable(logging.NOTSET)
    return count, escapes


def run(steps: int, *, processes: int = 1, first_seed: int = 0) -> Result:
    """Take ``steps`` steps in all."""
    batches = [min(BATCH, steps - start) for start in range(0, steps, BATCH)]
    conversations, escapes = in_batches(fuzz, batches, processes=processes, first_seed=first_seed)
    return Result(
        "session: random clients, workers and clocks",
        "no exception, only messages",
        f"{steps:,} steps, {conversations:,} sessions, {len(escapes)} escapes",
        escapes,
    )
