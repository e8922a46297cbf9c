"""Eyes, lids, lashes and brows, drawn for each picture.

An eye is a window in the skin through which the eyeball is seen. A blink lowers the window's upper
edge, the lid's margin, along the ball: the margin keeps its thickness, the lashes turn from up to
down with it, and the crease above smooths out as the lid's skin is drawn over the ball.
"""

import math
from dataclasses import dataclass

import numpy as np
import skia

from inference.presenter.look import EyeLook, Look
from inference.presenter.paint import clip, mix, oval, paint, radial, spline
from inference.presenter.places import EYE_LEFT, EYE_RIGHT, Point
from inference.presenter.tones import Tones

HALF_WIDTH = 18.0
_TILT = -2.0
"""Degrees; the outer corner is higher."""
IRIS_RADIUS = 8.3

# Height of the lid margins above (-) and below (+) the eye's axis, from the inner to the outer
# corner: positions along the axis in -1 (inner) .. 1 (outer).
_ALONG = (-1.0, -0.72, -0.38, 0.0, 0.38, 0.72, 1.0)
_UPPER_OPEN = (2.6, -3.0, -6.8, -8.3, -7.9, -4.8, 0.0)
_LOWER = (2.6, 4.6, 5.9, 6.5, 6.2, 4.4, 0.2)
_CLOSED = (2.6, 4.0, 5.3, 6.0, 5.6, 4.0, 0.4)


@dataclass(frozen=True, slots=True)
class Gaze:
    """Where the eyes look: -1..1 to the viewer's right and down."""

    x: float = 0.0
    y: float = 0.0


def draw_eyes(
    canvas: skia.Canvas,
    look: Look,
    *,
    blink: float,
    gaze: Gaze,
    squint: float = 0.0,
    wide: float = 0.0,
) -> None:
    """Both eyes. ``blink`` 0 open .. 1 shut; ``squint`` raises the lower lids, as smiling does."""
    for side, center in ((-1, EYE_LEFT), (1, EYE_RIGHT)):
        canvas.save()
        canvas.translate(*center)
        canvas.scale(side, 1)  # from here on, +x points to the temple
        canvas.rotate(_TILT)
        # the two eyes of a face never shut at quite the same height
        shut = min(1.0, blink * (1.0 if side < 0 else 0.985))
        _draw_eye(canvas, look, shut, Gaze(gaze.x * side, gaze.y), squint, wide, side)
        canvas.restore()


def open_lids(eyes: EyeLook) -> list[tuple[list[Point], list[Point]]]:
    """The edges of the upper and of the lower lid of each open eye, canonical pixels."""
    upper, lower = _lids(0.0, Gaze(), 0.0, 0.0, eyes.opened)
    return [(_placed(upper, side), _placed(lower, side)) for side in (-1, 1)]


def corners() -> tuple[Point, Point]:
    """The outer corners of both eyes, the left one first, canonical pixels."""
    left, right = (_placed([(HALF_WIDTH, 0.0)], side)[0] for side in (-1, 1))
    return left, right


def _placed(points: list[Point], side: int) -> list[Point]:
    """From an eye's own coordinates, as `draw_eyes` sets them."""
    center = EYE_LEFT if side < 0 else EYE_RIGHT
    cos, sin = math.cos(math.radians(_TILT)), math.sin(math.radians(_TILT))
    return [
        (center[0] + side * (x * cos - y * sin), center[1] + x * sin + y * cos) for x, y in points
    ]


def _lids(
    shut: float, gaze: Gaze, squint: float, wide: float, how_open: float
) -> tuple[list[Point], list[Point]]:
    follow = 2.4 * max(gaze.y, 0.0) + 1.4 * min(gaze.y, 0.0)  # the lid goes with the eye
    upper, lower = [], []
    for at, top, low, closed in zip(_ALONG, _UPPER_OPEN, _LOWER, _CLOSED, strict=True):
        bow = 1 - at * at
        up = top - 8.0 * (how_open - 1) * bow
        opened = up + (follow - 1.5 * wide + 1.0 * squint) * bow
        raised = low - (2.0 * squint + 0.8 * shut) * bow
        upper.append((at * HALF_WIDTH, opened + (min(closed, raised) - opened) * shut))
        lower.append((at * HALF_WIDTH, raised))
    return upper, lower


