"""Which clip a name means for an avatar."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from inference.assets.manifest import STANDARD_CLIPS, STATES, ClipState, resolve_clip
from streaming.protocol.codec import quoted
from streaming.protocol.errors import ProtocolError


class Avatar(Protocol):
    """What a session needs to know of the avatar it shows."""

    @property
    def folder(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def clips(self) -> Mapping[ClipState, tuple[str, ...]]: ...
    @property
    def titles(self) -> Mapping[str, str]: ...
    @property
    def codec(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip that the avatar has."""

    state: ClipState
    name: str


def clip_names(avatar: Avatar) -> list[str]:
    return [name for state in STATES for name in avatar.clips.get(state, ())]


def first_clip(avatar: Avatar, state: ClipState) -> Clip:
    """Return the clip a state begins with; an idle one for a state the avatar has no clips of."""
    return clip_named(avatar, STANDARD_CLIPS[state][0])


def clip_named(avatar: Avatar, name: str) -> Clip:
    """Return the clip that will be seen when ``name`` is asked for; see `manifest.resolve_clip`.

    ProtocolError for a name that is neither the avatar's nor a standard one.
    """
    try:
        return Clip(*resolve_clip(avatar.clips, name))
    except KeyError:
        raise ProtocolError(
            "INVALID_MESSAGE",
            f"There is no clip {quoted(name)}; this avatar has {', '.join(clip_names(avatar))}.",
        ) from None
