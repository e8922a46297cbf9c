"""A short beard: hairs on the jaw, the chin and above the lip, thinner towards the cheeks."""

import numpy as np
import skia

from inference.engines.viseme.shape import MouthShape
from inference.presenter import lips
from inference.presenter.look import Beard, LipShape
from inference.presenter.paint import (
    MARGIN,
    SCALE,
    Field,
    coordinates,
    coverage,
    mix,
    paint,
    spline,
)

_HAIRS = 9_000

_LEFT_HALF = (
    (160, 196), (172, 206), (178, 230), (184, 252), (198, 268), (212, 270), (222, 259), (234, 252),
    (246, 251),
)  # fmt: skip
"""Its upper edge, from the ear to the nose."""


def draw(canvas: skia.Canvas, beard: Beard, mouth: LipShape) -> None:
    """Lay the beard over a face's texture."""
    where = _where()
    random = np.random.default_rng(31)
    shade = paint(beard.color, 0.50 * beard.density, blur=3.5)
    canvas.save()
    canvas.clipPath(_lips(mouth), skia.ClipOp.kDifference, True)
    canvas.drawPath(_outline(), shade)
    for _ in range(_HAIRS):
        x, y = random.uniform(158, 354), random.uniform(196, 336)
        amount = where[round((y + MARGIN) * SCALE), round((x + MARGIN) * SCALE)]
        if random.random() > amount:
            continue
        # They grow down and away from the middle.
        lean = (x - 256) / 90 + random.normal(0, 0.35)
        length = random.uniform(1.2, 2.6)
        tone = mix(
            beard.color, beard.shine, float(random.random() ** 2) * (0.9 if x < 270 else 0.6)
        )
        hair = paint(tone, 0.50 * beard.density * (0.5 + 0.5 * amount), stroke=0.55)
        canvas.drawLine(x, y, x + length * np.sin(lean), y + length * np.cos(lean), hair)
    canvas.restore()


def _outline() -> skia.Path:
    right = [(512 - x, y) for x, y in _LEFT_HALF[::-1]]
    below = ((360, 250), (350, 300), (310, 346), (256, 352), (202, 346), (162, 300), (152, 250))
    return spline((*_LEFT_HALF, *right, *below), closed=True, tension=0.7)


def _lips(mouth: LipShape) -> skia.Path:
    """The closed lips, and a little skin around them."""
    curves = lips.contours(mouth, MouthShape(), lips.REST_SMILE)
    upper = curves.upper_outer - np.array([0, 0.7])
    lower = curves.lower_outer + np.array([0, 0.8])
    return spline([(float(x), float(y)) for x, y in (*upper, *lower[-2:0:-1])], closed=True)


def _where() -> Field:
    """How dense it is, 0..1."""
    dense = coverage(_outline(), blur=4.0)
    x, y = coordinates()
    # bare beside the tuft under the lower lip
    for side in (-1, 1):
        bare = np.exp(-(((x - 256 - side * 17) / 8) ** 2) - ((y - 295) / 5) ** 2)
        dense = np.asarray(dense * (1 - 0.55 * bare), np.float32)
    philtrum = np.exp(-(((x - 256) / 3) ** 2) - ((y - 255) / 6) ** 2)
    return np.asarray(dense * (1 - 0.5 * philtrum), np.float32)