def _draw_eye(
    canvas: skia.Canvas,
    look: Look,
    shut: float,
    gaze: Gaze,
    squint: float,
    wide: float,
    side: int,
) -> None:
    upper, lower = _lids(shut, gaze, squint, wide, look.eyes.opened)
    tone = look.skin
    _draw_lid_skin(canvas, tone, upper, shut)
    if shut < 0.93:
        window = spline([*upper, *lower[-2:0:-1]], closed=True, tension=0.85)
        canvas.save()
        clip(canvas, window)
        _draw_ball(canvas, look.eyes, gaze, upper, side)
        canvas.restore()
        # wet edge of the lower lid
        rim = [(x, y + 0.35) for x, y in lower[1:-1]]
        canvas.drawPath(spline(rim), paint(tone("F3C3B2"), 0.55 * (1 - shut), stroke=0.9, blur=0.3))
        canvas.drawOval(
            oval(-16.2, 3.0, 2.2, 1.5), paint(tone("D98F82"), 0.75 * (1 - shut), blur=0.5)
        )
    _draw_margin(canvas, look, upper, lower, shut)
    _draw_lower_lashes(canvas, lower, look.eyes.lashes)
    _draw_upper_lashes(canvas, upper, shut, look.eyes.lashes)


def _draw_lid_skin(canvas: skia.Canvas, tone: Tones, upper: list[Point], shut: float) -> None:
    opened = 1 - shut
    crease = [
        (x * 1.02 + 0.4, y_open * 1.22 - 3.4 + 2.6 * shut * (1 - (x / HALF_WIDTH) ** 2))
        for (x, _), y_open in zip(upper[1:], _UPPER_OPEN[1:], strict=True)
    ]
    lid = spline([*crease, *upper[::-1]], closed=True, tension=0.8)
    canvas.drawPath(lid, paint(tone("B9735C"), 0.34 * opened + 0.10, blur=1.6))
    if shut > 0.05:
        # the ball bulges under the lowered lid
        canvas.save()
        shape = spline([*[(x, y - 1.0) for x, y in crease], *upper[::-1]], closed=True, tension=0.8)
        clip(canvas, shape)
        canvas.drawPath(
            shape,
            paint(
                shader=radial(
                    (-3, -3),
                    20,
                    tuple((code, shut) for code in tone.each(("F7D3BD", "EDBEA2", "D59B80"))),
                    (0.0, 0.55, 1.0),
                )
            ),
        )
        canvas.restore()
    fold = paint(tone("8C4F3D"), 0.62 - 0.30 * shut, stroke=1.25, blur=0.45)
    canvas.drawPath(spline(crease), fold)
    outer = [(x, y - 1.6) for x, y in crease[2:]]
    canvas.drawPath(spline(outer), paint(tone("8C4F3D"), 0.20, stroke=3.0, blur=1.8))


def _draw_ball(
    canvas: skia.Canvas, eyes: EyeLook, gaze: Gaze, upper: list[Point], side: int
) -> None:
    white = radial((-1, 1.5), 21, ("FBF6F3", "EEE6E4", "CDBDBB", "A58C8B"), (0, 0.5, 0.8, 1))
    canvas.drawRect(oval(0, 0, 24, 16), paint(shader=white))
    x, y = gaze.x * 5.4, gaze.y * 3.6 - 1.2
    _draw_iris(canvas, eyes, x, y, side)
    # the upper lid and its lashes shade the ball
    shadow = [*[(px, py - 8) for px, py in upper], *[(px, py + 3.0) for px, py in upper[::-1]]]
    canvas.drawPath(spline(shadow, closed=True, tension=0.6), paint("2A1512", 0.62, blur=1.7))
    canvas.drawOval(oval(-17, 3, 4, 4), paint("C97B70", 0.5, blur=1.6))
    canvas.drawOval(oval(17.5, 1, 4, 5), paint("7A4A42", 0.45, blur=1.8))
    # catchlights: the window, upper left for both eyes, and its glow through the iris
    canvas.drawOval(oval(x - side * 2.7, y - 3.1, 2.0, 2.25), paint("FFFFFF", 0.96, blur=0.25))
    canvas.drawOval(oval(x + side * 2.6, y + 3.4, 2.5, 1.6), paint("F6E7B4", 0.42, blur=0.9))
    canvas.drawCircle(x + side * 3.0, y - 0.4, 0.7, paint("FFFFFF", 0.6, blur=0.2))


