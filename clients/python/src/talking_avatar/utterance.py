"""Speech that can be awaited."""

import asyncio
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from talking_avatar.events import SpeechFinished


@dataclass(frozen=True, slots=True)
class Played:
    """How an utterance ended."""

    played_ms: int
    """How much of it was shown."""
    interrupted: bool


class Utterance:
    """One utterance: ``await`` it to know when it was shown to its end, or interrupted.

    For the server an utterance is over when all of it was shown and nothing comes for a moment. A
    synthesizer that pauses for longer thus makes several of one; here they are its parts.

    Raises, when awaited, SpeechRefused if the server did not take it and ConnectionLost if the
    session was lost.
    """

    def __init__(self, utterance_id: str) -> None:
        self.id = utterance_id
        self.started = asyncio.Event()
        """Set when its first frame is about to be shown."""
        self._result: asyncio.Future[Played] = asyncio.get_running_loop().create_future()
        self._result.add_done_callback(take_note)
        self._parts = 0
        self._is_part_open = False
        """The server was sent a part, and has not said that it is over."""
        self._is_sent = False
        self._played_ms = 0

    @property
    def is_over(self) -> bool:
        """Whether it was shown to its end, interrupted, refused or lost."""
        return self._result.done()

    def next_part(self) -> str:
        """Begin a part; its id on the wire."""
        self._parts += 1
        self._is_part_open = True
        return self.id if self._parts == 1 else f"{self.id}.{self._parts}"

    def part_over(self, event: SpeechFinished) -> SpeechFinished | None:
        """End a part, as the server said; the end of the utterance, if that was it."""
        self._played_ms += event.played_ms
        self._is_part_open = False
        if event.interrupted or self._is_sent:
            return self._settle(interrupted=event.interrupted)
        return None

    def sent(self) -> SpeechFinished | None:
        """All of it was sent; the end of the utterance, if all of it was shown before."""
        self._is_sent = True
        return None if self._is_part_open else self._settle(interrupted=False)

    def interrupted(self) -> SpeechFinished | None:
        """All speech was dropped; the end of the utterance, if its parts do not say so."""
        return None if self._is_part_open else self._settle(interrupted=True)

    def _settle(self, *, interrupted: bool) -> SpeechFinished | None:
        if self._result.done():
            return None
        self.started.set()
        self._result.set_result(Played(self._played_ms, interrupted))
        return SpeechFinished(self.id, self._played_ms, interrupted)

    def fail(self, error: Exception) -> None:
        """Resolve it as lost."""
        if not self._result.done():
            self.started.set()
            self._result.set_exception(error)

    def __await__(self) -> Generator[Any, None, Played]:
        return asyncio.shield(self._result).__await__()


def take_note(result: "asyncio.Future[Any]") -> None:
    """Take note of an outcome: one that nobody awaits any more is no unhandled error."""
    if not result.cancelled():
        result.exception()
