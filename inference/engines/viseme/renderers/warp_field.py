"""Where each point of a talking face comes from in the quiet one.

Theory of operation
-------------------
A mouth that opens is a vertical affair. In each column of the face six curves have a name: the
height above which nothing moves, the upper lip's outer and inner edge, the lower lip's inner and
outer edge, the jaw line, and the height below which nothing moves. `MouthShape` says how far each
of them travels; between two of them the face stretches evenly. Read backwards, as a warp must be,
the displacement in a column is a sum of ramps, one for each interval, and all columns are computed
at once. Between the lips there is nothing to stretch: the map runs through the slit continuously
and the inside of the mouth is painted over it, so the map has no tear and cannot fold.

The horizontal part (spread, rounded) is a smooth squeeze about the middle of the mouth, which
fades towards nose, chin and cheeks.

Every quantity is continuous in every parameter and zero at the rest pose.
"""

from typing import NamedTuple

import numpy as np

from inference.engines.viseme.renderers.face_frame import (
    COLUMN_X,
    COLUMNS,
    REACH,
    FaceFrame,
    Floats,
)
from inference.engines.viseme.shape import MouthShape

ROWS = 128
_ROW_NUMBERS = np.arange(ROWS, dtype=np.float32)[:, None]

# All in mouth widths, for a parameter of 1.
_OPEN_GAP = 0.47
_OPEN_EARLY = 0.8
_TUCK_GAP = 0.05
_ROUND_LESS = 0.30
"""How much less rounded lips part: a small gap looks larger in a narrow mouth."""
_UPPER_SHARE = 0.40
"""Of the gap, what the upper lip rises over the corners; the lower one sinks by the rest."""
_ROUND_RISE = 0.08
_CORNER_DROP = 0.30
"""Of the gap: the corners hang on the jaw. Without that a mouth that says [a] grins."""
_ROUND_CORNERS = 0.2
"""How much less of it in rounded lips."""
_CORNER_LIFT = 0.05
_UNBENDS = 0.9
"""How much of a smile an open or rounded mouth takes away: its corners sink to its middle."""
_UNBENT_AT = 1.0
"""Opening at which it is gone."""
_JAW_SHARE = 0.74
_OUTER_UPPER_SHARE, _OUTER_LOWER_SHARE = 0.78, 0.94
_POUT, _PRESS = 0.045, 0.032
_SPREAD, _PURSE, _ROUND, _OPEN_NARROWS = 0.18, 0.16, 0.25, 0.06
"""Of the distance of the mouth's corners: lips that spread, purse, are rounded or open."""
_UPPER_POWER, _LOWER_POWER, _ROUND_FULLER = 1.0, 0.62, 0.16
"""Of the profiles of the lips: 1 is a parabola, less is fuller."""
_OPEN_FULLER = 0.22
"""How much fuller the upper lip's is in an open mouth."""
_EDGE_POWER, _EDGE_ROUND = 0.8, 1.5
"""Of the lower lip's outer edge in rounded lips, and how soon it has that: it keeps its bow from
corner to corner, and does not hang below the narrow opening like a bucket."""
_ROUND_APART, _TUCK_APART = 0.3, 0.2
"""How much less than the mouth's width is open: rounded lips meet beside the opening."""
_MEET = 0.15
"""The same of lips that are neither rounded nor spread."""
_THICKER = 1.6
"""How much thicker a lip may become downwards where its edge is steep: it keeps its thickness."""
_SQUEEZE_REACH = 2.0
"""How far aside spread or rounded lips move the cheeks, in halves of the mouth's width."""
_LEAST_RISE = 0.1
"""How far above the corners of the mouth that fades out, at least."""
_OVERCLOSE = 0.055
"""How much of each lip's edge vanishes when an open mouth is shut: landmarks are not that exact."""
SHUT_TRAVEL = (0.35, 0.45, -0.55, -0.5)
"""How far the lips' edges travel to shut an open mouth, in parts of its gap, from top to bottom."""
SHUT_JAW = 0.35
"""How far the chin goes up with it, in parts of its widest gap."""
_SEAM_GAP = 0.08
_AWAKE = 0.10
"""Sum of the parameters from which on the source's own opening is fully taken away."""
_EPSILON = 1e-3


