"""The clips of an avatar for the timeline.

How many frames each has, where it may be entered (at an IDR) and where it may be left (at an exit).
Pictures and bytes are in `clips`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from inference.assets import manifest
from inference.assets.manifest import STATES, ClipState, Manifest


@dataclass(frozen=True, slots=True)
class ClipInfo:
    """One clip; the fields are those of `manifest.ClipEntry`."""

    name: str
    state: ClipState
    frames: int
    idr: frozenset[int]
    exits: tuple[int, ...]
    is_attentive: bool = False

    @property
    def entries(self) -> tuple[int, ...]:
        """Where it may be entered without a jump: at 0, and at IDRs near the rest pose.

        A clip may be left after such a picture, so any other clip may go over to it too.
        """
        return (0, *(place for place in sorted(self.idr) if place and place + 1 in self.exits))

    def frames_to_exit(self, index: int) -> int:
        """How many more frames from ``index`` on must be shown before the clip may be left."""
        return next(e for e in self.exits if e >= index) - index


@dataclass(frozen=True, slots=True)
class ClipRequest:
    """A clip to run until another is requested."""

    name: str
    is_chosen: bool = True
    """The client chose it; otherwise other clips of its state follow it."""


ClipIndex = Mapping[str, ClipInfo]
"""The clips of an avatar by name, in the manifest's order."""


def index_of(of: Manifest) -> ClipIndex:
    return {
        clip.name: ClipInfo(
            clip.name,
            clip.state,
            clip.frames,
            frozenset(clip.idr),
            tuple(clip.exits),
            clip.is_attentive,
        )
        for clip in of.clips
    }


def first_clip(index: ClipIndex, state: ClipState) -> str:
    """Return the first clip of a state; of idle where the avatar has none of that state."""
    names = clips_of(index, state) or clips_of(index, "idle")
    return names[0]


def attentive_clips(index: ClipIndex) -> list[str]:
    """Return the clips shown while the user speaks: those made for it, else the calmest idle."""
    attentive = [clip.name for clip in index.values() if clip.is_attentive]
    return attentive or [first_clip(index, "idle")]


def resolve_clip(index: ClipIndex, name: str) -> str:
    """Return the clip shown when ``name`` is requested; see `manifest.resolve_clip`."""
    by_state = {state: clips_of(index, state) for state in STATES}
    return manifest.resolve_clip(by_state, name)[1]


def clips_of(index: ClipIndex, state: ClipState) -> list[str]:
    return [clip.name for clip in index.values() if clip.state == state]
