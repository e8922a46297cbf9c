"""Values that travel between preparation, runtime and engines: pictures, patches, sound.

A `Picture` is I420: one uint8 array ``[height * 3 // 2, width]``, the Y plane on top, then U, then
V,
each of the chroma planes ``[height // 2, width // 2]`` stored row after row, exactly as FFmpeg's
yuv420p packs them. Limited range, BT.601.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_FULL_SCALE = np.float32(1 / 32_768)

Picture = NDArray[np.uint8]
"""I420, uint8 ``[height * 3 // 2, width]``."""


@dataclass(frozen=True, slots=True)
class AudioContext:
    """How much sound around a frame's own 640 samples an engine needs, in samples."""

    before: int
    after: int


@dataclass(frozen=True, slots=True, eq=False)
class AudioWindow:
    """Sound around ``frames`` consecutive frames of one session, 16 kHz mono.

    ``sound``: float32 in -1..1, or int16 as it was received, ``[before + 640 * frames + after]``;
    zeros stand for what is before the utterance, after its end, or has not arrived in time.
    """

    sound: NDArray[np.float32] | NDArray[np.int16]
    frames: int

    @property
    def samples(self) -> NDArray[np.float32]:
        """The sound in -1..1. Converted here, since who made the window has no time for it."""
        if self.sound.dtype == np.int16:
            return self.sound * _FULL_SCALE
        return np.asarray(self.sound, np.float32)

    @property
    def pcm(self) -> NDArray[np.int16]:
        """The sound as 16-bit samples."""
        if self.sound.dtype == np.int16:
            return np.asarray(self.sound, np.int16)
        scaled = np.rint(self.sound * np.float32(32_768)).clip(-32_768, 32_767)
        return np.asarray(scaled, np.int16)


class Rectangle(NamedTuple):
    """A part of a picture; all even. One of no size is no part of it."""

    x: int
    y: int
    width: int
    height: int

    @property
    def samples(self) -> int:
        """How many samples its three planes have together."""
        return self.width * self.height * 3 // 2


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """Pixels for a rectangle of the picture; ``x, y, width, height`` are even.

    All planes uint8: ``y_plane`` ``[height, width]``, ``u_plane`` and ``v_plane``
    ``[height // 2, width // 2]``.
    """

    x: int
    y: int
    y_plane: NDArray[np.uint8]
    u_plane: NDArray[np.uint8]
    v_plane: NDArray[np.uint8]

    @property
    def rectangle(self) -> Rectangle:
        """Where it belongs."""
        height, width = self.y_plane.shape
        return Rectangle(self.x, self.y, width, height)

    def to_bytes(self) -> bytes:
        """Return the planes, one after the other."""
        return b"".join(plane.tobytes() for plane in (self.y_plane, self.u_plane, self.v_plane))

    @classmethod
    def from_bytes(cls, rectangle: Rectangle, planes: bytes) -> "Patch":
        """Undo `to_bytes`; ValueError if there are not as many samples."""
        x, y, width, height = rectangle
        if len(planes) != rectangle.samples:
            raise ValueError(f"{len(planes)} samples for {width} x {height} pixels")
        samples = np.frombuffer(planes, np.uint8)
        luma, chroma = np.split(samples, [width * height])
        u_plane, v_plane = chroma.reshape(2, height // 2, width // 2)
        return cls(x, y, luma.reshape(height, width), u_plane, v_plane)
