"""A face drawn with a few ellipses: enough of one for the nets to find, and with a known mouth."""

import cv2
import numpy as np
from numpy.typing import NDArray

_SUPERSAMPLING = 2
_SHIFT = 4  # sub-pixel bits of OpenCV's drawing


def draw_face(
    *,
    width: int = 512,
    height: int = 512,
    x: float = 256,
    y: float = 250,
    size: float = 230,
    tilt_deg: float = 0.0,
    mouth_open: float = 0.0,
    has_teeth: bool = False,
    background: tuple[int, int, int] = (150, 170, 190),
) -> NDArray[np.uint8]:
    """uint8 ``[height, width, 3]``, RGB. ``size``: height of the face in pixels, its center at
    ``x, y``; ``tilt_deg`` clockwise; ``mouth_open``: gap between the lips, 1 is a wide [a];
    ``has_teeth``: an upper row in it, before the dark."""
    scale = _SUPERSAMPLING
    canvas = np.empty((height * scale, width * scale, 3), np.uint8)
    canvas[:] = background
    turn = cv2.getRotationMatrix2D((0, 0), -tilt_deg, size * scale)
    turn[:, 2] = x * scale, y * scale

    def ellipse(
        cx: float, cy: float, rx: float, ry: float, color: tuple[int, int, int], angle: float = 0
    ) -> None:
        center = turn[:, :2] @ (cx, cy) + turn[:, 2]
        cv2.ellipse(
            canvas,
            tuple(round(v * 2**_SHIFT) for v in center),
            tuple(round(r * size * scale * 2**_SHIFT) for r in (rx, ry)),
            tilt_deg + angle,
            0,
            360,
            color,
            -1,
            cv2.LINE_AA,
            _SHIFT,
        )

    skin, shade, hair, lips = (232, 186, 156), (198, 146, 116), (58, 38, 30), (178, 74, 78)
    ellipse(0, -0.08, 0.46, 0.60, hair)
    ellipse(0, 0.62, 0.17, 0.30, shade)
    ellipse(0, 0.0, 0.37, 0.50, skin)
    for side in (-1, 1):
        ellipse(side * 0.16, -0.145, 0.085, 0.018, hair, side * 6)
        ellipse(side * 0.16, -0.06, 0.075, 0.038, (246, 246, 246))
        ellipse(side * 0.16, -0.06, 0.036, 0.036, (74, 50, 36))
        ellipse(side * 0.16, -0.06, 0.016, 0.016, (14, 10, 10))
        ellipse(side * 0.16, -0.092, 0.080, 0.010, hair)
        ellipse(side * 0.035, 0.135, 0.017, 0.010, (140, 84, 66))
    ellipse(0, 0.115, 0.045, 0.03, (238, 196, 168))
    ellipse(-0.02, 0.03, 0.012, 0.09, shade)
    gap = 0.09 * mouth_open
    ellipse(0, 0.262 + gap / 2, 0.15, 0.036 + gap / 2 + 0.01, lips)
    lips_alone = canvas.copy()
    ellipse(0, 0.258 + gap / 2, 0.13, 0.004 + gap / 2, (60, 18, 20))
    if has_teeth and mouth_open > 0.2:
        is_inside = (canvas != lips_alone).any(2)
        lips_alone[:] = canvas
        ellipse(0, 0.253, 0.11, 0.036, (236, 232, 220))
        canvas[~is_inside] = lips_alone[~is_inside]
    soft = cv2.GaussianBlur(canvas, (0, 0), 1.2 * scale * size / 230)
    return np.asarray(cv2.resize(soft, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def to_rgb(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """I420 ``[h * 3 // 2, w]`` → RGB ``[h, w, 3]``, both uint8."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_YUV2RGB_I420), np.uint8)
