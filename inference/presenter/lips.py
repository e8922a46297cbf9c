"""The lips, closed or in any shape of speech.

`contours` turns a mouth shape into the four curves that make a mouth: outer and inner edge of the
upper and of the lower lip. The same curves draw the closed mouth of the clips and the atlas of the
drawn mouth, so that one goes over into the other.
"""

import math
from dataclasses import dataclass

import numpy as np
import skia
from numpy.typing import NDArray

from inference.engines.viseme.shape import MouthShape
from inference.presenter.look import LipShape, Look
from inference.presenter.paint import clip, linear, oval, paint, spline
from inference.presenter.places import MOUTH, Point
from inference.presenter.tones import Tones

GAP_OPEN = 30.0
"""Between the inner lips at ``open`` 1."""
JAW_DROP = 18.0
"""How far the chin sinks at ``open`` 1."""
REST_SMILE = 0.40
"""Of the clips' closed mouth; a face at rest is not a sad one."""

Curve = NDArray[np.float64]
"""Points ``[n, 2]`` from the left corner to the right one."""


@dataclass(frozen=True, slots=True, eq=False)
class Contours:
    """The mouth's curves, canonical pixels, and its measures."""

    upper_outer: Curve
    upper_inner: Curve
    lower_inner: Curve
    lower_outer: Curve
    half_width: float
    gap: float


def half_width(lips: LipShape, shape: MouthShape) -> float:
    """From the mouth's middle to a corner."""
    spread = 0.13 * max(shape.wide, 0.0) + 0.12 * min(shape.wide, 0.0)
    return lips.half_width * (
        1 + spread - 0.30 * shape.round - 0.07 * shape.open + 0.02 * shape.press
    )


def contours(lips: LipShape, shape: MouthShape, smile: float = 0.0) -> Contours:
    """The curves of ``lips`` in ``shape``; ``smile`` lifts and parts the corners a little."""
    along = np.linspace(-1, 1, 41)
    bow = 1 - along**2
    width = half_width(lips, shape) + 2.2 * smile
    gap = GAP_OPEN * shape.open * (1 - 0.10 * shape.round)
    pull = max(shape.wide, 0.0)
    # corners: smiling and spreading lifts them, opening takes them down with the jaw
    corner = -2.2 - 4.2 * smile - 1.6 * pull + 0.16 * gap * (1 - 0.4 * shape.round)
    line = 0.6 - 0.7 * smile
    full = 1 + 0.08 * shape.round - 0.10 * pull - 0.10 * shape.open
    upper_full = (
        lips.upper * full * (1 - 0.42 * shape.press) * (1 - 0.12 * shape.tuck - 0.10 * smile)
    )
    lower_full = lips.lower * full * (1 - 0.34 * shape.press) * (1 - 0.50 * shape.tuck)

    top = line - 0.24 * gap - 1.2 * shape.tuck - 1.0 * shape.round
    low = line + 0.76 * gap - 2.4 * shape.tuck - 0.6 * shape.press
    # how square the opening is: round lips make an oval, spread ones a slot
    inner_up = bow ** (0.80 - 0.16 * pull - 0.28 * shape.round)
    inner_low = bow ** (0.70 - 0.10 * pull - 0.18 * shape.round)
    upper_inner = corner + (top - corner) * inner_up
    upper_inner += 0.8 * np.exp(-((along / 0.16) ** 2)) * (1 - 0.5 * shape.open)  # the tubercle
    lower_inner = corner + (low - corner) * inner_low
    lower_inner = np.maximum(lower_inner, upper_inner)

    cupid = np.exp(-((along / 0.13) ** 2)) * 1.9 * (1 - 0.3 * shape.round)
    peaks = np.exp(-(((np.abs(along) - 0.24) / 0.2) ** 2)) * 1.1
    upper_outer = upper_inner - upper_full * bow**0.86 - peaks + cupid
    lower_outer = lower_inner + lower_full * bow ** (0.62 - 0.14 * shape.round)
    x = MOUTH[0] + along * width + 0.5 * bow

    # no mouth is even: the right corner sits a little higher
    tilt = -0.55 * along
    y0 = MOUTH[1] + tilt
    return Contours(
        upper_outer=np.stack([x, y0 + upper_outer], 1),
        upper_inner=np.stack([x, y0 + upper_inner], 1),
        lower_inner=np.stack([x, y0 + lower_inner], 1),
        lower_outer=np.stack([x, y0 + lower_outer], 1),
        half_width=width,
        gap=float(np.max(lower_inner - upper_inner)),
    )


