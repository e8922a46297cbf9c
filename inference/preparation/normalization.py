"""Decoded pictures as a player shows them: upright, unmirrored, square pixels, one size, SDR.

Cameras, browsers and editors store pictures in ways that only the metadata explain: a display
matrix that turns or mirrors, pixels that are not square, two fields woven into one picture, HDR or
a wide gamut, a size that changes when the network does. Everything behind this module sees plain
RGB pictures of the first one's size.

The display matrix is that of ISO/IEC 14496-12 §8.3.2: (x', y') = (a x + c y, b x + d y).
"""

import gc
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, VideoReformatter

from inference.faces.tflite import RgbPicture
from inference.preparation.tone_mapping import ToneMapper, is_standard

BACKGROUND = (128, 128, 128)
"""RGB behind transparent pictures and beside pictures of another shape: a neutral gray."""

_UNSPECIFIED = 2
"""Matrix coefficients as numbered in ITU-T H.273."""
_HD = 1280, 720
_FIXED_ONE = 1 << 16
_MAX_TIED_BYTES = 64 * 1024 * 1024
"""PyAV ties a frame whose side data were read to itself, so that only the collector of cycles frees
it. That counts objects, of which a frame is one, and would let gigabytes of them pile up."""

_QUARTER_TURNS = ((1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0))
"""Display matrices of turns by 0, 90, 180 and 270 degrees, clockwise."""


class Normalizer:
    """Normalizes the pictures of one video; the first one decides the size."""

    def __init__(
        self, sample_aspect_ratio: Fraction | None, *, is_photograph: bool = False
    ) -> None:
        """Nothing was seen yet.

        Args:
            sample_aspect_ratio: Width by height of a pixel, as the stream says; None or 0: square.
            is_photograph: Colors that the file does not explain are those of JPEG at any size.
        """
        self._is_photograph = is_photograph
        self._aspect = sample_aspect_ratio or Fraction(1)
        self._size: tuple[int, int] | None = None
        self._reformatter = VideoReformatter()  # one for each frame would cost ten times the time
        self._tone_mapper = ToneMapper()
        self._tied_bytes = 0
        self.has_changed_size = False
        """A picture had another size than the first."""

    def normalize(self, frame: VideoFrame) -> RgbPicture:
        """Return the picture as a player shows it.

        Args:
            frame: As it was decoded.

        Returns:
            uint8 ``[height, width, 3]``, RGB; the same size for all pictures of the video.
        """
        if not self._is_photograph and int(frame.colorspace) == _UNSPECIFIED and _is_hd(frame):
            frame.colorspace = Colorspace.ITU709  # else BT.601, as in players
        if not is_standard(frame):
            picture = self._tone_mapper.to_rgb(frame, int(frame.color_trc))
        else:
            rgb = self._reformatter.reformat(frame, format="rgb24")
            picture = np.asarray(rgb.to_ndarray(), np.uint8)
        if frame.interlaced_frame:
            picture = _first_field(picture)
        picture = _with_square_pixels(picture, self._aspect)
        picture = oriented(picture, display_matrix(frame))
        self._free_frames(frame)
        height, width = picture.shape[:2]
        if self._size is None:
            self._size = width, height
        elif self._size != (width, height):
            self.has_changed_size = True
            picture = _letterboxed(picture, *self._size)
        return np.ascontiguousarray(picture)

    def _free_frames(self, newest: VideoFrame) -> None:
        self._tied_bytes += sum(plane.buffer_size for plane in newest.planes)
        if self._tied_bytes > _MAX_TIED_BYTES:
            self._tied_bytes = 0
            gc.collect()


def _is_hd(frame: VideoFrame) -> bool:
    return frame.width >= _HD[0] or frame.height >= _HD[1]


def display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """Return a, b, c, d of the frame's display matrix, each -1, 0 or 1.

    Without one it is the identity.
    """
    try:
        data: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # beside data of a kind that PyAV does not know, such as EXIF
        return _QUARTER_TURNS[round(-frame.rotation / 90) % 4]
    if data is None:
        return 1, 0, 0, 1
    values = np.frombuffer(memoryview(data)[:36], "<i4").reshape(3, 3)[:2, :2] / _FIXED_ONE
    a, b, c, d = values.ravel()
    if max(abs(a), abs(d)) >= max(abs(b), abs(c)):
        return _sign(a), 0, 0, _sign(d)
    return 0, _sign(b), _sign(c), 0


def _sign(value: float) -> int:
    return -1 if value < 0 else 1


def oriented(picture: RgbPicture, matrix: tuple[int, int, int, int]) -> RgbPicture:
    """Return the picture turned and mirrored by a display matrix of quarter turns."""
    a, b, c, d = matrix
    if a == d == 0:
        picture = picture.transpose(1, 0, 2)
        a, d = c, b
    if a < 0:
        picture = picture[:, ::-1]
    if d < 0:
        picture = picture[::-1]
    return picture


def _with_square_pixels(picture: RgbPicture, aspect: Fraction) -> RgbPicture:
    """Stretched to square pixels; the longer side grows, nothing is thrown away."""
    if aspect == 1:
        return picture
    size = square_size(picture.shape[1], picture.shape[0], aspect)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def square_size(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """Return width and height of a picture once its pixels are square; see `Normalizer`."""
    if not aspect:
        return width, height
    if aspect > 1:
        return round(width * aspect), height
    return width, round(height / aspect)


def _first_field(picture: RgbPicture) -> RgbPicture:
    """One of the two fields, at full height: the other one was taken at another moment."""
    height, width = picture.shape[:2]
    # Its lines stay where they are; resizing would move all by half a line.
    apart = np.array([[1, 0, 0], [0, 2, 0]], np.float64)
    field = cv2.warpAffine(picture[::2], apart, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(field, np.uint8)


def _letterboxed(picture: RgbPicture, width: int, height: int) -> RgbPicture:
    """Scaled to fit, centered on the background."""
    scale = min(width / picture.shape[1], height / picture.shape[0])
    inner = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(picture, inner, interpolation=interpolation)
    boxed = np.empty((height, width, 3), np.uint8)
    boxed[:] = BACKGROUND
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    boxed[top : top + inner[1], left : left + inner[0]] = scaled
    return boxed


def over_background(picture: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> RgbPicture:
    """Return an RGBA picture over `BACKGROUND`.

    Args:
        picture: uint8 ``[height, width, 4]``, RGBA, not premultiplied.
    """
    alpha = picture[..., 3:].astype(np.float32) / 255
    blended = picture[..., :3] * alpha + np.array(BACKGROUND, np.float32) * (1 - alpha)
    return np.asarray(np.rint(blended), np.uint8)
