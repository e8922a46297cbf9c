"""Making the atlas of the drawn mouth, which `inference.engines.viseme.renderers.drawn` reads."""

from dataclasses import dataclass

import cv2
import numpy as np
import skia
from numpy.typing import NDArray

from inference.engines.viseme.renderers.atlas import AtlasGeometry
from inference.engines.viseme.shape import MouthShape
from inference.presenter import head, lips, teeth
from inference.presenter.look import Look
from inference.presenter.paint import MARGIN, SCALE, Draw, Rgba, coverage, paint, spline, to_array
from inference.presenter.places import MOUTH

OPENS = [0.0, 0.07, 0.16, 0.30, 0.50, 0.75, 1.0]
WIDES = [-1.0, 0.0, 1.0]
ROUNDS = [0.0, 1.0]

_SCALE = 1.25
_FINE = 4
"""Drawn so many times larger, then reduced."""
_WIDTH, _HEIGHT = 128, 100
"""Texels."""
_HALF_WIDTH = 32.0
_LEFT = MOUTH[0] - _WIDTH / _SCALE / 2
_TOP = MOUTH[1] - 28.0

_COVER = (206, 248, 308, 306)
_JAW = (164, 236, 350, 384)
_JAW_STEP = 2.0
_REGION = (172.0, 240.0, 342.0, 380.0)

# BT.601, limited range; applied to premultiplied colors the offsets go with alpha
_TO_YUV = np.array(
    [[0.2568, 0.5041, 0.0979], [-0.1482, -0.2910, 0.4392], [0.4392, -0.3678, -0.0714]], np.float32
)
_OFFSET = np.array([16, 128, 128], np.float32) / 255


@dataclass(frozen=True, slots=True, eq=False)
class Atlas:
    """The arrays under their names in the asset folder, and the geometry."""

    geometry: AtlasGeometry
    arrays: dict[str, NDArray[np.generic]]


def make(look: Look) -> Atlas:
    """The atlas of ``look``'s mouth."""
    texels, measures = _all_lips(look)
    return Atlas(
        geometry=AtlasGeometry(
            scale=_SCALE,
            left=_LEFT,
            top=_TOP,
            center_x=MOUTH[0],
            half_width=_HALF_WIDTH,
            opens=OPENS,
            wides=WIDES,
            rounds=ROUNDS,
            cover_left=float(_COVER[0]),
            cover_top=float(_COVER[1]),
            jaw_left=float(_JAW[0]),
            jaw_top=float(_JAW[1]),
            jaw_step=_JAW_STEP,
            region=_REGION,
        ),
        arrays={
            "lips": texels,
            "measures": measures,
            "inside": np.stack(
                [
                    _piece(draw)
                    for draw in (teeth.draw_upper_teeth, teeth.draw_lower_teeth, teeth.draw_tongue)
                ]
            ),
            "cover": _cover(look),
            "jaw": _jaw(),
        },
    )


def _rows() -> list[list[list[MouthShape]]]:
    """Return the shapes of the atlas: over openings, then the tucked lip, then the pressed ones."""
    plain = [[[MouthShape(open=o, wide=w, round=r) for r in ROUNDS] for w in WIDES] for o in OPENS]
    tuck = [[MouthShape(open=0.16, wide=w, round=r, tuck=1.0) for r in ROUNDS] for w in WIDES]
    press = [[MouthShape(wide=w, round=r, press=1.0) for r in ROUNDS] for w in WIDES]
    return [*plain, tuck, press]


def _all_lips(look: Look) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """uint8 ``[rows, wides, rounds, 3.5 * height, width]`` and their measures ``[..., 3]``."""
    rows = _rows()
    texels = [[[_entry(look, shape) for shape in line] for line in table] for table in rows]
    measures = [[[_measure(look, shape) for shape in line] for line in table] for table in rows]
    return np.array(texels, np.uint8), np.array(measures, np.float32)


def _measure(look: Look, shape: MouthShape) -> tuple[float, float, float]:
    curves = lips.contours(look.mouth, shape, lips.REST_SMILE)
    middle = len(curves.upper_inner) // 2
    return (
        curves.half_width,
        float(curves.upper_inner[middle, 1]) - MOUTH[1],
        float(curves.lower_inner[middle, 1]) - MOUTH[1],
    )