def _path(*curves: Curve, closed: bool = True) -> skia.Path:
    points: list[Point] = [(float(x), float(y)) for curve in curves for x, y in curve]
    return spline(points, closed=closed, tension=0.7)


def opening(curves: Contours) -> skia.Path:
    """Return what one looks into."""
    return _path(curves.upper_inner, curves.lower_inner[-2:0:-1])


def draw_lips(canvas: skia.Canvas, look: Look, shape: MouthShape, smile: float = 0.0) -> None:
    """Lips and the shadows about them; the opening is left as it is."""
    curves = contours(look.mouth, shape, smile)
    upper = _path(curves.upper_outer, curves.upper_inner[-2:0:-1])
    lower = _path(curves.lower_inner, curves.lower_outer[-2:0:-1])
    _draw_shadows(canvas, look.skin, curves, shape, smile)
    _draw_flesh(canvas, look.lips, curves, upper, lower)
    _draw_modelling(canvas, look.lips, curves, upper, lower)
    _draw_seam(canvas, look.lips, curves)
    _draw_corners(canvas, look, curves, smile)


def _draw_shadows(
    canvas: skia.Canvas, tone: Tones, curves: Contours, shape: MouthShape, smile: float
) -> None:
    """Draw what the lips do to the skin about them."""
    x, bottom = MOUTH[0], float(curves.lower_outer[20, 1])
    under = paint(tone("8E4A3A"), 0.42, blur=2.8)
    canvas.drawOval(oval(x + 1.5, bottom + 3.6, curves.half_width * 0.52, 3.0), under)
    canvas.drawPath(
        _path(curves.upper_outer[4:37] - np.array([0.0, 1.0]), closed=False),
        paint(tone("FFE9DA"), 0.30, stroke=1.2, blur=0.9),
    )
    if shape.round > 0.05:
        _draw_pursed_folds(canvas, tone, curves.half_width, shape.round)
    if smile > REST_SMILE:
        _draw_smile_folds(canvas, tone, min(0.34 * (smile - REST_SMILE), 0.34))
    spread = max(shape.wide, 0.0) + smile + 0.5 * shape.press
    if spread > 0.05:
        _draw_pulled_corners(canvas, tone, curves, min(0.26 * spread, 0.34))


def _draw_pursed_folds(
    canvas: skia.Canvas, tone: Tones, half_width: float, roundness: float
) -> None:
    """Pursed lips stand out and draw the skin above into folds."""
    for side in (-1, 1):
        fold = (
            (MOUTH[0] + side * (half_width + 2), MOUTH[1] - 12),
            (MOUTH[0] + side * (half_width + 6.5), MOUTH[1]),
            (MOUTH[0] + side * (half_width + 3), MOUTH[1] + 13),
        )
        shade = paint(tone("8E4A3A"), 0.30 * roundness, stroke=2.6, blur=2.2)
        canvas.drawPath(spline(fold), shade)


def _draw_smile_folds(canvas: skia.Canvas, tone: Tones, depth: float) -> None:
    """A smile deepens the folds between cheek and lips."""
    for side in (-1, 1):
        fold = (
            (MOUTH[0] + side * 16.5, 243.5),
            (MOUTH[0] + side * 29, 253),
            (MOUTH[0] + side * 39, 268),
        )
        canvas.drawPath(spline(fold), paint(tone("A05C48"), depth, stroke=2.2, blur=1.7))
        light = [(x + side * 3.4, y - 1.6) for x, y in fold]
        glow = paint(tone("FFE9DC"), 0.8 * depth, stroke=2.6, blur=2.0)
        canvas.drawPath(spline(light), glow)


def _draw_pulled_corners(canvas: skia.Canvas, tone: Tones, curves: Contours, depth: float) -> None:
    """Spread lips press a hollow into the cheek beside each corner."""
    for x, y, side in _corners(curves):
        hollow = ((x + side * 3.4, y - 6.5), (x + side * 5.6, y), (x + side * 4.0, y + 5.5))
        canvas.drawPath(spline(hollow), paint(tone("8E4A3A"), depth, stroke=2.0, blur=1.5))


def _corners(curves: Contours) -> list[tuple[float, float, int]]:
    """X and y of the left and of the right corner, and the side: -1, 1."""
    ends = ((curves.upper_inner[0], -1), (curves.upper_inner[-1], 1))
    return [(float(corner[0]), float(corner[1]), side) for corner, side in ends]


