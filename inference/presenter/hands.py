"""Hands and sleeves for the gestures.

A hand is modelled from rounded bones: each finger is a chain of capsules whose radius shrinks
towards the tip, the palm a fan of them with its two cushions. Together they make a height field,
lit like the face. Hand and forearm are separate textures, so that a wave bends the wrist.
"""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import skia
from numpy.typing import NDArray

from inference.presenter import body, head, relief
from inference.presenter.look import Look
from inference.presenter.paint import (
    MARGIN,
    SCALE,
    Field,
    Rgba,
    clip,
    coordinates,
    coverage,
    linear,
    paint,
    put,
    spline,
    texture,
    to_image,
    with_alpha,
)
from inference.presenter.places import Point
from inference.presenter.pose import Pose
from inference.presenter.tones import Tones

WRIST = (256.0, 330.0)
"""Where the wrist is in the textures; the fingers point up from it."""

Bone = tuple[tuple[float, float, float], ...]
"""Joints from root to tip: x and y from the wrist, y up, and the radius there."""

# A right hand, its palm to the viewer: the thumb is on the viewer's right.
_OPEN_FINGERS: tuple[Bone, ...] = (
    ((24, 78, 10.0), (31, 104, 9.4), (35, 125, 8.6), (37, 143, 7.2)),
    ((7, 84, 10.2), (9, 113, 9.6), (10, 137, 8.8), (10.5, 156, 7.3)),
    ((-10, 80, 9.8), (-14, 107, 9.2), (-17, 130, 8.4), (-19, 148, 7.0)),
    ((-25, 70, 8.8), (-33, 91, 8.0), (-38, 108, 7.3), (-42, 122, 6.2)),
)
_OPEN_THUMB: Bone = ((17, 22, 16.0), (37, 45, 12.6), (49, 66, 10.4), (55, 85, 7.6))
_OFFER_FINGERS: tuple[Bone, ...] = (
    ((24, 78, 10.0), (27, 104, 9.4), (27, 126, 8.6), (25, 143, 7.2)),
    ((7, 84, 10.2), (8, 113, 9.6), (8, 138, 8.8), (7, 156, 7.3)),
    ((-10, 80, 9.8), (-11, 107, 9.2), (-12, 129, 8.4), (-12, 146, 7.0)),
    ((-25, 70, 8.8), (-28, 91, 8.0), (-30, 107, 7.3), (-31, 120, 6.2)),
)
_OFFER_THUMB: Bone = ((17, 22, 16.0), (40, 40, 12.4), (56, 56, 10.2), (68, 70, 7.6))
_PALM: tuple[Bone, ...] = (
    ((8, -34, 17.0), (8, 8, 17.5), (24, 76, 12.5)),
    ((2, -34, 17.5), (2, 8, 18.5), (7, 80, 13.0)),
    ((-4, -34, 17.5), (-5, 8, 18.0), (-10, 77, 12.5)),
    ((-8, -34, 17.0), (-13, 10, 17.0), (-24, 68, 12.0)),
)


def _capsule(bone: Bone) -> tuple[Field, Field]:
    """Signed distance to the skin (negative inside) and height above the plane."""
    x, y = coordinates()
    distance = np.full(x.shape, 1e3, np.float32)
    height = np.zeros(x.shape, np.float32)
    for (ax, ay, ar), (bx, by, br) in pairwise(bone):
        px, py = x - (WRIST[0] + ax), y - (WRIST[1] - ay)
        dx, dy = bx - ax, ay - by
        along = np.clip((px * dx + py * dy) / (dx * dx + dy * dy), 0, 1)
        radius = ar + (br - ar) * along
        away = np.hypot(px - along * dx, py - along * dy)
        distance = np.minimum(distance, away - radius)
        height = np.maximum(height, np.sqrt(np.clip(radius**2 - away**2, 0, None)))
    return distance.astype(np.float32), height.astype(np.float32)


