"""The clips of an avatar, as whoever walks through them needs to know them.

Of a clip's pictures and bytes nothing is known here: only how many frames it has, where it may be
entered (at an IDR) and where it may be left (at an exit).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from inference.assets import manifest as manifests
from inference.assets.manifest import STATES, ClipState, Manifest


@dataclass(frozen=True, slots=True)
class ClipInfo:
    """One clip; the fields are those of `manifest.ClipEntry`."""

    name: str
    state: ClipState
    frames: int
    idr: frozenset[int]
    exits: tuple[int, ...]

    def frames_to_exit(self, index: int) -> int:
        """How many more frames from ``index`` on must be shown before the clip may be left."""
        return next(e for e in self.exits if e >= index) - index


ClipIndex = Mapping[str, ClipInfo]
"""The clips of an avatar by name, in the manifest's order."""


def repertoire_of(manifest: Manifest) -> ClipIndex:
    return {
        clip.name: ClipInfo(
            clip.name, clip.state, clip.frames, frozenset(clip.idr), tuple(clip.exits)
        )
        for clip in manifest.clips
    }


def first_clip(repertoire: ClipIndex, state: ClipState) -> str:
    """The first clip of a state; of idle where the avatar has none of that state."""
    names = _names(repertoire, state) or _names(repertoire, "idle")
    return names[0]


def resolve_clip(repertoire: ClipIndex, name: str) -> str:
    """The clip seen when ``name`` is asked for; see `manifest.resolve_clip`."""
    by_state = {state: _names(repertoire, state) for state in STATES}
    return manifests.resolve_clip(by_state, name)[1]


def _names(repertoire: ClipIndex, state: ClipState) -> list[str]:
    return [clip.name for clip in repertoire.values() if clip.state == state]