def _entry(look: Look, shape: MouthShape) -> NDArray[np.uint8]:
    curves = lips.contours(look.mouth, shape, lips.REST_SMILE)
    stretch = _HALF_WIDTH / curves.half_width
    painted = _render(lambda canvas: lips.draw_lips(canvas, look, shape, lips.REST_SMILE), stretch)
    yuv = _to_yuv(painted)
    hole = _render(
        lambda canvas: canvas.drawPath(lips.opening(curves), paint("FFFFFF", blur=0.3)), stretch
    )[..., 3]
    if curves.gap < 0.5:
        hole = np.zeros_like(hole)
    small = cv2.resize(yuv[..., 1:3], (_WIDTH // 2, _HEIGHT // 2), interpolation=cv2.INTER_AREA)
    chroma = small.transpose(0, 2, 1).reshape(_HEIGHT // 2, _WIDTH)
    planes = np.concatenate([yuv[..., 0], chroma, yuv[..., 3], hole])
    return np.asarray(np.clip(planes * 255 + 0.5, 0, 255), np.uint8)


def _piece(draw: Draw) -> NDArray[np.uint8]:
    return np.asarray(np.clip(_to_yuv(_render(draw, 1.0)) * 255 + 0.5, 0, 255), np.uint8)


def _render(draw: Draw, stretch: float) -> NDArray[np.float32]:
    """Premultiplied RGBA 0..1 in the atlas' frame, x stretched about the mouth's middle."""
    surface = skia.Surface(_WIDTH * _FINE, _HEIGHT * _FINE)
    canvas = surface.getCanvas()
    canvas.clear(0)
    canvas.scale(_SCALE * _FINE, _SCALE * _FINE)
    canvas.translate(MOUTH[0] - _LEFT, -_TOP)
    canvas.scale(stretch, 1)
    canvas.translate(-MOUTH[0], 0)
    draw(canvas)
    fine = to_array(surface).astype(np.float32) / 255
    return np.asarray(cv2.resize(fine, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA), np.float32)


def _to_yuv(rgba: NDArray[np.float32]) -> NDArray[np.float32]:
    """Premultiplied RGBA → premultiplied YUVA, all 0..1."""
    alpha = rgba[..., 3:]
    yuv = rgba[..., :3] @ _TO_YUV.T + alpha * _OFFSET
    return np.asarray(np.concatenate([yuv, alpha], axis=2), np.float32)


def _cover(look: Look) -> NDArray[np.uint8]:
    """Skin to hide the closed lips with, and the shadows that belong to them."""
    bare: Rgba = head.face(look)
    curves = lips.contours(look.mouth, MouthShape(), 1.3)
    hull = np.concatenate([curves.upper_outer, curves.lower_outer[::-1]])
    path = spline([(float(x), float(y)) for x, y in hull], closed=True)
    mask = coverage(path)
    grown = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (25, 25)))
    mask = np.asarray(cv2.GaussianBlur(grown, (0, 0), 2.6 * SCALE), np.float32)
    left, top, right, bottom = ((edge + MARGIN) * SCALE for edge in _COVER)
    skin = bare[top:bottom, left:right].astype(np.float32) / 255
    skin[..., 3] = 1.0
    skin = skin * mask[top:bottom, left:right, None]
    small = cv2.resize(
        skin, (_COVER[2] - _COVER[0], _COVER[3] - _COVER[1]), interpolation=cv2.INTER_AREA
    )
    return np.asarray(np.clip(_to_yuv(np.asarray(small, np.float32)) * 255 + 0.5, 0, 255), np.uint8)


def _jaw() -> NDArray[np.float32]:
    """Displacements float32 ``[open wide round, height, width, (x, y)]``, canonical pixels.

    Given at the place where a point comes to lie, not where it comes from.
    """
    left, top, right, bottom = _JAW
    x, y = np.meshgrid(
        np.arange(left, right, _JAW_STEP) + _JAW_STEP / 2,
        np.arange(top, bottom, _JAW_STEP) + _JAW_STEP / 2,
    )
    zeros = np.zeros_like(x)
    before = np.arange(200.0, 420.0, 0.5)
    drop = lips.JAW_DROP * _rise(before, 258, 292) * (1 - _rise(before, 329, 378))
    down = np.interp(y, before + drop, drop)
    aside = np.exp(-((np.abs(x - 256) / (50 + 0.10 * np.clip(y - 280, -30, 40))) ** 3))
    aside *= 1 - _rise(np.abs(x - 256), 58, 80)  # hair and background stand still
    jaw = np.stack([zeros, down * aside], axis=2)
    # hollow cheeks as the jaw sinks
    jaw[..., 0] -= _bump(x, y, 208, 286) * -1.6 + _bump(x, y, 305, 286) * 1.6
    spread = np.stack(
        [
            _bump(x, y, 306, 270) * 2.6 - _bump(x, y, 207, 270) * 2.6,
            -(_bump(x, y, 306, 262) + _bump(x, y, 207, 262)) * 1.2,
        ],
        axis=2,
    )
    purse = np.stack(
        [-_bump(x, y, 303, 276) * 3.2 + _bump(x, y, 210, 276) * 3.2, _bump(x, y, 256, 302) * 1.2],
        axis=2,
    )
    # the patch ends under the nose, and must not show that it does
    still_above = _rise(y, _REGION[1], _REGION[1] + 18)[..., None]
    return np.stack([jaw, spread * still_above, purse * still_above]).astype(np.float32)


def _rise(value: NDArray[np.float64], start: float, end: float) -> NDArray[np.float64]:
    at = np.clip((value - start) / (end - start), 0, 1)
    return at * at * (3 - 2 * at)


def _bump(
    x: NDArray[np.float64], y: NDArray[np.float64], at_x: float, at_y: float
) -> NDArray[np.float64]:
    return np.asarray(np.exp(-0.5 * (((x - at_x) / 13) ** 2 + ((y - at_y) / 15) ** 2)))
