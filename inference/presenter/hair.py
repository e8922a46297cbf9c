"""Hair, strand by strand, in three layers that move by their own depths when the head turns.

A lock is the space between two guide curves; its strands run between them, each with a tone, a
place in the light and a little will of its own.
"""

from dataclasses import dataclass

import numpy as np
import skia
from numpy.typing import NDArray

from inference.presenter import relief
from inference.presenter.look import HairLook
from inference.presenter.paint import (
    Field,
    Rgba,
    coordinates,
    coverage,
    linear,
    mix,
    paint,
    spline,
    texture,
    with_alpha,
)
from inference.presenter.places import Point


@dataclass(frozen=True, slots=True)
class Lock:
    """Hair between the guides ``first`` and ``last``, both with the same number of points."""

    first: tuple[Point, ...]
    last: tuple[Point, ...]
    strands: int
    seed: int
    """Of what is left to chance."""
    light: float = 0.5
    """How much light falls on it, 0..1."""
    shine: float = 0.6
    band: float = 0.32
    """Where along the strand the highlight is, 0 root .. 1 tip."""
    spread: float = 1.2
    """How far strands leave their place, canonical pixels; more towards the tip."""


def _draw(canvas: skia.Canvas, hair: HairLook, lock: Lock) -> None:
    dark, middle, _, _ = hair.tones
    random = np.random.default_rng(lock.seed)
    first, last = np.array(lock.first), np.array(lock.last)
    body = [(float(x), float(y)) for x, y in first] + [(float(x), float(y)) for x, y in last[::-1]]
    canvas.drawPath(
        spline(body, closed=True, tension=0.75),
        paint(mix(dark, middle, 0.25 + 0.4 * lock.light), blur=1.0),
    )
    for _ in range(lock.strands):
        at = random.random()
        points = _strand(first * (1 - at) + last * at, lock.spread, random)
        shader = _light_along(points[0], points[-1], hair, lock, at, random)
        width = float(random.uniform(0.5, 1.25))
        canvas.drawPath(spline(points), paint(stroke=width, shader=shader, alpha=0.8))


def _strand(guide: NDArray[np.float64], spread: float, random: np.random.Generator) -> list[Point]:
    """Return a strand that follows ``guide``, ``[n, 2]`` from the root, less and less closely."""
    steps = np.linspace(0, 1, len(guide))[:, None]
    points = guide + random.normal(0, spread, (1, 2)) * (0.25 + steps)
    points = points + random.normal(0, 0.35 * spread, points.shape) * steps
    # ends are never cut to one length
    points[-1] += (points[-2] - points[-1]) * float(random.uniform(0, 0.85))
    return [(float(x), float(y)) for x, y in points]


def _light_along(
    root: Point, tip: Point, hair: HairLook, lock: Lock, at: float, random: np.random.Generator
) -> skia.Shader:
    """Return the tones of the strand ``at`` 0..1 across the lock, with its highlight."""
    dark, middle, light, shine = hair.tones
    # clumps: strands of neighboring places share their tone
    clump = 0.5 + 0.5 * np.sin(at * 33 + lock.seed) * np.cos(at * 13 + 2 * lock.seed)
    tone = float(np.clip(lock.light * 0.75 + 0.42 * (clump - 0.5) + random.normal(0, 0.13), 0, 1))
    base = (
        mix(dark, middle, min(1, 1.5 * tone))
        if tone < 0.6
        else mix(middle, light, 2.2 * (tone - 0.6))
    )
    band = float(np.clip(lock.band + random.normal(0, 0.05) + 0.06 * np.sin(at * 19), 0.12, 0.85))
    gleam = float(np.clip(lock.shine * (0.25 + 0.75 * tone) * (0.55 + 0.6 * clump), 0, 0.85))
    return linear(
        root,
        tip,
        (mix(base, dark, 0.45), base, mix(base, shine, gleam), base, mix(base, dark, 0.35)),
        (0.0, max(band - 0.16, 0.02), band, min(band + 0.2, 0.97), 1.0),
    )


def _flyaways(
    canvas: skia.Canvas, tone: str, curves: tuple[tuple[Point, ...], ...], seed: int
) -> None:
    random = np.random.default_rng(seed)
    for curve in curves:
        for _ in range(5):
            points = np.array(curve) + random.normal(0, 1.5, (len(curve), 2))
            path = spline([(float(x), float(y)) for x, y in points])
            canvas.drawPath(path, paint(tone, 0.42, stroke=0.45))