def _draw_flesh(
    canvas: skia.Canvas, tone: Tones, curves: Contours, upper: skia.Path, lower: skia.Path
) -> None:
    x = MOUTH[0]
    top, bottom = float(curves.upper_outer[20, 1]), float(curves.lower_outer[20, 1])
    upper_in, lower_in = float(curves.upper_inner[20, 1]), float(curves.lower_inner[20, 1])
    canvas.drawPath(upper, paint(tone("B45F57"), 0.35, blur=1.6))
    canvas.drawPath(lower, paint(tone("C07064"), 0.35, blur=1.8))
    upper_tones = tone.each(("D2847A", "C06862", "9E4C49"))
    shader = linear((x - 6, top), (x + 4, upper_in + 1), upper_tones, (0, 0.5, 1))
    canvas.drawPath(upper, paint(shader=shader, blur=0.4))
    lower_tones = tone.each(("B9635E", "D5887D", "DA9286", "BE7167"))
    shader = linear((x - 4, lower_in), (x + 5, bottom), lower_tones, (0, 0.28, 0.6, 1))
    canvas.drawPath(lower, paint(shader=shader, blur=0.4))


def _draw_modelling(
    canvas: skia.Canvas, tone: Tones, curves: Contours, upper: skia.Path, lower: skia.Path
) -> None:
    """Fine furrows and the wet light on the lips."""
    canvas.save()
    clip(canvas, lower)
    for i in range(-9, 10):
        k = 20 + i * 2
        a, b = curves.lower_inner[k], curves.lower_outer[k]
        lean = i * 0.25
        canvas.drawLine(
            float(a[0]), float(a[1]), float(b[0]) + lean, float(a[1] + 0.85 * (b[1] - a[1])),
            paint(tone("8C3E3C"), 0.16 + 0.05 * math.sin(i * 4.1), stroke=0.7, blur=0.4),
        )  # fmt: skip
    ridge = curves.lower_inner * 0.56 + curves.lower_outer * 0.44
    light = tone("FFE3D8")
    canvas.drawPath(_path(ridge[10:24], closed=False), paint(light, 0.55, stroke=2.3, blur=1.3))
    canvas.drawPath(_path(ridge[25:32], closed=False), paint(light, 0.28, stroke=1.8, blur=1.2))
    shine = ridge[13:19] - np.array([0.0, 0.5])
    canvas.drawPath(_path(shine, closed=False), paint(tone("FFFFFF"), 0.42, stroke=0.9, blur=0.5))
    edge = curves.lower_outer[3:38]
    canvas.drawPath(_path(edge, closed=False), paint(tone("8E4540"), 0.32, stroke=2.4, blur=1.4))
    if curves.gap > 1.0:
        canvas.drawPath(
            _path(curves.lower_inner[4:37], closed=False),
            paint(tone("6E2B2B"), 0.45, stroke=1.8, blur=0.9),
        )
    canvas.restore()
    canvas.save()
    clip(canvas, upper)
    crest = curves.upper_outer * 0.72 + curves.upper_inner * 0.28
    light = tone("F6BDB0")
    canvas.drawPath(_path(crest[9:17], closed=False), paint(light, 0.50, stroke=1.6, blur=1.0))
    canvas.drawPath(_path(crest[24:31], closed=False), paint(light, 0.30, stroke=1.4, blur=1.0))
    canvas.drawPath(
        _path(curves.upper_inner, closed=False), paint(tone("5E2424"), 0.42, stroke=3.0, blur=1.6)
    )
    canvas.restore()


def _draw_seam(canvas: skia.Canvas, tone: Tones, curves: Contours) -> None:
    """Draw the line between the lips, which goes as they part."""
    if curves.gap >= 6.0:
        return
    depth = (1 - curves.gap / 6.0) ** 0.5
    canvas.drawPath(
        _path(curves.upper_inner, closed=False),
        paint(tone("56201F"), 0.85 * depth, stroke=1.25, blur=0.35),
    )
    canvas.drawPath(
        _path(curves.upper_inner[8:33], closed=False),
        paint(tone("3D1414"), 0.45 * depth, stroke=1.8, blur=0.7),
    )


def _draw_corners(canvas: skia.Canvas, look: Look, curves: Contours, smile: float) -> None:
    for x, y, side in _corners(curves):
        line = ((x - side * 3.2, y + 0.2), (x, y), (x + side * 1.5, y - 1.1 - smile))
        canvas.drawPath(spline(line), paint(look.lips("6A2C29"), 0.62, stroke=1.35, blur=0.6))
        shade = paint(look.skin("8E4A3A"), 0.30, blur=1.8)
        canvas.drawCircle(x + side * 2.4, y + 0.4, 3.0, shade)
