"""What a runtime and the engine process send each other, as msgpack on a Unix socket.

Both are of the same version, since one starts the other from the same files; `Hello` says which, so
that an update under a running server is noticed. Times are on the machine's monotonic clock.
"""

from typing import Final

import msgspec

MAX_BYTES: Final = 64 * 1024 * 1024
"""Of one message; the places of all pictures of a long clip are the largest."""


class FromRuntime(msgspec.Struct, frozen=True, tag=True):
    """Parent of what a runtime sends."""


class OpenAvatar(FromRuntime, frozen=True):
    """Answered by `AvatarOpened` or `AvatarRefused`, then by `ClipReady` for each clip."""

    avatar: int
    """A number that this runtime has given to no other avatar."""
    folder: str
    version: str
    """Of the manifest whose clips the runtime shows; another one in the folder is refused."""


class CloseAvatar(FromRuntime, frozen=True):
    """The runtime has no session with the avatar any more."""

    avatar: int


class Submit(FromRuntime, frozen=True):
    """One mouth is needed. Answered by `Made`, `Refused` or `Failed`, unless withdrawn."""

    request: int
    avatar: int
    clip: str
    index: int
    strength: float
    deadline_s: float
    window: bytes
    """The sound, int16."""
    region: bytes = b""
    """What the engine reads of the picture, as `inference.media.types.Patch.to_bytes`; may be
    empty."""
    trace: str = ""
    """The context of its span; empty: it has none."""


class Withdraw(FromRuntime, frozen=True):
    """A mouth is not needed any more."""

    request: int


class Speaking(FromRuntime, frozen=True):
    """So many sessions of this runtime hold a place to speak."""

    sessions: int


class FromEngine(msgspec.Struct, frozen=True, tag=True):
    """Parent of what the engine process sends."""


class Hello(FromEngine, frozen=True):
    """The first message on a connection, once the engine is loaded."""

    version: str
    name: str
    context_before: int
    context_after: int


class Unavailable(FromEngine, frozen=True):
    """The first and last message, where there will be no engine."""

    reason: str


class State(FromEngine, frozen=True):
    """How the engine is; sent at the beginning and at each change."""

    is_healthy: bool
    message: str
    capacity: int | None
    lead_s: float
    waiting: int
    speaking_elsewhere: int
    """Sessions of other runtimes that hold a place."""


class CallsMade(FromEngine, frozen=True):
    """Calls of the engine since the last such message to any runtime; only one is sent them."""

    sizes: list[int]
    """As `inference.metrics.SizeHistogram.counts`."""
    mouths: int
    durations: list[int]
    """As `inference.metrics.DurationHistogram.counts`."""
    total_s: float


class AvatarOpened(FromEngine, frozen=True):
    """The avatar can be used."""

    avatar: int


class AvatarRefused(FromEngine, frozen=True):
    """The avatar cannot be used."""

    avatar: int
    reason: str


class ClipReady(FromEngine, frozen=True):
    """Mouths can be made on a clip from now on."""

    avatar: int
    clip: str
    regions: bytes
    """int32 ``[frames, 4]``: x, y, width, height of what the engine reads of each picture."""


class Made(FromEngine, frozen=True):
    """The patch of a request, or none where the source picture shows the right mouth already."""

    request: int
    x: int = 0
    y: int = 0
    width: int = 0
    height: int = 0
    planes: bytes = b""


class Refused(FromEngine, frozen=True):
    """The mouth cannot be made; the source picture is shown."""

    request: int
    reason: str


class Failed(FromEngine, frozen=True):
    """The engine failed."""

    request: int
    reason: str


RuntimeMessage = OpenAvatar | CloseAvatar | Submit | Withdraw | Speaking
EngineMessage = (
    Hello
    | Unavailable
    | State
    | CallsMade
    | AvatarOpened
    | AvatarRefused
    | ClipReady
    | Made
    | Refused
    | Failed
)