_BACK = (
    Lock(
        ((262, 90), (300, 160), (306, 240), (304, 300), (308, 350), (320, 400), (330, 440)),
        ((290, 62), (346, 84), (366, 160), (371, 240), (378, 318), (386, 378), (376, 428)),
        620, light=0.20, shine=0.16, band=0.6, spread=2.2, seed=3,
    ),
    Lock(
        ((236, 62), (170, 82), (147.5, 160), (146, 236), (136, 318), (126, 378), (134, 428)),
        ((250, 90), (214, 160), (206, 240), (208, 300), (206, 350), (196, 400), (186, 440)),
        620, light=0.30, shine=0.30, band=0.62, spread=2.2, seed=4,
    ),
    Lock(
        ((160, 170), (154, 232), (148, 290), (150, 340), (134, 384), (142, 430)),
        ((176, 190), (180, 240), (188, 290), (184, 340), (180, 386), (164, 432)),
        320, light=0.52, shine=0.55, band=0.50, spread=2.0, seed=5,
    ),
)  # fmt: skip
"""Right, left, and a wave over the left one."""


def back(hair: HairLook) -> Rgba:
    """Return what hangs behind neck and shoulders."""

    def draw(canvas: skia.Canvas) -> None:
        canvas.drawPath(
            spline(((256, 70), (190, 80), (160, 170), (156, 300), (150, 400), (256, 430),
                    (362, 400), (356, 300), (352, 170), (322, 80)), closed=True), paint("170C08"),
        )  # fmt: skip
        for lock in _BACK:
            _draw(canvas, hair, lock)
        canvas.drawPath(
            spline(
                ((212, 250), (206, 320), (204, 400), (308, 400), (306, 320), (300, 250)),
                closed=True,
            ),
            paint("0E0705", 0.6, blur=9),
        )

    return texture(draw)


_SWEPT = (
    Lock(
        ((291, 45), (240, 41), (187, 60), (157, 104), (150, 156), (158, 216)),
        ((287, 68), (244, 64), (204, 82), (176, 116), (160, 160), (158, 212)),
        620, light=0.62, shine=0.85, band=0.34, seed=11,
    ),
    Lock(
        ((286, 72), (246, 64), (206, 80), (176, 114), (160, 158), (158, 206)),
        ((281, 97), (252, 99), (218, 112), (190, 140), (176, 172), (168, 200)),
        620, light=0.70, shine=0.85, band=0.38, seed=12,
    ),
    Lock(
        ((282, 92), (254, 92), (220, 106), (192, 134), (175, 168), (166, 198)),
        ((281, 99), (254, 102), (221, 117), (194, 145), (179, 176), (169, 200)),
        150, light=0.50, shine=0.65, band=0.42, spread=0.9, seed=13,
    ),
    Lock(
        ((196, 132), (182, 154), (171, 174), (163, 190), (158, 206)),
        ((200, 136), (188, 158), (178, 176), (168, 190), (160, 208)),
        90, light=0.55, shine=0.6, band=0.35, spread=0.8, seed=15,
    ),
)  # fmt: skip
"""The crown, what is swept from the parting, its edge, and what covers the ear."""


def swept(hair: HairLook) -> Rgba:
    """From the parting over the forehead to behind the ear on the viewer's left."""

    def draw(canvas: skia.Canvas) -> None:
        # no light comes through between the locks
        under = (
            (291, 49), (240, 46), (190, 65), (161, 107), (154, 160), (161, 206), (171, 198),
            (182, 160), (208, 120), (246, 101), (283, 95),
        )  # fmt: skip
        canvas.drawPath(spline(under, closed=True, tension=0.7), paint(hair.tones[0], blur=0.8))
        for lock in _SWEPT:
            _draw(canvas, hair, lock)
        _flyaways(
            canvas,
            hair.tones[2],
            (
                ((280, 56), (234, 44), (184, 58), (153, 102), (146, 158)),
                ((281, 98), (250, 104), (220, 120), (198, 148), (184, 178)),
            ),
            14,
        )

    return texture(draw)


