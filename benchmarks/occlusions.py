"""Things drawn before mouths: masks, scarves, hands, microphones, cups, many colors; tongues.

Only for measuring how well `inference.preparation.covering` tells them from faces; crude, but with
shading, folds, texture and soft edges, placed by the landmarks as such things sit.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]
Floats = NDArray[np.float32]

_JAW = [234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361]
_JAW += [323, 454]
_BRIDGE = [454, 347, 330, 195, 101, 118, 234]
_SKIN = [151, 9, 8, 50, 280, 101, 330]
_MOUTH = [61, 291, 0, 17]
_LOWER_LIP = [17, 16, 315, 85, 84, 314]
_CLOTHS = ("plain", "pleats", "stripes", "dots", "knit", "noise")


@dataclass(frozen=True, slots=True)
class _Face:
    """What a thing before a face is placed by: pixels, and the face's own unit."""

    points: Floats
    mouth: Floats
    across: Floats
    down: Floats
    unit: float
    """Distance of the outer corners of the eyes."""

    @classmethod
    def of(cls, landmarks: Floats) -> "_Face":
        points = np.asarray(landmarks[:, :2], np.float32)
        eyes = points[263] - points[33]
        unit = float(np.linalg.norm(eyes))
        across = eyes / unit
        return cls(
            points, points[_MOUTH].mean(axis=0), across, np.array([-across[1], across[0]]), unit
        )

    def at(self, across: float, down: float) -> Floats:
        """Return a point beside the mouth, in units of the face."""
        return np.asarray(self.mouth + self.unit * (across * self.across + down * self.down))


def mask(picture: Rgb, landmarks: Floats, random: np.random.Generator) -> Rgb:
    """Draw a surgical or cloth mask, from the bridge of the nose to below the chin."""
    face = _Face.of(landmarks)
    jaw = face.points[_JAW] + face.unit * 0.06 * face.down
    bridge = face.points[_BRIDGE] + face.unit * random.uniform(-0.08, 0.12) * face.down
    outline = np.concatenate([jaw, bridge])
    cloth = _cloth(picture.shape, random, face.unit)
    covered = _covered(picture, outline, cloth, face, random)
    for side, end in ((234, 127), (454, 356)):
        line = [tuple(map(int, face.points[place])) for place in (side, end)]
        cv2.line(covered, line[0], line[1], (220, 220, 220), max(1, round(face.unit / 40)))
    return covered


def scarf(picture: Rgb, landmarks: Floats, random: np.random.Generator) -> Rgb:
    """Draw a scarf or a collar, from under the nose down, across the whole picture."""
    face = _Face.of(landmarks)
    top = random.uniform(-0.38, -0.22)
    wave = [face.at(x, top + random.uniform(-0.05, 0.05)) for x in np.linspace(-2.2, 2.2, 9)]
    outline = np.array([*wave, face.at(2.2, 3), face.at(-2.2, 3)], np.float32)
    return _covered(picture, outline, _cloth(picture.shape, random, face.unit), face, random)


def hand(picture: Rgb, landmarks: Floats, random: np.random.Generator) -> Rgb:
    """Draw fingers side by side, of about the face's own skin."""
    face = _Face.of(landmarks)
    usual = np.median(_around(picture, face.points[_SKIN]), axis=0)
    skin = usual * random.uniform(0.8, 1.12) + random.normal(0, 5, 3)
    skin = np.clip(skin, 10, 250).astype(np.float32)
    angle = random.uniform(0, np.pi)
    along = float(np.cos(angle)) * face.across + float(np.sin(angle)) * face.down
    side = np.array([-along[1], along[0]])
    width = face.unit * random.uniform(0.2, 0.27)
    covered = picture.astype(np.float32)
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float32)
    start = face.mouth + face.unit * random.uniform(-0.12, 0.12, 2).astype(np.float32)
    for finger in np.arange(4) - 1.5 + random.uniform(-0.3, 0.3):
        middle = start + float(finger) * width * side
        tip = face.unit * random.uniform(0.45, 0.7)
        dx, dy = x - middle[0], y - middle[1]
        run = dx * along[0] + dy * along[1]
        off = dx * side[0] + dy * side[1]
        beyond = np.maximum(run - tip, 0)
        reach = np.hypot(off, beyond) / (width / 2)
        is_hand = np.clip((1 - reach) * width / 4, 0, 1) * (run > -3 * face.unit)
        round_ = np.sqrt(np.clip(1 - reach**2, 0, 1))
        shade = (0.72 + 0.3 * round_) * (1 + 0.05 * np.sin(run / width * 2.2))
        color = skin * shade[..., None]
        covered += is_hand[..., None] * (color - covered)
    return _finished(covered, random)