class WarpField(NamedTuple):
    """The warp of one face to one shape, in face coordinates.

    Float32 ``[ROWS, COLUMNS]`` each: ``across`` and ``down``, the displacement from a point to its
    source; ``below_upper`` and ``above_lower``, its distances, straight across, from the lips'
    edges; ``seam``, 0..1, how much of a seam there is where lips that the source shows apart were
    shut. The rows reach evenly over `FaceFrame.y_range`. ``upper``, ``lower``: the lips' inner
    edges over `COLUMN_X`. ``awake``: 0 the source's own mouth shows, 1 only the shape's does.
    """

    across: Floats
    down: Floats
    below_upper: Floats
    above_lower: Floats
    seam: Floats
    upper: Floats
    lower: Floats
    awake: float


def is_rest(shape: MouthShape) -> bool:
    """Whether the shape moves nothing: teeth and tongue do not show between closed lips."""
    return _motion(shape) < _EPSILON


def awakeness(shape: MouthShape) -> float:
    """How much of the source's own opening the shape takes away, 0..1: all but near rest."""
    return _smooth(_motion(shape) / _AWAKE)


def warp_field(face: FaceFrame, shape: MouthShape) -> WarpField:
    """Return the warp that gives ``face`` the mouth ``shape``."""
    awake = awakeness(shape)
    # Columns of the target, and the columns of the source they come from at the mouth's height.
    squeeze = _squeeze(face, _width(shape))
    source_x = COLUMN_X + squeeze
    curves = _at(source_x, face.curves)
    knots, around = curves[:7], curves[7]
    own_gap = (knots[3] - knots[2]) * awake
    travel, opening = _travel(face, shape, source_x, own_gap, (knots[2] + knots[3]) / 2)
    target = knots + travel
    _keep_thick(knots, target, 1 - shape.round)
    target = np.maximum.accumulate(target, axis=0)
    _close_over(knots, np.maximum(around * awake, own_gap))
    seam = np.clip(own_gap / _OVERCLOSE, 0, 1) * np.clip(1 - opening / _SEAM_GAP, 0, 1)
    y_low, y_high = face.y_range
    rows = y_low + (y_high - y_low) / (ROWS - 1) * _ROW_NUMBERS
    # All of the upper lip, and not the nose: what is above the first line stands still.
    highest = np.minimum(face.curves[0], -_LEAST_RISE)
    fade = _fade(np.where(rows < 0, np.square(rows / highest), rows / (0.75 * y_high)))
    upper, lower = _across(target[2:4])
    return WarpField(
        across=squeeze * fade,
        down=_down(rows, target, knots - target),
        below_upper=rows * upper - target[2] * upper,
        above_lower=target[3] * lower - rows * lower,
        seam=np.tile(seam, (ROWS, 1)),
        upper=target[2],
        lower=target[3],
        awake=awake,
    )


def _width(shape: MouthShape) -> float:
    """How far the corners of the mouth are apart, in parts of their distance in the picture."""
    spread, pursed = max(shape.wide, 0.0), max(-shape.wide, 0.0)
    width = 1 + _SPREAD * spread - _PURSE * pursed
    return width - _ROUND * shape.round - _OPEN_NARROWS * shape.open


def _squeeze(face: FaceFrame, width: float) -> Floats:
    """How far to the right of each column its source is, where the mouth is ``width`` as wide."""
    half = (face.right - face.left) / 2
    reach = min(max(_SQUEEZE_REACH * half, 1.0), REACH)
    # It fades sideways: at the corners it is less than in the middle, and they are to go that far.
    at_corners = (1 - min(width * half / reach, 0.8) ** 2) ** 2
    amount = (1 / width - 1) / at_corners
    return np.asarray(COLUMN_X * amount * _fade(COLUMN_X / reach), np.float32)


def _gap(shape: MouthShape) -> float:
    """How far the lips are apart where they are furthest."""
    gap = _opened(shape.open)
    # What lips that press or tuck leave open is in `open` already: they close but the rest of it.
    gap *= 1 - _ROUND_LESS * shape.round * (1 - shape.open)
    gap *= 1 - shape.press**4
    return max(gap, _TUCK_GAP * shape.tuck)


def _opened(opening: float) -> float:
    """How far apart that is in mouth widths: half-open mouths are seen less open than they are."""
    return _OPEN_GAP * opening * (1 + _OPEN_EARLY * (1 - opening))


