"""A drawn mouth on the clip's own picture.

Three steps make a mouth on a picture whose lips are closed:

1. the closed lips are covered with skin,
2. the lower face is stretched, so that chin and cheeks follow the jaw,
3. the lips of the wanted shape are laid over it (`atlas`).

Each frame of a clip has an affine map that puts them where the head is. Everything fades in with
the shape, from nothing at all zeros, so no picture differs visibly from the one before it when
speech begins. All work is done on planes, luma at full and chroma at half resolution: only the
face patch is touched, and nothing is converted.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.assets.arrays import read_array
from inference.assets.manifest import Manifest
from inference.engines.viseme.renderers.atlas import (
    FOLDER,
    AtlasGeometry,
    Mouth,
    MouthAtlas,
    Pixels,
    Texture,
)
from inference.engines.viseme.renderers.expression import FacePlace, face_place
from inference.engines.viseme.renderers.eyelids import Eye
from inference.engines.viseme.shape import MouthShape
from inference.errors import AvatarInvalid
from inference.media.compositor import cut
from inference.media.types import Patch, Picture, Rectangle

Affine = NDArray[np.float64]
"""``[2, 3]``, or ``[3, 3]`` where one follows another."""
Shift = tuple[Pixels, Pixels]
"""Pixels to the right and down, float32 ``[height, width]`` each."""

_UNSEEN = 0.004
_FULL_AT = 0.11
"""From this strength on the picture's own lips are quite hidden."""

_PARTING = 0.8
"""How much sooner than evenly the lips part. Of a narrow gap little is seen: lips are soft at their
edges, and teeth fill it. Drawn evenly, a mouth 0.1 open reads as shut, and speech as mumbling; so,
what a face tracker reads off the decoded picture grows evenly with the opening."""
_ROUNDING = 0.36
"""How much less pursed lips part: the same gap looks larger in a narrow mouth."""
_SIDE = 8.0
"""Over how much of the region's sides the movement of the cheeks fades, in canonical pixels."""
_TUCKED_OPEN = 0.16
"""The lips' opening in the atlas when the lower one is tucked under the teeth."""


