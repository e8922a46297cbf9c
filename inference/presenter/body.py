"""Shoulders and clothes: a top under an open jacket, modelled like the skin."""

import numpy as np
import skia
from numpy.typing import NDArray

from inference.presenter import relief
from inference.presenter.look import Clothes
from inference.presenter.paint import (
    Field,
    Rgba,
    clip,
    coverage,
    linear,
    paint,
    put,
    spline,
    texture,
    with_alpha,
)
from inference.presenter.tones import Stops, Tones


def cloth(height: Field, stops: Stops, weave: float) -> NDArray[np.float32]:
    """Lit fabric, colors 0..1; ``weave`` is the grain of the threads."""
    random = np.random.default_rng(7)
    grain = random.normal(0, 1, height.shape).astype(np.float32)
    normal = relief.normals(relief.soften(height, 0.7))
    light = 0.10 + 0.56 * relief.lit(normal, relief.KEY, 0.2)
    light += 0.16 * relief.lit(normal, relief.FILL, 0.1) + 0.22 * relief.glint(
        normal, relief.RIM, 9
    )
    light -= 0.02 * np.clip(relief.soften(height, 6) - height, 0, 6)
    light += weave * relief.soften(grain, 0.45)
    return relief.ramp(np.asarray(light, np.float32), stops)


def fold(x: float, y: float, length: float, width: float, height: float, turn: float) -> Field:
    """Return a fold: a ridge with a hollow beside it."""
    away = width * 1.7
    return np.asarray(
        relief.hill(x, y, length, width, height, turn)
        - relief.hill(
            x - away * np.sin(turn), y + away * np.cos(turn), length, width, 0.8 * height, turn
        ),
        np.float32,
    )


SHOULDERS = (
    (30, 580), (38, 500), (56, 448), (92, 418), (140, 402), (176, 388), (196, 372), (214, 392),
    (256, 440), (300, 392), (317, 371), (338, 387), (374, 401), (420, 416), (458, 447),
    (476, 500), (484, 580),
)  # fmt: skip


def _on_body() -> skia.Path:
    """Shoulders and neck: shadows of the clothes fall there, and not on the room behind."""
    neck = (
        (205, 300), (307, 300), (307, 352), (316, 368), (320, 380),
        (193, 380), (197, 368), (205, 352),
    )  # fmt: skip
    return skia.Op(
        spline(SHOULDERS, closed=True, tension=0.8),
        spline(neck, closed=True, tension=0.0),
        skia.PathOp.kUnion_PathOp,
    )


def _in_collar() -> skia.Path:
    """The same, and all that the collar leaves free: the ends of the neckline are beneath it."""
    free = ((193, 372), (320, 372), (320, 470), (193, 470))
    return skia.Op(_on_body(), spline(free, closed=True, tension=0.0), skia.PathOp.kUnion_PathOp)


def _height() -> Field:
    height = relief.dome(256, 620, 258, 256, 92) + relief.dome(112, 520, 96, 124, 26)
    height = height + relief.dome(402, 520, 96, 124, 26)
    height = relief.soften(height, 8)
    for args in (
        (96, 470, 34, 4.0, 4.2, 1.25), (118, 500, 30, 5.0, 4.6, 1.02),
        (74, 505, 26, 4.0, 3.4, 1.42),
        (150, 470, 36, 5.0, 3.0, 0.55), (410, 472, 36, 4.4, 4.4, -1.22),
        (392, 505, 30, 5.0, 4.4, -0.98),
        (440, 500, 26, 4.0, 3.4, -1.45), (356, 466, 34, 5.0, 2.8, -0.52),
        (136, 420, 30, 3.4, 1.8, -0.22),
        (372, 420, 30, 3.4, 1.8, 0.24),
    ):  # fmt: skip
        height = height + fold(*args)
    return np.asarray(height, np.float32)


def jacket(clothes: Clothes) -> Rgba:
    """The jacket over the top; the neck is behind them, the skin of the neckline between."""
    height = _height()
    shoulders = spline(SHOULDERS, closed=True, tension=0.8)
    fabric = with_alpha(cloth(height, clothes.jacket.own, 0.005), coverage(shoulders))
    return texture(lambda canvas: _paint_jacket(canvas, clothes.jacket, fabric, shoulders))


def top(clothes: Clothes) -> Rgba:
    """What is worn under the jacket, without a collar."""
    neckline = clothes.neckline
    shape = spline(
        (*neckline, (322, 400), (330, 580), (186, 580), (191, 402)), closed=True, tension=0.7
    )
    height = relief.dome(256, 560, 130, 190, 60)
    for args in (
        (232, 462, 40, 4.0, 3.2, 1.05), (246, 480, 44, 3.6, 2.6, 1.28),
        (280, 466, 40, 4.0, 3.0, -1.08),
        (268, 492, 44, 3.6, 2.4, -1.36), (240, 505, 30, 4.0, 2.6, 0.9),
    ):  # fmt: skip
        height = height + fold(*args)
    fabric = with_alpha(cloth(np.asarray(height, np.float32), clothes.top, 0.003), coverage(shape))

    def draw(canvas: skia.Canvas) -> None:
        cast = spline(tuple((px, py - 2.5) for px, py in neckline))
        canvas.save()
        clip(canvas, _on_body())
        canvas.drawPath(cast, paint("6E3326", 0.40, stroke=5, blur=2.4))
        canvas.restore()
        canvas.save()
        clip(canvas, _in_collar())
        put(canvas, fabric)
        clip(canvas, shape)
        hem = spline(tuple((px, py + 1.4) for px, py in neckline))
        canvas.drawPath(hem, paint("FFFFFF", 0.75, stroke=1.6, blur=0.5))
        seam = spline(tuple((px, py + 5.0) for px, py in neckline))
        canvas.drawPath(seam, paint("A8978A", 0.55, stroke=0.9, blur=0.5))
        canvas.restore()

    return texture(draw)