def _jaw_drop(shape: MouthShape, gap: float) -> float:
    """How far the jaw opens, in mouth widths; ``gap``: that of the lips."""
    return max(gap + _opened(shape.jaw_opening) - _opened(shape.open), 0.0)


def _travel(
    face: FaceFrame, shape: MouthShape, source_x: Floats, own_gap: Floats, lip_line: Floats
) -> tuple[Floats, Floats]:
    """How far each of the seven lines of the face moves, from its top to its bottom.

    Args:
        face: The face.
        shape: The mouth's.
        source_x: The columns of the source, float32 ``[COLUMNS]``.
        own_gap: How far the source's lips are apart there, as far as that is taken away.
        lip_line: Where they meet there, ``[COLUMNS]``.

    Returns:
        The travel, downwards, ``[7, COLUMNS]``; how far the lips are apart, ``[COLUMNS]``.
    """
    gap = _gap(shape)
    fuller = _ROUND_FULLER * shape.round
    apart = 1 - _ROUND_APART * shape.round - _TUCK_APART * shape.tuck
    apart -= _MEET * (1 - max(shape.wide, 0.0)) * (1 - shape.round)
    left, right = face.left * apart, face.right * apart
    profile = _parabola(source_x, left, right)
    arch = profile ** (_UPPER_POWER - fuller - _OPEN_FULLER * shape.open)
    dome = profile ** (_LOWER_POWER - fuller)
    edge = _parabola(source_x, face.left, face.right) ** _EDGE_POWER
    edge = dome + (edge - dome) * min(_EDGE_ROUND * shape.round, 1.0)
    upper_share = _UPPER_SHARE + _ROUND_RISE * shape.round
    upper_share += (0.75 - upper_share) * shape.tuck * (1 - shape.open)
    drop = _CORNER_DROP * (1 - _ROUND_CORNERS * shape.round) * gap
    hang = drop - _CORNER_LIFT * shape.wide
    lips = (hang + _unbent(face, shape, source_x, lip_line)) * _beside(face, source_x)
    deepest = (1 - upper_share) * gap
    rise, sink = upper_share * gap * arch, deepest * dome
    opening = rise + sink
    pout, press = _POUT * shape.round, _PRESS * shape.press

    travel = np.zeros((7, *source_x.shape), np.float32)
    travel[1] = lips - _OUTER_UPPER_SHARE * rise - (pout - press) * dome
    travel[1] += SHUT_TRAVEL[0] * own_gap
    travel[2] = lips - rise + SHUT_TRAVEL[1] * own_gap
    travel[3] = lips + sink + SHUT_TRAVEL[2] * own_gap
    travel[4] = lips + (_OUTER_LOWER_SHARE * deepest + pout * (1 - shape.open)) * edge
    travel[4] += SHUT_TRAVEL[3] * own_gap - (press + 0.03 * shape.tuck) * dome
    jaw = _JAW_SHARE * _jaw_drop(shape, gap) - SHUT_JAW * float(own_gap.max())
    travel[5] = jaw * _fade(COLUMN_X / REACH)
    return travel, opening


