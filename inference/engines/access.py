"""An engine as the sessions of a process see it: mouths are requested, and answered later.

Where the engine runs is hidden here: in pool threads of this process (`in_process`), or in a
process of its own that serves many (`process`). Both batch across sessions, most urgent first.

A request carries the sound that its mouth is made from, also when the mouth only holds or eases: so
no engine keeps anything of a session, and one that was replaced continues with the next request.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from inference import tracing
from inference.assets.manifest import Manifest
from inference.engines.base import EngineState, LoadedAvatar, RenderRefusal
from inference.errors import InferenceError
from inference.media.types import AudioContext, AudioWindow, Patch, Picture
from inference.metrics import CallMetrics


@dataclass(frozen=True, slots=True, eq=False)
class MouthRequest:
    """One mouth that a session needs."""

    avatar: LoadedAvatar
    clip: str
    index: int
    read_picture: Callable[[], Picture]
    """Decodes the picture that the mouth is for; called in a pool."""
    window: AudioWindow
    strength: float
    deadline_s: float
    """When it is of no use any more, on the monotonic clock."""
    trace: str = ""
    """The context of the span that it is a part of; empty: of none."""


@dataclass(frozen=True, slots=True, eq=False)
class MouthResult:
    """What became of a request."""

    made: Patch | RenderRefusal | None
    """None: the source picture shows the right mouth already."""
    picture: Picture | None
    """The source picture, if it was decoded for this."""


def failure_reason(error: Exception) -> str:
    """Return what a client is sent: what errors of ours say, of others only that there was one."""
    return str(error) if isinstance(error, InferenceError) else "engine_failed"


Answer = Callable[[MouthResult | Exception], None]
"""Called once in a pool's thread, which it may use to finish the picture. It is not called for
what was withdrawn while it was queued."""


def traced(name: str, request: MouthRequest, answer: Answer) -> tuple[str, Answer]:
    """Begin the span of a request that is a part of one.

    Args:
        name: Of the span.
        request: Some request.
        answer: Its answer.

    Returns:
        The context of the span, or an empty one, and an answer that ends it.
    """
    tracer = tracing.tracer() if request.trace else None
    if tracer is None:
        return "", answer
    span = tracer.begin(name, parent=request.trace, clip=request.clip)

    def answer_and_end(result: MouthResult | Exception) -> None:
        span.end(outcome=failure_reason(result) if isinstance(result, Exception) else "made")
        answer(result)

    return span.context, answer_and_end


class MouthMaker(Protocol):
    """What a live stream needs of an engine."""

    def submit(self, request: MouthRequest, answer: Answer) -> None:
        """Queue a request."""

    def withdraw(self, request: MouthRequest) -> None:
        """Forget a request that is still queued; nothing happens if it is not."""


class EngineAccess(MouthMaker, Protocol):
    """What a host needs. Asked from one event loop; only `open_avatar` takes time."""

    name: str
    context: AudioContext

    @property
    def lead_s(self) -> float:
        """How long before a frame is due its mouth must be requested, as many speak now."""

    @property
    def capacity(self) -> int | None:
        """Sessions that can speak at the same time, in all processes; None: not known."""

    @property
    def speaking_elsewhere(self) -> int:
        """Sessions of other processes that hold one of these places."""

    def report_speaking(self, sessions: int) -> None:
        """So many sessions of the process, or of all that it serves, hold one."""

    @property
    def waiting(self) -> int:
        """Requests that wait for a call."""

    @property
    def calls(self) -> CallMetrics:
        """Its calls, each of them in the numbers of one process alone."""

    async def open_avatar(self, folder: Path, manifest: Manifest) -> LoadedAvatar:
        """Load what the engine keeps of an avatar; AvatarInvalid if it cannot be used."""

    def close_avatar(self, avatar: LoadedAvatar) -> None:
        """No session uses the avatar any more."""

    def is_ready(self, avatar: LoadedAvatar, clip: str) -> bool:
        """Whether mouths can be made on a clip now."""

    def state(self) -> EngineState:
        """How the engine is."""