def _join(first: Field, second: Field, softness: float) -> Field:
    """Smooth minimum: skin webs between what is close together."""
    blend = np.clip(0.5 + 0.5 * (second - first) / softness, 0, 1)
    mixed = second + (first - second) * blend - softness * blend * (1 - blend)
    return np.asarray(mixed, np.float32)


def _palm_lines(canvas: skia.Canvas, tone: Tones) -> None:
    def line(points: tuple[Point, ...], alpha: float, width: float = 1.3) -> None:
        placed = [(WRIST[0] + x, WRIST[1] - y) for x, y in points]
        canvas.drawPath(spline(placed), paint(tone("8E4838"), alpha, stroke=width, blur=0.7))
        light = [(x + 0.4, y + 1.5) for x, y in placed]
        bright = paint(tone("FFE7DA"), 0.6 * alpha, stroke=1.0, blur=0.7)
        canvas.drawPath(spline(light), bright)

    line(((33, 62), (20, 57), (6, 40), (3, 18), (7, 2)), 0.55)  # of life
    line(((34, 64), (18, 60), (-4, 50), (-24, 40)), 0.42)  # of the head
    line(((18, 79), (4, 68), (-18, 60), (-35, 57)), 0.50)  # of the heart
    line(((-17, -3), (0, -5), (20, -2)), 0.38, 1.2)  # wrist
    line(((-16, -8), (1, -10), (19, -7)), 0.28, 1.1)


def _finger_creases(canvas: skia.Canvas, tone: Tones, fingers: tuple[Bone, ...]) -> None:
    for bone in fingers:
        for (ax, ay, _), (bx, by, radius) in pairwise(bone[:-1]):
            length = float(np.hypot(bx - ax, by - ay))
            ux, uy = (bx - ax) / length, (by - ay) / length
            reach = radius * 0.78
            for off, alpha in ((0.0, 0.48), (2.4, 0.24)):
                x, y = WRIST[0] + bx + ux * off, WRIST[1] - by - uy * off
                canvas.drawPath(
                    spline(((x - uy * reach, y - ux * reach), (x, y + 1.0),
                    (x + uy * reach, y + ux * reach))),
                    paint(tone("8E4838"), alpha, stroke=1.1, blur=0.6),
                )  # fmt: skip


def _model(fingers: tuple[Bone, ...], thumb: Bone) -> tuple[Field, Field]:
    """Signed distance to the hand's outline (negative inside) and its height."""
    x, y = coordinates()
    wrist_x, wrist_y = WRIST
    distance, height = _capsule(_PALM[0])
    for bone in _PALM[1:]:
        other, other_height = _capsule(bone)
        distance = _join(distance, other, 9)
        height = np.maximum(height, other_height)
    height = relief.soften(height, 5)
    height = height + relief.hill(wrist_x + 22, wrist_y - 27, 11, 19, 8.5, -0.5)  # thumb's ball
    height = height + relief.hill(wrist_x - 20, wrist_y - 30, 9, 22, 5.5, 0.1)  # outer cushion
    height = height + relief.hill(wrist_x, wrist_y - 46, 13, 17, -6.5)  # hollow of the hand
    for px, py in ((22, 70), (5, 75), (-11, 71), (-25, 62)):
        height = height + relief.hill(wrist_x + px, wrist_y - py, 7, 6, 3.0)
    for bone in (*fingers, thumb):
        other, other_height = _capsule(bone)
        distance = _join(distance, other, 3.2 if bone is not thumb else 9)
        # fingers rise out of the palm: nothing of them at the root, all a knuckle further
        from_root = np.hypot(x - wrist_x - bone[0][0], y - wrist_y + bone[0][1])
        rooted = np.clip((from_root - 4) / 22, 0, 1)
        finger = relief.soften(other_height, 0.8) * (0.35 + 0.65 * rooted) + 4 * rooted
        height = np.asarray(np.maximum(height, finger), np.float32)
    return distance, relief.soften(height, 1.2)