def _draw_iris(canvas: skia.Canvas, eyes: EyeLook, x: float, y: float, side: int) -> None:
    canvas.drawCircle(x, y, IRIS_RADIUS + 0.5, paint("2B211C", 0.92, blur=0.55))
    center = (x + 0.6 * side, y + 2.4)
    shader = radial(center, IRIS_RADIUS * 1.08, eyes.iris, (0.0, 0.40, 0.74, 1.0))
    canvas.drawCircle(x, y, IRIS_RADIUS, paint(shader=shader))
    for ray in range(34):
        angle = ray * math.tau / 34 + 0.11 * math.sin(ray * 2.7)
        inner, outer = 3.6, IRIS_RADIUS * (0.80 + 0.12 * math.sin(ray * 1.9))
        tone = eyes.rays[0] if ray % 3 else eyes.rays[1]
        canvas.drawLine(
            x + inner * math.cos(angle), y + inner * math.sin(angle),
            x + outer * math.cos(angle), y + outer * math.sin(angle),
            paint(tone, 0.20 if ray % 3 else 0.28, stroke=0.55),
        )  # fmt: skip
    canvas.drawCircle(x, y, 3.7, paint("0B0807", blur=0.35))


def _draw_margin(
    canvas: skia.Canvas, look: Look, upper: list[Point], lower: list[Point], shut: float
) -> None:
    """Draw the dark line of the upper lashes' roots: thickest a little outside the middle."""
    tone, wide = look.skin, look.eyes.margin
    thick = [wide * part for part in (0.5, 1.5, 2.2, 2.6, 2.9, 2.5, 0.7)]
    above = [(x, y - t) for (x, y), t in zip(upper, thick, strict=True)]
    below = [(x, y + 0.35) for x, y in upper]
    tail = (HALF_WIDTH + 2.6 * wide, upper[-1][1] + (2.2 * shut - 1.6) * wide)
    line = spline([*above[:-1], tail, *below[::-1]], closed=True, tension=0.8)
    canvas.drawPath(line, paint("25130F", 0.94, blur=0.35))
    canvas.drawPath(spline(lower[1:]), paint(tone("7A4538"), 0.42, stroke=0.9, blur=0.45))
    pouch = [(x, y + 4.6) for x, y in lower[1:-1]]
    canvas.drawPath(spline(pouch), paint(tone("96594A"), 0.24, stroke=1.6, blur=1.2))


def _between(points: list[Point], at: float) -> Point:
    xs = np.linspace(0, 1, len(points))
    return (
        float(np.interp(at, xs, [p[0] for p in points])),
        float(np.interp(at, xs, [p[1] for p in points])),
    )


def _draw_upper_lashes(canvas: skia.Canvas, upper: list[Point], shut: float, long: float) -> None:
    # Short ones are no longer told apart where the lids meet: one by one they would be dots.
    seen = 0.74 * (1 - max(1 - long, 0.0) * (0.45 + 0.55 * shut))
    soft = 0.5 * max(1 - long, 0.0)
    for i in range(21):
        at = 0.12 + 0.87 * i / 20
        x, y = _between(upper, at)
        length = long * (1.9 + 3.5 * at) * (1 + 0.12 * math.sin(i * 2.4)) * (1 - 0.12 * shut)
        lean = -0.5 + 1.35 * at + 0.05 * math.sin(i * 1.7)
        rise = math.cos(math.pi * min(shut, 1.0) * 0.86)  # up, forward (seen short), down
        end = (x + length * math.sin(lean), y - 1.2 * long - length * rise * math.cos(lean) * 0.82)
        bend = (x + 0.25 * (end[0] - x), y - 1.0 + 0.62 * (end[1] - y))
        hair = paint("1E0F0C", seen, stroke=0.7, blur=soft)
        canvas.drawPath(spline(((x, y - 0.4), bend, end)), hair)


