"""The report on a prepared avatar, for people and programs: numbers, and one picture.

The picture is a contact sheet of every clip with the face box, above curves of the head's pose and
of the face's sharpness over the whole video.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.assets.manifest import ClipState
from inference.media.types import Picture
from inference.preparation.quality import Finding

_TILE = 160
_SHOTS = 5
_PLOT_HEIGHT = 120
_INK, _FAINT, _PAPER = (40, 40, 40), (200, 200, 200), (250, 250, 248)
_CURVES = ((196, 78, 52), (70, 140, 60), (52, 92, 190))


@dataclass(frozen=True, slots=True, eq=False)
class ClipReport:
    """One clip: where it is from and how well it joins.

    ``source_s``: begin and end in the material; ``seam``: the step from its last picture to the
    rest picture, ``usual_step``: the 99th percentile of the steps inside it, in pixels as `choose`
    measures; ``bent``: how far its ends had to be bent.
    """

    name: str
    state: ClipState
    frames: int
    source_s: tuple[float, float]
    is_mirrored: bool
    exits: int
    seam: float
    usual_step: float
    bent: float

    def to_dict(self) -> dict[str, object]:
        return {
            "name": self.name,
            "state": self.state,
            "frames": self.frames,
            "source_s": [round(value, 2) for value in self.source_s],
            "mirrored": self.is_mirrored,
            "exits": self.exits,
            "seam_px": round(self.seam, 2),
            "usual_step_px": round(self.usual_step, 2),
            "bent_px": round(self.bent, 1),
        }


def findings_to_list(findings: Sequence[Finding]) -> list[dict[str, object]]:
    return [
        {"reason": found.reason, "share": found.share, "message": found.message}
        for found in findings
    ]


class ContactSheet:
    """Rows of pictures, one for each clip, and curves below."""

    def __init__(self) -> None:
        self._rows: list[NDArray[np.uint8]] = []

    def add_clip(
        self, title: str, pictures: Sequence[Picture], landmarks: NDArray[np.float32]
    ) -> None:
        """Add a row of pictures spread over a clip; ``landmarks`` ``[frames, 468, 2]`` of them."""
        tiles = []
        for place in np.linspace(0, len(pictures) - 1, _SHOTS).round().astype(int):
            picture = cv2.cvtColor(pictures[place], cv2.COLOR_YUV2RGB_I420)
            low, high = landmarks[place].min(axis=0), landmarks[place].max(axis=0)
            corners = [tuple(int(v) for v in corner.round()) for corner in (low, high)]
            cv2.rectangle(picture, corners[0], corners[1], (255, 220, 80), 2, cv2.LINE_AA)
            tiles.append(cv2.resize(picture, (_TILE, _TILE), interpolation=cv2.INTER_AREA))
        row = np.hstack(tiles)
        _write(row, title, (6, 16), (255, 255, 255))
        self._rows.append(np.asarray(row, np.uint8))

    def add_curves(
        self, title: str, names: Sequence[str], curves: NDArray[np.float32], unit: str
    ) -> None:
        """``curves`` float32 ``[n, k]`` over the length of the material; NaN leaves a gap."""
        width = _SHOTS * _TILE
        plot = np.empty((_PLOT_HEIGHT, width, 3), np.uint8)
        plot[:] = _PAPER
        low, high = float(np.nanmin(curves)), float(np.nanmax(curves))
        span = max(high - low, 1e-6)
        x = np.linspace(0, width - 1, len(curves))
        cv2.line(plot, (0, _PLOT_HEIGHT - 1), (width, _PLOT_HEIGHT - 1), _FAINT)
        for curve, color in zip(curves.T, _CURVES, strict=False):
            y = (_PLOT_HEIGHT - 8) - (curve - low) / span * (_PLOT_HEIGHT - 34)
            known = np.flatnonzero(np.isfinite(y))
            for part in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1):
                points = np.stack([x[part], y[part]], axis=1).round().astype(np.int32)
                cv2.polylines(plot, [points], False, color, 1, cv2.LINE_AA)
        _write(plot, f"{title}: {low:.0f} to {high:.0f} {unit}", (6, 16), _INK)
        for number, name in enumerate(names):
            _write(plot, name, (width - 90 * (len(names) - number), 16), _CURVES[number])
        self._rows.append(plot)

    def write(self, path: Path) -> None:
        sheet = cv2.cvtColor(np.vstack(self._rows), cv2.COLOR_RGB2BGR)
        path.write_bytes(cv2.imencode(".png", sheet)[1].tobytes())


def _write(
    picture: NDArray[np.uint8], text: str, at: tuple[int, int], color: tuple[int, int, int]
) -> None:
    if color == (255, 255, 255):
        cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, color, 1, cv2.LINE_AA)