def _hand(tone: Tones, fingers: tuple[Bone, ...], thumb: Bone) -> Rgba:
    distance, height = _model(fingers, thumb)
    color = head.shade(np.asarray(height * 0.9, np.float32), tone.own, hollows=1.6)
    pink = relief.hill(WRIST[0] + 20, WRIST[1] - 30, 15, 18, 0.35)
    pink = pink + relief.hill(WRIST[0] - 20, WRIST[1] - 34, 11, 20, 0.3)
    for tip_x, tip_y, _ in (bone[-1] for bone in (*fingers, thumb)):
        pink = pink + relief.hill(WRIST[0] + tip_x, WRIST[1] - tip_y, 7, 9, 0.5)
    color = color * (1 - pink[..., None] * np.array([0.0, 0.14, 0.13], np.float32))
    rim = np.exp(-((distance + 1.2) ** 2) / 2.2)
    color = color * (1 - 0.34 * rim[..., None] * np.array([0.35, 0.8, 0.9], np.float32))
    alpha = np.clip(0.5 - distance * SCALE * 0.8, 0, 1)
    skin = with_alpha(np.asarray(color, np.float32), alpha)

    def draw(canvas: skia.Canvas) -> None:
        put(canvas, skin)
        _palm_lines(canvas, tone)
        _finger_creases(canvas, tone, fingers)
        _finger_creases(canvas, tone, (thumb[1:],))

    return texture(draw)


def _forearm(tone: Tones) -> Rgba:
    """The sleeve, from the wrist down; a cuff looks out of it."""
    x0, y0 = WRIST
    sleeve = spline(
        ((x0 - 30, y0 + 34), (x0, y0 + 40), (x0 + 30, y0 + 33), (x0 + 39, y0 + 90),
         (x0 + 48, y0 + 160),
         (x0 + 54, y0 + 240), (x0 - 58, y0 + 240), (x0 - 50, y0 + 160),
         (x0 - 38, y0 + 90)), closed=True, tension=0.7,
    )  # fmt: skip
    wool = with_alpha(_sleeve_cloth(tone), coverage(sleeve))
    cuff = spline(
        ((x0 - 26.5, y0 + 26), (x0, y0 + 31), (x0 + 26.5, y0 + 25), (x0 + 29, y0 + 44),
         (x0, y0 + 50), (x0 - 29, y0 + 44)),
        closed=True, tension=0.6,
    )  # fmt: skip
    linen = ("E9DED3", "FFFFFF", "D9CCBF", "A8988C")

    def draw(canvas: skia.Canvas) -> None:
        shader = linear((x0 - 28, 0), (x0 + 28, 0), linen, (0, 0.3, 0.7, 1))
        canvas.drawPath(cuff, paint(shader=shader))
        put(canvas, wool)
        canvas.save()
        clip(canvas, sleeve)
        hem = spline(((x0 - 32, y0 + 36), (x0, y0 + 42), (x0 + 32, y0 + 35)))
        canvas.drawPath(hem, paint(tone("9CCBCE"), 0.55, stroke=2.0, blur=0.7))
        seam = spline(((x0 - 33, y0 + 44), (x0, y0 + 50), (x0 + 33, y0 + 43)))
        canvas.drawPath(seam, paint(tone("04161B"), 0.5, stroke=1.2, blur=0.6))
        canvas.restore()

    return texture(draw)


