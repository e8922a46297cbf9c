"""Paint and canvas: the few words in which everything of the presenter is drawn.

All parts are drawn in one coordinate system, the *canonical* one: the finished picture's pixels
with the head at rest. A texture covers it with a margin, since parts move, and at twice the
resolution, since the picture is made large and then reduced.
"""

from collections.abc import Callable, Sequence

import numpy as np
import skia
from numpy.typing import NDArray

from inference.presenter.places import Point

SIDE = 512
MARGIN = 40
SCALE = 2
"""Texture pixels per canonical pixel."""

TEXTURE_SIDE = (SIDE + 2 * MARGIN) * SCALE

Rgba = NDArray[np.uint8]
"""uint8 ``[height, width, 4]``, red first, premultiplied."""
Field = NDArray[np.float32]
"""float32 ``[TEXTURE_SIDE, TEXTURE_SIDE]`` over a texture's pixels."""

Draw = Callable[[skia.Canvas], None]


def color(code: str, alpha: float = 1.0) -> int:
    """Return the skia color of ``rrggbb``; ``alpha`` 0..1."""
    red, green, blue = (int(code[i : i + 2], 16) for i in (0, 2, 4))
    return int(skia.Color(red, green, blue, round(255 * min(max(alpha, 0.0), 1.0))))


def mix(first: str, second: str, weight: float) -> str:
    """Return the color ``weight`` (0..1) of the way from ``first`` to ``second``."""
    pairs = [(int(first[i : i + 2], 16), int(second[i : i + 2], 16)) for i in (0, 2, 4)]
    return "".join(f"{round(a + (b - a) * min(max(weight, 0.0), 1.0)):02X}" for a, b in pairs)


def paint(
    code: str = "000000",
    alpha: float = 1.0,
    *,
    blur: float = 0.0,
    stroke: float = 0.0,
    shader: skia.Shader | None = None,
    mode: skia.BlendMode = skia.BlendMode.kSrcOver,
) -> skia.Paint:
    """Return a paint; ``blur`` is a sigma and ``stroke`` a width, in canonical pixels."""
    made = skia.Paint(AntiAlias=True, Color=color(code, alpha))
    made.setBlendMode(mode)
    if shader is not None:
        made.setShader(shader)
    if blur:
        made.setMaskFilter(skia.MaskFilter.MakeBlur(skia.kNormal_BlurStyle, blur))
    if stroke:
        made.setStyle(skia.Paint.kStroke_Style)
        made.setStrokeWidth(stroke)
        made.setStrokeCap(skia.Paint.kRound_Cap)
        made.setStrokeJoin(skia.Paint.kRound_Join)
    return made


Stop = str | tuple[str, float]


def _stops(stops: Sequence[Stop]) -> list[int]:
    return [color(stop) if isinstance(stop, str) else color(*stop) for stop in stops]


def linear(
    start: Point, end: Point, stops: Sequence[Stop], at: Sequence[float] | None = None
) -> skia.Shader:
    return skia.GradientShader.MakeLinear(
        [skia.Point(*start), skia.Point(*end)], _stops(stops), list(at) if at else None
    )


def radial(
    center: Point, radius: float, stops: Sequence[Stop], at: Sequence[float] | None = None
) -> skia.Shader:
    return skia.GradientShader.MakeRadial(
        skia.Point(*center), radius, _stops(stops), list(at) if at else None
    )


def spline(points: Sequence[Point], *, closed: bool = False, tension: float = 1.0) -> skia.Path:
    """Return a smooth path through ``points`` (Catmull-Rom); ``tension`` 0 makes it a polygon."""
    path = skia.PathBuilder()
    last = len(points) - 1
    path.moveTo(*points[0])

    def at(i: int) -> Point:
        return points[i % len(points)] if closed else points[min(max(i, 0), last)]

    for i in range(len(points) if closed else last):
        before, start, end, after = at(i - 1), at(i), at(i + 1), at(i + 2)
        k = tension / 6
        path.cubicTo(
            start[0] + (end[0] - before[0]) * k,
            start[1] + (end[1] - before[1]) * k,
            end[0] - (after[0] - start[0]) * k,
            end[1] - (after[1] - start[1]) * k,
            *end,
        )
    if closed:
        path.close()
    return path.detach()


def oval(x: float, y: float, rx: float, ry: float) -> skia.Rect:
    return skia.Rect.MakeLTRB(x - rx, y - ry, x + rx, y + ry)


def clip(canvas: skia.Canvas, path: skia.Path) -> None:
    canvas.clipPath(path, skia.ClipOp.kIntersect, True)


def texture(draw: Draw) -> Rgba:
    """Return what ``draw`` paints in canonical coordinates, on transparency."""
    surface = skia.Surface(TEXTURE_SIDE, TEXTURE_SIDE)
    canvas = surface.getCanvas()
    canvas.clear(0)
    canvas.scale(SCALE, SCALE)
    canvas.translate(MARGIN, MARGIN)
    draw(canvas)
    return to_array(surface)


def to_array(surface: skia.Surface) -> Rgba:
    image = surface.makeImageSnapshot()
    pixels = np.zeros((image.height(), image.width(), 4), np.uint8)
    info = skia.ImageInfo.Make(
        image.width(), image.height(), skia.kRGBA_8888_ColorType, skia.kPremul_AlphaType
    )
    image.readPixels(info, pixels, image.width() * 4, 0, 0)
    return pixels


def to_image(pixels: Rgba) -> skia.Image:
    return skia.Image.fromarray(
        np.ascontiguousarray(pixels), skia.kRGBA_8888_ColorType, skia.kPremul_AlphaType
    )


def put(canvas: skia.Canvas, pixels: Rgba) -> None:
    """Lay a texture over the canvas, which is in canonical coordinates."""
    canvas.save()
    canvas.translate(-MARGIN, -MARGIN)
    canvas.scale(1 / SCALE, 1 / SCALE)
    canvas.drawImage(to_image(pixels), 0, 0, skia.SamplingOptions(skia.FilterMode.kLinear))
    canvas.restore()


def coordinates() -> tuple[Field, Field]:
    """Canonical x and y of a texture's pixel centers."""
    line = (np.arange(TEXTURE_SIDE, dtype=np.float32) + 0.5) / SCALE - MARGIN
    x, y = np.meshgrid(line, line)
    return x.astype(np.float32), y.astype(np.float32)


def coverage(path: skia.Path, *, blur: float = 0.0) -> Field:
    """How much of each texture pixel ``path`` covers, 0..1."""
    pixels = texture(lambda canvas: canvas.drawPath(path, paint("FFFFFF", blur=blur)))
    return np.asarray(pixels[..., 3] / np.float32(255), np.float32)


def with_alpha(rgb: NDArray[np.float32], alpha: Field) -> Rgba:
    """Premultiplied texture of colors 0..1 ``[height, width, 3]`` and ``alpha`` 0..1."""
    alpha = np.clip(alpha, 0, 1)[..., None]
    pixels = np.concatenate([np.clip(rgb, 0, 1) * alpha, alpha], axis=2)
    return (pixels * 255 + 0.5).astype(np.uint8)