def microphone(picture: Rgb, landmarks: Floats, random: np.random.Generator) -> Rgb:
    """Draw the head of a microphone, foam or metal, close before the lips."""
    face = _Face.of(landmarks)
    middle = face.mouth + face.unit * random.uniform(-0.08, 0.08, 2)
    radius = face.unit * random.uniform(0.32, 0.5)
    colors = [(25, 25, 28), (60, 60, 64), (130, 130, 134), (150, 30, 30), (30, 60, 140)]
    color = np.array(colors[random.integers(len(colors))], np.float32)
    covered = picture.astype(np.float32)
    lean = random.uniform(-0.8, 0.8)
    foot = middle + face.unit * 3 * (lean * face.across + face.down)
    stick = np.zeros(picture.shape[:2], np.uint8)
    ends = [tuple(map(int, point)) for point in (middle, foot)]
    cv2.line(stick, ends[0], ends[1], 255, max(2, round(radius * 0.7)), cv2.LINE_AA)
    covered += (stick / 255.0)[..., None] * (color * 0.7 - covered)
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float32)
    reach = np.hypot(x - middle[0], y - middle[1]) / radius
    is_ball = np.clip((1 - reach) * radius / 2, 0, 1)
    light = 0.6 + 0.9 * np.clip(
        1 - np.hypot(x - middle[0] + radius / 3, y - middle[1] + radius / 3) / radius, 0, 1
    )
    grain = 1 + random.uniform(0.05, 0.3) * _noise(picture.shape, random, radius / 12)
    covered += is_ball[..., None] * (color * (light * grain)[..., None] - covered)
    return _finished(covered, random)


def cup(picture: Rgb, landmarks: Floats, random: np.random.Generator) -> Rgb:
    """Draw a cup, a phone or a sheet of paper: straight edges, one color."""
    face = _Face.of(landmarks)
    half, top = random.uniform(0.32, 0.75), random.uniform(-0.3, -0.18)
    low, slant = random.uniform(0.4, 1.2), random.uniform(-0.12, 0.12)
    taper = random.uniform(0.8, 1.0)
    corners = [(-half, top - slant), (half, top + slant), (half * taper, low), (-half * taper, low)]
    outline = np.array([face.at(*corner) for corner in corners], np.float32)
    cloth = np.empty(picture.shape, np.float32)
    cloth[:] = _color(random)
    return _covered(picture, outline, cloth, face, random)


def tongue(picture: Rgb, landmarks: Floats, random: np.random.Generator) -> Rgb:
    """Draw a tongue that is put out, with its furrow, about as red as the lips."""
    face = _Face.of(landmarks)
    width = float(np.linalg.norm(face.points[291] - face.points[61]))
    middle = face.points[[13, 14]].mean(axis=0)
    half, length = width * random.uniform(0.2, 0.3), width * random.uniform(0.6, 0.95)
    lips = np.median(_around(picture, face.points[_LOWER_LIP]), axis=0)
    color = np.clip(lips * [1, 0.82, 0.85] * random.uniform(0.9, 1.2) + [20, 5, 8], 0, 255)
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float32)
    off = (x - middle[0]) * face.across[0] + (y - middle[1]) * face.across[1]
    run = (x - middle[0]) * face.down[0] + (y - middle[1]) * face.down[1]
    reach = np.hypot(off, np.maximum(run - (length - half), 0)) / half
    is_tongue = np.clip((1 - reach) * half / 2, 0, 1) * (run > -0.02 * width)
    shade = 0.75 + 0.3 * np.sqrt(np.clip(1 - reach**2, 0, 1))
    shade *= 1 - 0.18 * np.exp(-((off / (0.12 * half)) ** 2))
    shade *= 1 - 0.35 * np.exp(-np.clip(run, 0, None) / (0.06 * width))
    shown = picture + is_tongue[..., None] * (color * shade[..., None] - picture)
    return _finished(cv2.GaussianBlur(shown.astype(np.float32), (0, 0), 0.6), random)