_FALLING = (
    Lock(
        ((283, 45), (328, 50), (357, 86), (368, 146), (371, 208), (378, 268), (384, 326),
         (374, 384), (352, 440)),
        ((285, 70), (320, 75), (344, 108), (353, 156), (357, 214), (361, 270), (362, 326),
         (350, 380), (340, 430)),
        640, light=0.50, shine=0.70, band=0.24, spread=1.7, seed=21,
    ),
    Lock(
        ((285, 70), (320, 74), (344, 106), (353, 154), (357, 212), (361, 268), (362, 326),
         (351, 380), (343, 432)),
        ((282, 96), (306, 103), (326, 130), (336, 170), (340, 214), (343, 262), (338, 314),
         (326, 362), (334, 414)),
        640, light=0.62, shine=0.80, band=0.28, spread=1.6, seed=22,
    ),
    Lock(
        ((330, 132), (342, 180), (346, 232), (344, 282), (333, 330), (324, 372), (331, 410)),
        ((332, 140), (346, 184), (352, 236), (352, 286), (343, 334), (336, 374), (344, 414)),
        170, light=0.72, shine=0.78, band=0.46, spread=1.0, seed=23,
    ),
)  # fmt: skip
"""The outer and the inner lock, and a curl."""


def falling(hair: HairLook) -> Rgba:
    """From the parting down past the cheek to the shoulder on the viewer's right."""

    def draw(canvas: skia.Canvas) -> None:
        shadow = spline(
            ((330, 330), (318, 370), (322, 416), (338, 442), (354, 436), (366, 400), (366, 340)),
            closed=True,
        )
        canvas.drawPath(shadow, paint("0B0B0C", 0.42, blur=5))
        root = spline(((287, 50), (286, 72), (284, 93)))
        canvas.drawPath(root, paint(hair.tones[0], stroke=8, blur=1.2))
        for lock in _FALLING:
            _draw(canvas, hair, lock)
        # the parting
        canvas.drawPath(
            spline(((284, 56), (284, 74), (281.5, 96))), paint("1A0D08", 0.55, stroke=1.6, blur=1.1)
        )
        _flyaways(
            canvas,
            hair.tones[2],
            (
                ((290, 55), (330, 52), (362, 88), (373, 148), (377, 210)),
                ((326, 130), (334, 172), (337, 216), (338, 262), (330, 312)),
            ),
            24,
        )

    return texture(draw)


_CROPPED = (
    (171.5, 216), (168, 196), (164.5, 165), (164.5, 124), (179, 80), (213, 52), (256, 44),
    (299, 52), (333, 80), (348, 124), (348.5, 165), (344.5, 196), (341, 216), (339, 198),
    (336, 176), (329, 158), (327, 134), (317, 115), (297, 107), (256, 104.5), (215, 107),
    (195, 115), (185, 134), (183, 158), (176, 176), (173, 198),
)  # fmt: skip
"""The outline of cropped hair: over the skull and back along the hairline."""


def cropped(hair: HairLook) -> Rgba:
    """Short curls: a rough field over the skull, fading out at the sides."""
    x, y = coordinates()
    random = np.random.default_rng(17)

    def grain(size: float) -> Field:
        field = relief.soften(random.normal(0, 1, x.shape).astype(np.float32), size)
        return np.asarray(field / field.std(), np.float32)

    curls = 0.9 * grain(1.5) + 0.5 * grain(0.8) + 0.7 * grain(3.2)
    # Clipped shorter towards the ears, where the skin shows through.
    longer = np.clip((196 - y) / 80, 0, 1)
    height = relief.dome(256, 178, 108, 146, 96) + curls * (0.35 + 0.75 * longer)
    normal = relief.normals(np.asarray(height, np.float32))
    light = 0.12 + 0.62 * relief.lit(normal, relief.KEY, 0.25)
    light += 0.14 * relief.lit(normal, relief.FILL, 0.2) + 0.30 * relief.glint(
        normal, relief.RIM, 10
    )
    light += 0.05 * curls
    stops = tuple(zip((0.0, 0.4, 0.75, 1.15), hair.tones, strict=True))
    color = relief.ramp(np.asarray(light, np.float32), stops)
    # The edge is a fringe of hairs and not a line.
    cover = coverage(spline(_CROPPED, closed=True, tension=0.8), blur=1.8)
    fringe = np.clip(0.5 + (cover - 0.5) * 2.4 + 0.22 * curls * (cover > 0.02), 0, 1)
    fringe = relief.soften(np.asarray(fringe, np.float32), 0.4)
    return with_alpha(color, np.asarray(fringe * (0.72 + 0.28 * longer), np.float32))