def _unbent(face: FaceFrame, shape: MouthShape, source_x: Floats, lip_line: Floats) -> Floats:
    """How far down the lips go to lose the bend of a smile, ``[COLUMNS]``: 0 in their middle.

    A mouth that smiles and is only pulled apart laughs at every vowel.

    Args:
        face: The face.
        shape: The mouth's.
        source_x: The columns of the source, float32 ``[COLUMNS]``.
        lip_line: Where the lips meet there, likewise.
    """
    corners = np.interp([face.left, face.right], source_x, lip_line)
    bend = lip_line - np.interp(source_x, [face.left, face.right], corners)
    middle = max(float(bend[COLUMNS // 2]), 0.0)
    amount = _UNBENDS * max(_smooth(shape.open / _UNBENT_AT), shape.round)
    amount *= 1 - 0.5 * max(shape.wide, 0.0)
    return np.asarray(amount * (middle - np.minimum(np.maximum(bend, 0), middle)), np.float32)


def _keep_thick(knots: Floats, target: Floats, amount: float) -> None:
    """Let lips run round the sides of an opening: where an edge is steeper, they reach further.

    Args:
        knots: Where the lines of the source are, ``[7, COLUMNS]``.
        target: Where they go; the outer edges of the lips are changed.
        amount: How much, 0..1.
    """
    steeper = _across(knots[2:4]) / _across(target[2:4])
    thicker = (np.minimum(np.maximum(steeper, 1), _THICKER) - 1) * np.float32(amount)
    target[1] += (target[1] - target[2]) * thicker[0]
    target[4] += (target[4] - target[3]) * thicker[1]


def _close_over(knots: Floats, around: Floats) -> None:
    """Take from the ``knots`` of the source what must not be seen of an opening that is shut.

    ``around``: how far the source's lips are apart about there, as far as that is taken away.
    """
    overclose = np.minimum(_OVERCLOSE, 0.45 * around)
    knots[2] -= overclose
    knots[3] += overclose
    # At the corners the lips are too thin for it: skin beside them goes too.
    np.minimum(knots[1], knots[2], out=knots[1])
    np.maximum(knots[4], knots[3], out=knots[4])


def _beside(face: FaceFrame, source_x: Floats) -> Floats:
    """1 from corner to corner of the mouth, fading to 0 at the sides of the face."""
    out = np.maximum(source_x - face.right, face.left - source_x)
    return _fade(np.maximum(out, 0) / (REACH - max(face.right, -face.left)))


def _down(rows: Floats, target: Floats, back: Floats) -> Floats:
    """How far down from each point its source is, ``[ROWS, COLUMNS]``.

    Args:
        rows: The heights of the points, ``[ROWS, 1]``.
        target: Where the lines of the face are, ``[7, COLUMNS]``.
        back: How far down from there their sources are, likewise.
    """
    down = np.tile(back[0], (ROWS, 1))
    # Where two lines meet, what is between them passes within a row: less would hop from one row to
    # the next as they move.
    least = rows[1, 0] - rows[0, 0]
    span = np.maximum(target[1:] - target[:-1], least)
    per_row, start = 1 / span, (target[1:] + target[:-1] - span) / 2
    steps = back[1:] - back[:-1]
    slope, least_step, most_step = per_row * steps, np.minimum(steps, 0), np.maximum(steps, 0)
    ahead, ramp = start * slope, np.empty_like(down)
    for k in range(6):
        np.multiply(rows, slope[k], out=ramp)
        ramp -= ahead[k]
        np.maximum(ramp, least_step[k], out=ramp)
        np.minimum(ramp, most_step[k], out=ramp)
        down += ramp
    return down


def _across(edges: Floats) -> Floats:
    """How far from edges, straight across, is what is 1 above or below them.

    Args:
        edges: Float32 ``[n, COLUMNS]``.
    """
    slopes = np.zeros_like(edges)
    np.subtract(edges[:, 2:], edges[:, :-2], out=slopes[:, 1:-1])
    slopes *= np.float32((COLUMNS - 1) / (4 * REACH))
    return np.asarray(1 / np.sqrt(1 + np.square(slopes)), np.float32)


def _motion(shape: MouthShape) -> float:
    moved = shape.open + abs(shape.wide) + shape.round + shape.press + shape.tuck
    return moved + abs(shape.jaw)


def _smooth(t: float) -> float:
    t = min(max(t, 0.0), 1.0)
    return t * t * (3 - 2 * t)


def _fade(t: Floats) -> Floats:
    """1 at 0, flat there and at the ends, 0 from -1 and 1 on."""
    return np.asarray(np.square(1 - np.square(np.clip(t, -1, 1))), np.float32)


def _parabola(x: Floats, left: float, right: float) -> Floats:
    """Return 1 in the middle of the mouth, and 0 at its corners and outside."""
    across = np.where(x < 0, x / left, x / right)
    return np.asarray(np.maximum(1 - np.square(across), 0), np.float32)


def _at(x: Floats, curves: Floats) -> Floats:
    """Curves over `COLUMN_X` (``[n, COLUMNS]``), read at other places ``x``."""
    place = np.clip((x + REACH) * ((COLUMNS - 1) / (2 * REACH)), 0, COLUMNS - 1.001)
    left = place.astype(np.intp)
    part = place - left
    return np.asarray(curves[:, left] * (1 - part) + curves[:, left + 1] * part, np.float32)