def _sleeve_cloth(tone: Tones) -> NDArray[np.float32]:
    """Return the lit wool about the forearm with its creases, colors 0..1."""
    x0, y0 = WRIST
    x, y = coordinates()
    half = 32 + 0.11 * np.clip(y - y0 - 30, 0, None)
    height = 1.05 * np.sqrt(np.clip(half**2 - (x - x0) ** 2, 0, None))
    for cx, cy, length, width, rise, turn in (
        (244, 420, 30, 4.5, 4.0, 0.42), (268, 448, 32, 5.0, 4.2, -0.50),
        (240, 484, 34, 5.5, 4.4, 0.55),
        (270, 515, 34, 5.5, 4.0, -0.42), (262, 396, 22, 3.6, 2.4, -0.25),
    ):  # fmt: skip
        height = height + body.fold(cx, cy, length, width, rise, turn)
    return body.cloth(relief.soften(np.asarray(height, np.float32), 1.0), tone.own, 0.005)


def _cropped(pixels: Rgba) -> tuple[skia.Image, Point]:
    """Return the painted part of a texture and where it is, canonical pixels from the wrist."""
    x, y, width, height = cv2.boundingRect((pixels[..., 3] > 0).astype(np.uint8))
    left, top = x / SCALE - MARGIN - WRIST[0], y / SCALE - MARGIN - WRIST[1]
    return to_image(pixels[y : y + height, x : x + width]), (left, top)


@dataclass(frozen=True, slots=True)
class _Arm:
    """Where an arm is: its elbow, angles in degrees, and how it is seen."""

    elbow: Point
    forearm: float
    """Of the forearm from upright, clockwise."""
    wrist: float
    """Of the hand against the forearm, clockwise."""
    mirrored: bool
    squeeze: float = 1.0
    """Width of the hand as it is seen, turned away at less than 1."""


_FOREARM_LENGTH = 205.0


class Hands:
    """The two gestures' arms, painted once."""

    def __init__(self, look: Look) -> None:
        self._waving = _cropped(_hand(look.palm, _OPEN_FINGERS, _OPEN_THUMB))
        self._offering = _cropped(_hand(look.palm, _OFFER_FINGERS, _OFFER_THUMB))
        self._sleeve = _cropped(_forearm(look.clothes.jacket))

    def draw(self, canvas: skia.Canvas, pose: Pose) -> None:
        """Draw the arms that are up in ``pose``."""
        if pose.wave > 0:
            up = pose.wave
            arm = _Arm(
                elbow=(112 - 30 * (1 - up), 548 + 250 * (1 - up)),
                forearm=-6 - 16 * (1 - up) + 5.5 * pose.wave_swing,
                wrist=7 * pose.wave_swing - 4 + 22 * (1 - up),
                mirrored=False,
            )
            self._draw_arm(canvas, arm, self._waving)
        if pose.offer > 0:
            up = pose.offer
            arm = _Arm(
                elbow=(352 + 40 * (1 - up), 612 + 230 * (1 - up)),
                forearm=15 + 2.2 * pose.offer_swing + 8 * (1 - up),
                wrist=17 + 4.0 * pose.offer_swing - 30 * (1 - up),
                mirrored=True,
                squeeze=0.80,
            )
            self._draw_arm(canvas, arm, self._offering)

    def _draw_arm(self, canvas: skia.Canvas, arm: _Arm, hand: tuple[skia.Image, Point]) -> None:
        canvas.save()
        canvas.translate(*arm.elbow)
        canvas.rotate(arm.forearm)
        canvas.translate(0, -_FOREARM_LENGTH)
        canvas.save()
        canvas.rotate(arm.wrist)
        canvas.scale((-1 if arm.mirrored else 1) * arm.squeeze, 1)
        _put_part(canvas, hand)
        canvas.restore()
        _put_part(canvas, self._sleeve)
        canvas.restore()


def _put_part(canvas: skia.Canvas, part: tuple[skia.Image, Point]) -> None:
    image, (left, top) = part
    canvas.save()
    canvas.translate(left, top)
    canvas.scale(1 / SCALE, 1 / SCALE)
    sampling = skia.SamplingOptions(skia.FilterMode.kLinear, skia.MipmapMode.kLinear)
    canvas.drawImage(image, 0, 0, sampling)
    canvas.restore()
