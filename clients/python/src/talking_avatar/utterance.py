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

    Raises, when awaited, SpeechRefused if the server did not take it and ConnectionLost if the
    session was lost.
    """

    def __init__(self, utterance_id: str) -> None:
        self.id = utterance_id
        self.started = asyncio.Event()
        """Set when its first frame is about to be shown."""
        self._result: asyncio.Future[Played] = asyncio.get_running_loop().create_future()
        self._result.add_done_callback(_notice)

    @property
    def is_over(self) -> bool:
        """Whether it was shown to its end, interrupted, refused or lost."""
        return self._result.done()

    def finish(self, event: SpeechFinished) -> None:
        """The server said that it is over."""
        if not self._result.done():
            self.started.set()
            self._result.set_result(Played(event.played_ms, event.interrupted))

    def fail(self, error: Exception) -> None:
        """It is lost."""
        if not self._result.done():
            self.started.set()
            self._result.set_exception(error)

    def __await__(self) -> Generator[Any, None, Played]:
        return asyncio.shield(self._result).__await__()


def _notice(result: "asyncio.Future[Played]") -> None:
    """An utterance that nobody awaits is no unhandled error."""
    if not result.cancelled():
        result.exception()
