"""The interface between the host and a lip-sync engine.

The host asks two things of an engine, and always for several sessions at once:

``listen``  windows of sound → mouth features, one per frame. Pure: the same window gives the same
            features, in whatever session and batch, so that a session can move to another
            worker, and no session can hear another's speech.
``render``  jobs (a picture and the features to show on it) → patches, the finished pixels of the
            face region, ready to be pasted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inference.assets.manifest import Manifest
from inference.media.types import AudioContext, AudioWindow, Patch, Picture, Rectangle

Features = NDArray[np.float32]
"""What an engine hears for one frame; its shape is the engine's own affair."""


CLOSE_WITHIN_S = 1.5
"""How long an engine may take to end its threads."""


class LoadedAvatar(Protocol):
    """An avatar as one engine keeps it in memory."""


@dataclass(frozen=True, slots=True, eq=False)
class RenderJob:
    """One mouth to show.

    ``strength`` 1.0 shows the features as they are; below it the mouth eases towards the source
    picture's closed one, reached at 0.
    """

    avatar: LoadedAvatar
    clip: str
    index: int
    picture: Picture
    features: Features
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class RenderRefusal:
    """Why a mouth cannot be made: the source picture is shown, and the client is warned."""

    reason: str


@dataclass(frozen=True, slots=True)
class EngineState:
    """How an engine is, for /health and the log."""

    is_healthy: bool = True
    """Mouths can be made."""
    is_lost: bool = False
    """It will not be well again in this process."""
    message: str = ""
    """What hinders it, or what it does beside its calls; for people."""


class Engine(Protocol):
    """What the host needs. ``listen`` and ``render`` run on a pool of ``concurrency`` threads."""

    name: str
    context: AudioContext
    max_batch: int
    """Jobs in one call; final after `load`."""
    concurrency: int
    """Calls at the same time: the number of cores for a CPU engine, one for a GPU."""

    @property
    def capacity(self) -> int | None:
        """Sessions that can speak at the same time, as learned by `load`; None: not known."""

    def load(self) -> None:
        """Load nets and warm up, once, in a thread; EngineUnavailable says what is missing."""

    def lead_for(self, speaking: int) -> float:
        """How long before a frame is due its rendering must begin, in seconds.

        Time for a call, for the one that runs already, and for encoding. It adds to the latency of
        speech.

        Args:
            speaking: How many sessions speak.
        """

    def open_avatar(self, folder: Path, manifest: Manifest) -> LoadedAvatar:
        """Load what the engine keeps of an avatar; AvatarInvalid if it cannot be used."""

    def is_ready(self, avatar: LoadedAvatar, clip: str) -> bool:
        """Whether lips can be made on a clip now; called from the event loop."""

    def region(self, avatar: LoadedAvatar, clip: str, index: int) -> Rectangle | None:
        """Return what `render` reads of a picture of a clip that is ready; None: nothing."""

    def listen(self, windows: Sequence[AudioWindow]) -> list[list[Features]]:
        """Features of each frame of each window."""

    def render(self, jobs: Sequence[RenderJob]) -> list[Patch | RenderRefusal | None]:
        """Return a patch for each job.

        It is None where the source picture shows the right mouth already.
        """

    def close(self) -> None:
        """End the engine's own threads, within `CLOSE_WITHIN_S`; the process is ending.

        Called once, from any thread. Calls in progress may raise EngineStopped.
        """

    def state(self) -> EngineState:
        """How the engine is; called from the event loop, so at once."""
