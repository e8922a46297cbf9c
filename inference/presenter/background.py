"""The room behind: a bright studio, far out of focus."""

import numpy as np
import skia

from inference.presenter.look import Room
from inference.presenter.paint import SIDE, Rgba, linear, paint, radial, texture


def _rect(left: float, top: float, right: float, bottom: float) -> skia.Rect:
    return skia.Rect.MakeLTRB(left, top, right, bottom)


_EVERYWHERE = _rect(-60, -60, SIDE + 60, SIDE + 60)


def room(look: Room) -> Rgba:
    """Return a texture without transparency."""

    def draw(canvas: skia.Canvas) -> None:
        wall = paint(shader=linear((0, 0), (512, 512), look.wall, (0, 0.5, 1)))
        canvas.drawRect(_EVERYWHERE, wall)
        _draw_window(canvas, look)
        _draw_shelf(canvas, look)
        _draw_plant(canvas, look)
        canvas.drawRect(_rect(-60, 430, 600, 600), paint("6B5748", 0.42, blur=26))  # a table's edge
        _draw_lights(canvas, look)
        _draw_vignette(canvas)

    return texture(draw)


def _draw_window(canvas: skia.Canvas, look: Room) -> None:
    canvas.drawRect(_rect(-60, -40, 108, 330), paint(look.window, 0.95, blur=16))
    canvas.drawRect(_rect(50, -40, 58, 330), paint("C9C4BC", 0.6, blur=7))
    canvas.drawRect(_rect(-60, 140, 108, 147), paint("C9C4BC", 0.5, blur=7))
    canvas.drawRect(_rect(112, -60, 150, 400), paint(look.curtain, 0.8, blur=14))


def _draw_shelf(canvas: skia.Canvas, look: Room) -> None:
    canvas.drawRect(_rect(378, 60, 600, 74), paint(look.shelf[0], 0.75, blur=8))
    canvas.drawRect(_rect(378, 212, 600, 226), paint(look.shelf[1], 0.8, blur=8))
    random = np.random.default_rng(2)
    x = 388.0
    for tone in look.books:
        width = float(random.uniform(10, 20))
        tall = float(random.uniform(62, 100))
        canvas.drawRect(_rect(x, 212 - tall, x + width, 212), paint(tone, 0.75, blur=6))
        x += width + 1


def _draw_plant(canvas: skia.Canvas, look: Room) -> None:
    for angle in np.linspace(-1.2, 1.2, 9):
        tip = (70 + 74 * np.sin(angle), 380 - 120 * np.cos(angle) * 0.9)
        leaf = skia.PathBuilder()
        leaf.moveTo(70, 420)
        leaf.quadTo(70 + 60 * np.sin(angle - 0.25), 380 - 80 * np.cos(angle), *tip)
        leaf.quadTo(70 + 50 * np.sin(angle + 0.3), 390 - 60 * np.cos(angle), 70, 420)
        tone = look.leaves[0] if angle < 0.2 else look.leaves[1]
        canvas.drawPath(leaf.detach(), paint(tone, 0.55, blur=7))


def _draw_lights(canvas: skia.Canvas, look: Room) -> None:
    for x, y, radius, tone, alpha in (
        (452, 146, 46, look.lamp[0], 0.55), (452, 146, 18, look.lamp[1], 0.85),
        (350, 40, 13, "FFF1D6", 0.35),
        (404, 300, 17, "FFE3B8", 0.28), (486, 330, 24, "FFD9A2", 0.22),
        (130, 70, 12, "FFFFFF", 0.35),
    ):  # fmt: skip
        canvas.drawCircle(x, y, radius, paint(tone, alpha, blur=max(3.0, radius * 0.22)))


def _draw_vignette(canvas: skia.Canvas) -> None:
    """Keep the eye on the face."""
    dark = radial(
        (256, 220), 400, (("000000", 0.0), ("1B1512", 0.0), ("1B1512", 0.34)), (0, 0.55, 1)
    )
    canvas.drawRect(_EVERYWHERE, paint(shader=dark))