THINGS: dict[str, Callable[[Rgb, Floats, np.random.Generator], Rgb]] = {
    "mask": mask,
    "scarf": scarf,
    "hand": hand,
    "microphone": microphone,
    "cup": cup,
}
"""By name: a picture, its landmarks (float32 ``[468, 2 or 3]``, pixels) and chance → the picture
with the mouth covered."""


def _color(random: np.random.Generator) -> Floats:
    usual = [(235, 238, 240), (150, 190, 215), (30, 30, 34), (205, 170, 150), (120, 125, 130)]
    if random.random() < 0.6:
        color = np.array(usual[random.integers(len(usual))], np.float32)
    else:
        color = random.uniform(15, 245, 3).astype(np.float32)
    return np.asarray(np.clip(color + random.normal(0, 8, 3), 5, 250), np.float32)


def _cloth(shape: tuple[int, ...], random: np.random.Generator, unit: float) -> Floats:
    """Make a cloth as large as the picture."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    cloth = np.empty(shape, np.float32)
    cloth[:] = _color(random)
    kind = _CLOTHS[random.integers(len(_CLOTHS))]
    period = unit * random.uniform(0.1, 0.3)
    if kind == "pleats":
        ridge = np.exp(-(((y / (1.8 * period)) % 1 - 0.5) ** 2) / 0.004)
        cloth *= 1 - 0.3 * ridge[..., None]
    elif kind == "stripes":
        angle = random.uniform(0, np.pi)
        is_other = ((x * np.cos(angle) + y * np.sin(angle)) / period) % 1 < 0.5
        cloth[is_other] = _color(random)
    elif kind == "dots":
        is_dot = np.hypot(x % period - period / 2, y % period - period / 2) < period / 4
        cloth[is_dot] = _color(random)
    elif kind == "knit":
        stitch = np.sin(2 * np.pi * (x + np.abs(y % period - period / 2)) / period)
        cloth *= (1 + 0.2 * stitch)[..., None]
    elif kind == "noise":
        cloth *= (1 + 0.15 * _noise(shape, random, unit / 30))[..., None]
    folds = _noise(shape, random, unit / 4)
    return np.asarray(cloth * (1 + 0.08 * folds[..., None]), np.float32)


def _covered(
    picture: Rgb, outline: Floats, cloth: Floats, face: _Face, random: np.random.Generator
) -> Rgb:
    """Lay the cloth into the outline, brighter in the middle of the face, as it bulges."""
    inside = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(inside, [outline.round().astype(np.int32)], 255, cv2.LINE_AA)
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float32)
    off = ((x - face.mouth[0]) * face.across[0] + (y - face.mouth[1]) * face.across[1]) / face.unit
    bulge = 1.05 - 0.25 * np.clip(np.abs(off + random.uniform(-0.3, 0.3)), 0, 1.2) ** 2
    share = (inside / 255.0)[..., None]
    return _finished(picture + share * (cloth * bulge[..., None] - picture), random)


def _noise(shape: tuple[int, ...], random: np.random.Generator, size: float) -> Floats:
    """Make smooth noise of mean 0 and deviation 1, its grains about ``size`` pixels."""
    small = max(2, round(shape[0] / max(1.0, size))), max(2, round(shape[1] / max(1.0, size)))
    grains = random.normal(0, 1, small).astype(np.float32)
    return np.asarray(cv2.resize(grains, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC))


def _finished(picture: NDArray[np.floating], random: np.random.Generator) -> Rgb:
    """Make it what a camera sees: a little soft, a little noise."""
    noisy = picture + random.normal(0, 1.5, picture.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _around(picture: Rgb, points: Floats) -> Floats:
    """Return the colors at the points, float32 ``[n, 3]``."""
    height, width = picture.shape[:2]
    x = np.clip(points[:, 0].round().astype(int), 0, width - 1)
    y = np.clip(points[:, 1].round().astype(int), 0, height - 1)
    return np.asarray(picture[y, x], np.float32)