def _paint_jacket(canvas: skia.Canvas, tone: Tones, fabric: Rgba, shoulders: skia.Path) -> None:
    opening = spline(
        ((186, 366), (196, 400), (214, 450), (238, 510), (252, 580), (264, 580), (276, 510),
         (298, 450), (318, 398), (327, 366)), closed=True, tension=0.6,
    )  # fmt: skip
    canvas.save()
    canvas.clipPath(opening, skia.ClipOp.kDifference, True)
    put(canvas, fabric)
    canvas.restore()
    canvas.save()
    clip(canvas, shoulders)
    for side in (-1, 1):
        # sleeves are set in: a seam, and the arm beside the body in shade
        seam = [(256 + side * dx, y) for dx, y in ((122, 398), (136, 424), (134, 464), (120, 520))]
        canvas.drawPath(spline(seam), paint(tone("03131A"), 0.60, stroke=1.4, blur=0.7))
        inner = [(x - side * 4, y + 2) for x, y in seam]
        canvas.drawPath(spline(inner), paint(tone("03131A"), 0.26, stroke=9, blur=5))
        outer = [(x + side * 2.2, y) for x, y in seam]
        canvas.drawPath(spline(outer), paint(tone("8FC4C8"), 0.28, stroke=1.4, blur=0.9))
    edge = spline(SHOULDERS[1:7])
    canvas.drawPath(edge, paint(tone("CDE9E6"), 0.50, stroke=3.0, blur=1.8))
    edge = spline(SHOULDERS[10:16])
    canvas.drawPath(edge, paint("FFE2B4", 0.34, stroke=2.6, blur=1.8))
    # the head's shadow on the shoulder
    canvas.drawOval(skia.Rect.MakeLTRB(118, 384, 190, 410), paint("02090C", 0.45, blur=7))
    canvas.restore()
    # the jacket's shadow on the blouse
    canvas.save()
    clip(canvas, _in_collar())
    clip(canvas, opening)
    for line in (
        ((189, 372), (199, 402), (217, 452), (241, 512), (254, 580)),
        ((326, 370), (317, 400), (297, 452), (275, 512), (262, 580)),
    ):
        canvas.drawPath(spline(line), paint("2B1B16", 0.55, stroke=9, blur=4.5))
    canvas.restore()
    for side in (-1, 1):
        canvas.save()
        if side > 0:
            canvas.translate(513, -0.8)
            canvas.scale(-1, 1)
        _paint_lapel(canvas, tone, lit=side < 0)
        canvas.restore()


def _paint_lapel(canvas: skia.Canvas, tone: Tones, *, lit: bool) -> None:
    lapel = spline(
        ((192, 372), (176, 386), (160, 404), (154, 424), (160, 437), (178, 432), (172, 446),
         (196, 496), (236, 566), (252, 580), (251, 566), (236, 508), (214, 452), (199, 404)),
        closed=True, tension=0.35,
    )  # fmt: skip
    canvas.save()
    clip(canvas, _on_body())
    canvas.drawPath(lapel, paint("020708", 0.55, blur=5))
    canvas.restore()
    tones = ("4E8B95", "2A5C68", "173E49") if lit else ("2F626E", "1E4B57", "0F2E37")
    shader = linear((160, 396), (236, 520), tone.each(tones), (0, 0.45, 1))
    canvas.drawPath(lapel, paint(shader=shader))
    canvas.save()
    clip(canvas, lapel)
    # collar and lapel meet in the gorge seam
    canvas.drawPath(
        spline(((178, 433), (190, 424), (206, 420))),
        paint(tone("04161B"), 0.75, stroke=1.3, blur=0.4),
    )
    canvas.drawPath(
        spline(((178, 431.6), (190, 422.6), (206, 418.6))),
        paint(tone("8FC0C4"), 0.30, stroke=0.8, blur=0.4),
    )
    edge = ((192, 372), (199, 404), (214, 452), (236, 508), (252, 572))
    light = tone("A8D2D2" if lit else "5F99A2")
    canvas.drawPath(spline(edge), paint(light, 0.55, stroke=2.0, blur=0.9))
    fold = ((176, 388), (166, 408), (158, 424))
    crease = paint(tone("8FC4C8"), 0.35 if lit else 0.15, stroke=2.4, blur=1.4)
    canvas.drawPath(spline(fold), crease)
    stitch = ((174, 449), (197, 497), (235, 563))
    canvas.drawPath(spline(stitch, tension=0.4), paint(tone("04161B"), 0.5, stroke=2.2, blur=1.4))
    canvas.restore()
    outline = ((154, 424), (160, 437), (178, 432), (172, 446), (196, 496), (236, 566))
    rim = paint(tone("7FB4BA"), 0.42 if lit else 0.22, stroke=0.9, blur=0.35)
    canvas.drawPath(spline(outline, tension=0.35), rim)
