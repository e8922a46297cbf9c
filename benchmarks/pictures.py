"""An avatar's own pictures, and where its mouth is: what a decoded stream is compared with.

Stream and asset folder show the same pictures but for the mouth, for a cross-fade, and for what
encoding twice costs. Where the mouth is, nobody needs to tell: it is the part of the picture that
the engine replaces when it lets the avatar speak.
"""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.folders import PRESENTER
from inference.assets.clips import AvatarClips, PictureCache
from inference.engines.base import RenderJob
from inference.engines.viseme.engine import VisemeEngine
from inference.engines.viseme.shape import MouthShape
from inference.media.profile import DEFAULT_PROFILE
from inference.media.types import Patch
from talking_avatar.decoding import AccessUnitDecoder

Luma = NDArray[np.uint8]
"""``[height, width]``."""

_CACHE_BYTES = 600 * 1024 * 1024
_THUMBNAIL = (64, 64)
_OPEN_MOUTH = MouthShape(open=1.0).to_features()


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of the picture, in pixels."""

    x: int
    y: int
    width: int
    height: int

    def of(self, luma: Luma) -> Luma:
        return luma[self.y : self.y + self.height, self.x : self.x + self.width]


@dataclass(frozen=True, slots=True)
class Place:
    """Which picture of a clip one is like, and how far from it outside the mouth, in levels."""

    index: int
    distance: float


class AvatarPictures:
    """The clips of an asset folder, decoded, with the mouth found in each picture."""

    def __init__(self, folder: Path = PRESENTER) -> None:
        self._clips = AvatarClips(folder, PictureCache(_CACHE_BYTES), profile=DEFAULT_PROFILE)
        self._engine = VisemeEngine()
        self._avatar = self._engine.open_avatar(folder, self._clips.manifest)
        # Bound to the object, so that they die with it.
        self.mouth = cache(self._mouth)
        self.outside = cache(self._outside)
        self._thumbnails = cache(self._thumbnails_of)

    @property
    def names(self) -> list[str]:
        return self._clips.manifest.clip_names()

    def frames(self, clip: str) -> int:
        return self._clips[clip].entry.frames

    def luma(self, clip: str, index: int) -> Luma:
        return luma_of(self._clips[clip].picture(index))

    def _mouth(self, clip: str, index: int) -> Region | None:
        """Return what the engine replaces when picture ``index`` speaks; None if it cannot."""
        picture = self._clips[clip].picture(index)
        job = RenderJob(self._avatar, clip, index, picture, _OPEN_MOUTH)
        patch = self._engine.render([job])[0]
        if not isinstance(patch, Patch):
            return None
        height, width = patch.y_plane.shape
        return Region(patch.x, patch.y, width, height)

    def _outside(self, clip: str) -> NDArray[np.bool_]:
        """Return the pixels that no mouth of this clip ever reaches, bool ``[height, width]``."""
        is_outside = np.ones((DEFAULT_PROFILE.height, DEFAULT_PROFILE.width), np.bool_)
        for index in range(self.frames(clip)):
            if region := self.mouth(clip, index):
                region.of(is_outside)[:] = False  # type: ignore[arg-type]  # a mask, not a picture
        return is_outside

    def locate(self, luma: Luma, clip: str) -> Place:
        """Return the picture of ``clip`` that ``luma`` is most like outside the mouth."""
        thumbnails, weights = self._thumbnails(clip)
        seen = cv2.resize(luma, _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
        distances = (np.abs(thumbnails - seen) * weights).sum((1, 2)) / weights.sum()
        index = int(distances.argmin())
        return Place(index, float(distances[index]))

    def steps(self, clip: str, is_counted: NDArray[np.bool_]) -> list[float]:
        """From each picture of the clip to the next, as by `step`."""
        lumas = [self.luma(clip, index) for index in range(self.frames(clip))]
        return [step(a, b, is_counted) for a, b in pairwise(lumas)]

    def _thumbnails_of(self, clip: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        thumbnails = [
            cv2.resize(self.luma(clip, index), _THUMBNAIL, interpolation=cv2.INTER_AREA)
            for index in range(self.frames(clip))
        ]
        weights = cv2.resize(
            self.outside(clip).astype(np.float32), _THUMBNAIL, interpolation=cv2.INTER_AREA
        )
        return np.asarray(thumbnails, np.float32), (weights > 0.999).astype(np.float32)


def luma_of(picture: NDArray[np.uint8]) -> Luma:
    """Return the Y plane of an I420 picture, uint8 ``[height * 3 // 2, width]``."""
    return picture[: picture.shape[0] * 2 // 3]


def decoded_luma(decoder: AccessUnitDecoder, access_unit: bytes) -> Luma:
    """Return the Y plane of the next access unit's picture; ValueError if it does not decode."""
    picture = decoder.decode(access_unit)
    if picture is None or decoder.errors:
        raise ValueError(f"the stream is broken: {decoder.last_error}")
    return luma_of(np.asarray(picture.to_ndarray(), np.uint8))


def step(earlier: Luma, later: Luma, is_counted: NDArray[np.bool_]) -> float:
    """How far one picture is from the next: mean absolute difference in levels where counted."""
    return float(cv2.absdiff(earlier, later)[is_counted].mean())