class DrawnMouth:
    """The mouth of one avatar. Any thread may render."""

    def __init__(
        self,
        atlas: MouthAtlas,
        placements: dict[str, NDArray[np.float32]],
        eye_placements: dict[str, NDArray[np.float32]],
    ) -> None:
        """Prepare to render.

        Args:
            atlas: The mouth's.
            placements: Of each clip, affine maps ``[frames, 2, 3]`` canonical → picture, exact at
                the mouth.
            eye_placements: The same, exact at the eyes; of the clips in which they may move.
        """
        self._atlas = atlas
        self._placements = placements
        self._eye_placements = eye_placements
        cover = [np.ascontiguousarray(atlas.cover[..., channel]) for channel in range(4)]
        self._cover_luma: Texture = (cover[0], cover[3])
        self._cover_chroma: Texture = tuple(cover[1:])
        geometry = atlas.geometry
        jaw = atlas.jaw * _fade(geometry, atlas.jaw.shape[2])[:, None]
        self._jaw = np.ascontiguousarray(jaw.transpose(0, 3, 1, 2)).reshape(6, -1)
        self._jaw_placing = _placing(geometry.jaw_step, geometry.jaw_left, geometry.jaw_top)
        self._cover_placing = _placing(1.0, geometry.cover_left, geometry.cover_top)
        self._places: dict[tuple[str, int], FacePlace] = {}
        """Of pictures that were asked for: all sessions and every round ask for the same."""
        self._boxes: dict[tuple[str, int], tuple[int, int, int, int]] = {}
        """The same."""

    @classmethod
    def open(cls, folder: Path, manifest: Manifest) -> "DrawnMouth":
        """Map the atlas of ``folder``; AvatarInvalid if it does not fit the manifest."""
        home = folder / FOLDER
        try:
            placements = {
                clip.name: np.array(read_array(home / f"{clip.name}.npy"))
                for clip in manifest.clips
            }
            eye_placements = {
                clip.name: np.array(read_array(home / f"{clip.name}.eyes.npy"))
                for clip in manifest.clips
                if (home / f"{clip.name}.eyes.npy").exists()
            }
        except (OSError, AvatarInvalid) as error:
            raise AvatarInvalid(
                f"{folder.name} does not know where its mouth is: {error}"
            ) from None
        for clip in manifest.clips:
            for placed in (placements, eye_placements):
                if clip.name in placed and placed[clip.name].shape != (clip.frames, 2, 3):
                    raise AvatarInvalid(f"clip {clip.name}: one placement a frame is wanted")
        return cls(MouthAtlas.open(home), placements, eye_placements)

    def place(self, clip: str, index: int) -> FacePlace | None:
        """Where the upper face is in frame ``index`` of ``clip``; None if it is not known."""
        eyes = self._atlas.geometry.eyes
        if eyes is None or clip not in self._eye_placements:
            return None
        if (known := self._places.get((clip, index))) is not None:
            return known
        placement = np.asarray(self._eye_placements[clip][index], np.float64)

        def placed(points: Sequence[tuple[float, float]]) -> NDArray[np.float32]:
            moved = np.array(points) @ placement[:, :2].T + placement[:, 2]
            return np.asarray(moved, np.float32)

        is_open = index not in eyes.shut.get(clip, ())
        lids = [Eye(placed(upper), placed(lower)) for upper, lower in eyes.lids if is_open]
        left, right = placed(eyes.corners)
        place = self._places[clip, index] = face_place(left, right, tuple(lids))
        return place

    def render(self, clip: str, index: int, picture: Picture, shape: MouthShape) -> Patch | None:
        """Draw the lower face of ``picture``, frame ``index`` of ``clip``, its mouth as ``shape``.

        None if the shape is the closed mouth that the picture shows already.
        """
        opening = _drawn_opening(shape)
        jaw = _drawn_jaw(shape, opening)
        shape = shape._replace(open=opening)
        strength = _strength(shape)
        if strength < _UNSEEN:
            return None
        gain = _smoothstep(strength / _FULL_AT)
        width, height = picture.shape[1], picture.shape[0] * 2 // 3
        placement = np.asarray(self._placements[clip][index], np.float64)
        if (box := self._boxes.get((clip, index))) is None:
            box = self._boxes[clip, index] = self._box(placement, width, height)
        x, y, right, bottom = box
        if right <= x or bottom <= y:
            return None
        placement[:, 2] -= (x, y)

        under = cut(picture, Rectangle(x, y, right - x, bottom - y))
        mouth = self._atlas.mouth(shape)
        across, down = self._jaw_shift(shape, jaw, placement, (right - x) // 2, (bottom - y) // 2)
        chroma = (under.u_plane, under.v_plane)
        u_plane, v_plane = self._draw(chroma, 0.5, placement, (across, down), mouth, gain)
        shift = _double(across), _double(down)
        (y_plane,) = self._draw((under.y_plane,), 1.0, placement, shift, mouth, gain)
        return Patch(x, y, y_plane, u_plane, v_plane)

    def _box(self, placement: Affine, width: int, height: int) -> tuple[int, int, int, int]:
        """Return the even rectangle of the picture that the atlas' region falls into."""
        left, top, right, bottom = self._atlas.geometry.region
        corners = np.array([[left, top], [right, top], [left, bottom], [right, bottom]])
        placed = corners @ placement[:, :2].T + placement[:, 2]
        x, y = np.floor(placed.min(axis=0) / 2).astype(int) * 2
        far_x, far_y = np.ceil(placed.max(axis=0) / 2).astype(int) * 2
        return max(int(x), 0), max(int(y), 0), min(int(far_x), width), min(int(far_y), height)

    def _jaw_shift(
        self, shape: MouthShape, jaw: float, to_box: Affine, width: int, height: int
    ) -> Shift:
        """How far what comes to stand at each pixel has moved, in half resolution.

        The movement is smooth: the atlas has it in no finer one.
        """
        amounts = np.array([jaw, shape.wide, shape.round], np.float32)
        # The head's turn and the sum over the three movements in one product of small matrices.
        turns = (0.5 * to_box[:, None, :2]) * amounts[:, None]
        turned = turns.reshape(2, 6).astype(np.float32) @ self._jaw
        matrix = 0.5 * to_box @ self._jaw_placing
        matrix[:, 2] -= 0.5
        field = turned.reshape(2, *self._atlas.jaw.shape[1:3])
        across, down = (cv2.warpAffine(plane, matrix, (width, height)) for plane in field)
        return np.asarray(across, np.float32), np.asarray(down, np.float32)

    def _draw(
        self,
        planes: Sequence[NDArray[np.uint8]],
        resolution: float,
        to_box: Affine,
        shift: Shift,
        mouth: Mouth,
        gain: float,
    ) -> list[NDArray[np.uint8]]:
        """Luma (``resolution`` 1) or chroma (½) with all three steps done; new planes."""
        geometry = self._atlas.geometry
        is_luma = resolution == 1.0
        to_pixels = to_box * resolution
        to_pixels[:, 2] -= 0.5  # from edges to the middles of pixels

        pixels = [plane.astype(np.float32) for plane in planes]
        columns, rows = _grid(pixels[0].shape[1], pixels[0].shape[0])
        source = columns - shift[0], rows - shift[1]
        unbent = [_bend(plane, source) for plane in pixels] if gain < 1 else []
        cover = self._cover_luma if is_luma else self._cover_chroma
        _lay(pixels, cover, to_pixels @ self._cover_placing)
        drawn = [_bend(plane, source) for plane in pixels]

        texel = 1 / (geometry.scale * resolution)
        place = _placing(texel, geometry.left, geometry.top)
        widen = mouth.half_width / geometry.half_width
        place[0] *= widen
        place[0, 2] += geometry.center_x * (1 - widen)
        _lay(drawn, mouth.luma if is_luma else mouth.chroma, to_pixels @ place)
        for plane, own in zip(drawn, unbent, strict=False):
            cv2.addWeighted(plane, gain, own, 1 - gain, 0, dst=plane)
        # Rounds, and bounds to 0..255.
        return [np.asarray(cv2.convertScaleAbs(plane), np.uint8) for plane in drawn]


def _fade(geometry: AtlasGeometry, columns: int) -> NDArray[np.float32]:
    """Return how much of the jaw's movement is left in each column: none at the region's sides."""
    left, _, right, _ = geometry.region
    x = geometry.jaw_left + geometry.jaw_step * np.arange(columns)
    inside = np.minimum(x - left, right - x)
    return np.asarray(np.clip(inside / _SIDE, 0, 1), np.float32)


@lru_cache(maxsize=256)
def _grid(width: int, height: int) -> Shift:
    """Return the coordinates of each pixel: float32 ``[1, width]`` and ``[height, 1]``."""
    return np.arange(width, dtype=np.float32)[None], np.arange(height, dtype=np.float32)[:, None]


def _strength(shape: MouthShape) -> float:
    """How far from closed: what decides how much of the drawn mouth is seen."""
    return max(
        shape.open,
        0.8 * abs(shape.wide),
        shape.round,
        0.8 * shape.press,
        shape.tuck,
        0.2 * shape.tongue,
    )


def _drawn_jaw(shape: MouthShape, opening: float) -> float:
    """How open the jaw is drawn, 0..1: as far as the lips, but where they move by themselves.

    Args:
        shape: The mouth's.
        opening: How open the lips are drawn.
    """
    return max(opening + _parted(shape.jaw_opening) - _parted(shape.open), 0.0)


def _parted(opening: float) -> float:
    return opening * (1 + _PARTING) / (1 + _PARTING * opening)


def _drawn_opening(shape: MouthShape) -> float:
    """How open the lips are drawn, 0..1, so that ``shape.open`` is seen."""
    opening = _parted(shape.open)
    opening *= 1 - _ROUNDING * shape.round
    return opening - shape.tuck * max(opening - _TUCKED_OPEN, 0.0)


def _smoothstep(value: float) -> float:
    value = min(max(value, 0.0), 1.0)
    return value * value * (3 - 2 * value)


def _placing(texel: float, left: float, top: float) -> Affine:
    """From texture indexes to canonical coordinates, ``[3, 3]``.

    Texel (i, j) covers a square; its index means its middle.
    """
    return np.array(
        [[texel, 0, left + texel / 2], [0, texel, top + texel / 2], [0, 0, 1]], np.float64
    )


def _double(shift: Pixels) -> Pixels:
    """Return a movement in half resolution, in full resolution."""
    size = (2 * shift.shape[1], 2 * shift.shape[0])
    return np.asarray(cv2.resize(2 * shift, size, interpolation=cv2.INTER_LINEAR), np.float32)


def _bend(pixels: Pixels, source: Shift) -> Pixels:
    """Return what is at ``source`` (x, y), for each pixel; a new array."""
    bent = cv2.remap(pixels, *source, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(bent, np.float32)


def _lay(planes: Sequence[Pixels], texture: Texture, matrix: Affine) -> None:
    """Lay ``texture`` over ``planes``, placed by ``matrix``.

    Its planes are premultiplied, and their alpha, 0..1, is the last one.
    """
    height, width = texture[-1].shape
    (a, b, x), (c, d, y) = matrix[:2].tolist()
    # The texture and one texel around it: its first corner, and what its sides add at most.
    x, y = x - a - b, y - c - d
    left = x + min(a * (width + 1), 0.0) + min(b * (height + 1), 0.0)
    right = x + max(a * (width + 1), 0.0) + max(b * (height + 1), 0.0)
    top = y + min(c * (width + 1), 0.0) + min(d * (height + 1), 0.0)
    bottom = y + max(c * (width + 1), 0.0) + max(d * (height + 1), 0.0)
    first_x, first_y = max(int(left // 1), 0), max(int(top // 1), 0)
    place = slice(first_y, int(bottom // 1) + 2), slice(first_x, int(right // 1) + 2)
    parts = [plane[place] for plane in planes]
    if not parts[0].size:
        return
    shifted = matrix[:2].copy()
    shifted[:, 2] -= (first_x, first_y)
    size = (parts[0].shape[1], parts[0].shape[0])
    *colors, alpha = (cv2.warpAffine(plane, shifted, size) for plane in texture)
    rest = np.subtract(1, alpha, out=alpha)
    for part, color in zip(parts, colors, strict=True):
        part *= rest
        part += color