def _draw_lower_lashes(canvas: skia.Canvas, lower: list[Point], long: float) -> None:
    for i in range(11):
        at = 0.34 + 0.62 * i / 10
        x, y = _between(lower, at)
        length = long * (1.3 + 0.9 * at)
        lean = -0.3 + 1.1 * at
        canvas.drawLine(
            x, y + 0.7, x + length * math.sin(lean), y + 0.7 + length * math.cos(lean),
            paint("4A2A22", 0.26, stroke=0.5),
        )  # fmt: skip


def draw_brows(
    canvas: skia.Canvas, eyes: EyeLook, *, raised: float, frown: float = 0.0, skew: float = 0.0
) -> None:
    """Both brows, hair by hair. ``skew`` raises the viewer's left one more than the other."""
    for side, center in ((-1, EYE_LEFT), (1, EYE_RIGHT)):
        lift = raised * 5.2 + (skew if side < 0 else -0.6 * skew) * 3.0
        canvas.save()
        across, down = center[0] - side * frown * 2.2, center[1] - (0.9 if side < 0 else 0.0)
        canvas.translate(across, down + eyes.brow_drop)
        canvas.scale(side, 1)
        _draw_brow(canvas, eyes, lift, frown)
        canvas.restore()


def _draw_brow(canvas: skia.Canvas, eyes: EyeLook, lift: float, frown: float) -> None:
    # spine of the brow from the nose to the temple, and its half thickness
    xs = (-21.5, -14.0, -4.0, 6.0, 15.0, 23.0, 28.0)
    bow = (-20.6, -23.0, -25.2, -26.8, -26.4, -23.0, -18.8)
    ys = [-23.4 + (y + 23.4) * eyes.brow_arch for y in bow]
    half = [eyes.brow_thickness * part for part in (1.4, 2.7, 3.0, 2.7, 2.1, 1.2, 0.3)]
    under, dark, light = eyes.brow_tones
    arch = (0.75, 0.9, 1.0, 1.1, 1.1, 0.85, 0.6)
    inner = (1.0, 0.8, 0.4, 0.1, 0.0, 0.0, 0.0)
    spine = [
        (x, y - lift * a + frown * i * 3.4) for x, y, a, i in zip(xs, ys, arch, inner, strict=True)
    ]
    body = [(x, y - h) for (x, y), h in zip(spine, half, strict=True)]
    body += [(x, y + h) for (x, y), h in zip(spine, half, strict=True)][::-1]
    canvas.drawPath(spline(body, closed=True, tension=0.8), paint(under, 0.46, blur=1.3))
    rows = 4
    for i in range(46):
        at = i / 45
        x, y = _between(spine, at)
        thickness = float(np.interp(at, np.linspace(0, 1, 7), half))
        for row in range(rows):
            off = (row / (rows - 1) - 0.5) * 1.7 * thickness
            jitter = math.sin(i * 12.9 + row * 7.7)
            lean = 0.35 + 1.15 * at + 0.22 * jitter + (0.25 * row / rows if at > 0.4 else 0.0)
            length = (3.2 + 0.9 * jitter) * (1 - 0.35 * at)
            rise = math.cos(lean) * (1.0 if at < 0.75 else 0.2) * length
            start = (x + 0.7 * jitter, y + off + 0.8)
            end = (start[0] + math.sin(lean) * length, start[1] - rise + (at - 0.45) * 2.0)
            tone = mix(dark, light, 0.5 + 0.5 * math.sin(i * 5.1 + row * 3.3))
            canvas.drawLine(*start, *end, paint(tone, min(0.62, 0.16 + 3.2 * at), stroke=0.7))
