"""The viseme engine: the default one, on the CPU.

It hears with a small net of its own and shows with one of two renderers, which the avatar's
manifest names: a drawn mouth for drawn presenters, a warp of the real picture for people.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from inference.assets.manifest import Manifest
from inference.cores import available_cores
from inference.engines.base import EngineState, Features, LoadedAvatar, RenderJob, RenderRefusal
from inference.engines.viseme import features, net
from inference.engines.viseme.emphasis import Emphasis
from inference.engines.viseme.hearing import Hearing
from inference.engines.viseme.renderers.expression import FacePlace, express, is_seen
from inference.engines.viseme.shape import MouthShape
from inference.errors import EngineUnavailable
from inference.media.types import AudioContext, AudioWindow, Patch, Picture, Rectangle
from inference.timing import GRID_S, SAMPLES_PER_FRAME

LOOK_AHEAD = 640
"""Samples after a frame that the net hears; measured in docs/visemes.md."""
_SHAPE = len(MouthShape._fields)
_REST = 0.01
"""A shape of which no value is larger than this looks like the rest pose."""


class Renderer(Protocol):
    """Shows a mouth shape on pictures of one avatar."""

    def render(self, clip: str, index: int, picture: Picture, shape: MouthShape) -> Patch | None:
        """Return the patch with this mouth; None where the picture shows it already."""

    def place(self, clip: str, index: int) -> FacePlace | None:
        """Where the upper face is; None where it is not to be moved."""


@dataclass(frozen=True, slots=True)
class VisemeAvatar:
    """An avatar as this engine keeps it."""

    renderer: Renderer
    picture: Rectangle
    """A whole picture."""


class VisemeEngine:
    """`base.Engine` for CPUs."""

    name = "viseme"
    max_batch = 1
    lead_s = 6 * GRID_S
    capacity: int | None = None

    def __init__(
        self,
        weights: Path = net.WEIGHTS_PATH,
        look_ahead: int = LOOK_AHEAD,
        *,
        concurrency: int | None = None,
        has_emphasis: bool = True,
    ) -> None:
        """Prepare to `load`.

        Args:
            weights: The net's file.
            look_ahead: Samples after a frame that the net hears.
            concurrency: Calls at the same time; None: one for each core.
            has_emphasis: Brows, nods and blinks accompany the speech.
        """
        self.concurrency = concurrency or available_cores()
        self._weights = weights
        self._has_emphasis = has_emphasis
        self.context = AudioContext(
            before=features.LEAD + net.STEPS_BEFORE * features.HOP - look_ahead, after=look_ahead
        )
        self._hearing: Hearing | None = None

    def load(self) -> None:
        """Read the weights and hear some silence, so that the first word finds all in place.

        Raises:
            EngineUnavailable: the weights are missing or not of this version.
        """
        trained = net.Net(self._weights)
        if trained.after != self.context.after:
            raise EngineUnavailable(
                f"{self._weights} looks {trained.after} samples ahead, not {self.context.after}"
            )
        self._hearing = Hearing(trained, self.context, has_emphasis=self._has_emphasis)
        self.listen([self._silence()])

    def lead_for(self, speaking: int) -> float:
        return self.lead_s

    def open_avatar(self, folder: Path, manifest: Manifest) -> LoadedAvatar:
        """Open the renderer that the manifest names; AvatarInvalid if the folder lacks its files.

        Its module is imported only now: an installation without drawn avatars never loads it.
        """
        renderer: Renderer
        if manifest.renderer == "drawn":
            from inference.engines.viseme.renderers.drawn import DrawnMouth

            renderer = DrawnMouth.open(folder, manifest)
        else:
            from inference.engines.viseme.renderers.warp import WarpedMouth

            renderer = WarpedMouth.open(folder, manifest)
        profile = manifest.profile
        return VisemeAvatar(renderer, Rectangle(0, 0, profile.width, profile.height))

    def close(self) -> None:
        """Do nothing: the engine has no threads of its own."""

    def is_ready(self, avatar: LoadedAvatar, clip: str) -> bool:
        """Every clip is."""
        return True

    def region(self, avatar: LoadedAvatar, clip: str, index: int) -> Rectangle | None:
        """Where the face is does not follow from the clip alone: everything."""
        return cast(VisemeAvatar, avatar).picture

    def listen(self, windows: Sequence[AudioWindow]) -> list[list[Features]]:
        """Hear float32 ``[11]`` of each frame: `MouthShape`, then `Emphasis` if it is wanted."""
        if self._hearing is None:
            raise EngineUnavailable("the viseme engine has not been loaded")
        return [list(self._hearing.hear(window)) for window in windows]

    def state(self) -> EngineState:
        return EngineState()

    def render(self, jobs: Sequence[RenderJob]) -> list[Patch | RenderRefusal | None]:
        """Return a patch for each job; None where the mouth rests."""
        return [self._render(job) for job in jobs]

    def _render(self, job: RenderJob) -> Patch | None:
        shape = MouthShape.from_features(job.features).scaled(job.strength)
        renderer = cast(VisemeAvatar, job.avatar).renderer
        is_resting = max(abs(value) for value in shape) < _REST
        mouth = None if is_resting else renderer.render(job.clip, job.index, job.picture, shape)
        accents = Emphasis(*(job.features[_SHAPE:] * job.strength).tolist())
        if not is_seen(accents):
            return mouth
        place = renderer.place(job.clip, job.index)
        return mouth if place is None else express(job.picture, mouth, place, accents)

    def _silence(self) -> AudioWindow:
        count = self.context.before + SAMPLES_PER_FRAME + self.context.after
        return AudioWindow(np.zeros(count, np.float32), 1)
