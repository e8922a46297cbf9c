"""The presenter in any pose: layers painted once, laid over each other as the pose moves them."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import skia
from numpy.typing import NDArray

from inference.engines.viseme.shape import MouthShape
from inference.media.types import Picture
from inference.presenter import background, body, eyes, hair, hands, head, lips, relief
from inference.presenter.look import Look
from inference.presenter.paint import (
    MARGIN,
    SCALE,
    SIDE,
    TEXTURE_SIDE,
    Field,
    Rgba,
    put,
    texture,
    to_array,
    to_image,
)
from inference.presenter.pose import Points, Pose, move_body, move_with_head

_STEP = 16
"""Canonical pixels between the points of a grid."""

RgbPicture = NDArray[np.uint8]
Move = Callable[[Pose], Points]


class _Grid:
    """The points that carry a texture."""

    def __init__(self) -> None:
        line = np.arange(-MARGIN, SIDE + MARGIN + 1, _STEP, dtype=np.float64)
        line[-1] = SIDE + MARGIN
        x, y = np.meshgrid(line, line)
        self.points = np.stack([x.ravel(), y.ravel()], axis=1)
        n = len(line)
        corner = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
        self._triangles = np.stack(
            [corner, corner + 1, corner + n, corner + 1, corner + n + 1, corner + n], axis=1
        )
        self._texels = [
            skia.Point(float(px), float(py)) for px, py in (self.points + MARGIN) * SCALE
        ]

    def sample(self, field: Field) -> NDArray[np.float64]:
        """Return the values of a texture-sized ``field`` at the points."""
        at = np.clip(((self.points + MARGIN) * SCALE).astype(int), 0, TEXTURE_SIDE - 1)
        return np.asarray(field[at[:, 1], at[:, 0]], np.float64)

    def covering(self, pixels: Rgba) -> list[int]:
        """Return the corners of the triangles that carry anything of a texture."""
        seen = cv2.dilate((pixels[..., 3] > 0).astype(np.uint8), np.ones((5, 5), np.uint8))
        cell = _STEP * SCALE
        cells = -(-TEXTURE_SIDE // cell)
        seen = np.pad(seen, ((0, cells * cell - TEXTURE_SIDE),) * 2)
        full = seen.reshape(cells, cell, cells, cell).any(axis=(1, 3)).ravel()
        return [int(i) for i in self._triangles[full].ravel()]

    def draw(
        self, canvas: skia.Canvas, image: skia.Image, corners: list[int], moved: Points
    ) -> None:
        vertices = skia.Vertices(
            skia.Vertices.VertexMode.kTriangles_VertexMode,
            [skia.Point(float(x), float(y)) for x, y in moved],
            self._texels,
            None,
            corners,
        )
        sampling = skia.SamplingOptions(skia.FilterMode.kLinear)
        shader = image.makeShader(skia.TileMode.kDecal, skia.TileMode.kDecal, sampling)
        canvas.drawVertices(vertices, skia.Paint(Shader=shader), skia.BlendMode.kDst)


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    image: skia.Image
    corners: list[int]
    move: Move


class Presenter:
    """Draws one. Painting the textures takes some seconds, a picture a fraction of one."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._grid = _Grid()
        points = self._grid.points
        x, y = points[:, 0], points[:, 1]

        face_depth = self._grid.sample(relief.soften(head.face_height(look.face), 2.5))
        skull = np.sqrt(np.clip(1 - ((x - 256) / 110) ** 2 - ((y - 178) / 142) ** 2, 0, 1))
        neck_hold = np.clip((392 - y) / 92, 0, 1) ** 1.3

        def with_head(depth: NDArray[np.float64], hold: NDArray[np.float64] | float = 1.0) -> Move:
            return lambda pose: move_with_head(pose, points, depth, hold)

        def on_body(pose: Pose) -> Points:
            moved = move_body(pose, points)
            moved[:, 0] = 256 + (moved[:, 0] - 256) * look.clothes.build
            return moved

        ears = self._layer(head.ears(look), with_head(np.full_like(x, 4.0)))
        on_skull = with_head(100 * skull)
        self._room = to_image(background.room(look.room))
        self._behind = [
            self._layer(head.neck(look), with_head(np.full_like(x, 18.0), neck_hold)),
            self._layer(body.top(look.clothes), on_body),
            self._layer(body.jacket(look.clothes), on_body),
        ]
        if look.hair.cut == "long":
            back, falling = self._hanging(skull)
            self._behind.insert(0, self._layer(hair.back(look.hair), back))
            self._front = [
                self._layer(hair.swept(look.hair), on_skull),
                ears,
                self._layer(hair.falling(look.hair), falling),
            ]
        else:
            self._front = [self._layer(hair.cropped(look.hair), on_skull), ears]
        self._face = head.face(look)
        self._face_corners = self._grid.covering(self._face)
        self._move_face = with_head(face_depth)
        self._hands = hands.Hands(look)

    def _hanging(self, skull: NDArray[np.float64]) -> tuple[Move, Move]:
        """How long hair moves: behind the neck, and down past the cheek."""
        points = self._grid.points
        x, y = points[:, 0], points[:, 1]
        hang = np.clip((430 - y) / 190, 0.22, 1.0)
        tip = np.clip((y - 210) / 220, 0, 1) ** 1.5

        def hanging(depth: NDArray[np.float64], trail: float) -> Move:
            def move(pose: Pose) -> Points:
                moved = move_with_head(pose, points, depth, hang)
                moved[:, 0] += trail * pose.sway * tip
                return moved

            return move

        behind = -46 * np.clip(1 - (np.abs(x - 256) / 96) ** 2, 0, 1)
        beside = np.maximum(96 * skull, 36.0) - 10 * np.clip((y - 250) / 200, 0, 1)
        return hanging(behind, 0.6), hanging(beside, 1.0)

    def _layer(self, pixels: Rgba, move: Move) -> _Layer:
        return _Layer(to_image(pixels), self._grid.covering(pixels), move)

    def face_texture(self, pose: Pose, shape: MouthShape | None = None) -> Rgba:
        """Return the face before it is turned; without a mouth if ``shape`` is None."""

        def draw(canvas: skia.Canvas) -> None:
            put(canvas, self._face)
            eyes.draw_eyes(
                canvas,
                self._look,
                blink=pose.blink,
                gaze=eyes.Gaze(pose.gaze_x, pose.gaze_y),
                squint=0.75 * max(pose.smile, 0.0),
                wide=max(pose.brows, 0.0) * 0.6,
            )
            eyes.draw_brows(
                canvas,
                self._look.eyes,
                raised=pose.brows,
                frown=pose.frown,
                skew=pose.brow_skew,
            )
            if shape is not None:
                lips.draw_lips(canvas, self._look, shape, lips.REST_SMILE + pose.smile)

        return texture(draw)

    def draw(self, pose: Pose) -> RgbPicture:
        """The presenter with the mouth closed, uint8 ``[512, 512, 3]``, red first."""
        surface = skia.Surface(SIDE * SCALE, SIDE * SCALE)
        canvas = surface.getCanvas()
        canvas.scale(SCALE, SCALE)
        canvas.save()
        canvas.translate(-MARGIN, -MARGIN)
        canvas.scale(1 / SCALE, 1 / SCALE)
        canvas.drawImage(self._room, 0, 0)
        canvas.restore()
        for layer in self._behind:
            self._grid.draw(canvas, layer.image, layer.corners, layer.move(pose))
        face = to_image(self.face_texture(pose, MouthShape()))
        self._grid.draw(canvas, face, self._face_corners, self._move_face(pose))
        for layer in self._front:
            self._grid.draw(canvas, layer.image, layer.corners, layer.move(pose))
        self._hands.draw(canvas, pose)
        large = np.ascontiguousarray(to_array(surface)[..., :3])
        return np.asarray(cv2.resize(large, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)

    def mouth_placement(self, pose: Pose) -> NDArray[np.float32]:
        """Return the affine map ``[2, 3]`` from canonical to picture coordinates about the lips."""
        return self._placement(pose, MOUTH_AREA)

    def eyes_placement(self, pose: Pose) -> NDArray[np.float32]:
        """The same about the eyes."""
        return self._placement(pose, EYES_AREA)

    def _placement(
        self, pose: Pose, area: tuple[float, float, float, float]
    ) -> NDArray[np.float32]:
        left, top, right, bottom = area
        x, y = self._grid.points.T
        inner = (x > left) & (x < right) & (y > top) & (y < bottom)
        source = self._grid.points[inner]
        target = self._move_face(pose)[inner]
        basis = np.column_stack([source, np.ones(len(source))])
        solution, *_ = np.linalg.lstsq(basis, target, rcond=None)
        return np.asarray(solution.T, np.float32)


MOUTH_AREA = (208.0, 240.0, 306.0, 322.0)
"""Left, top, right, bottom of what the mouth's placement is fitted to, canonical pixels."""
EYES_AREA = (190.0, 160.0, 322.0, 212.0)
"""The same for the eyes' placement."""


def to_i420(picture: RgbPicture) -> Picture:
    """BT.601 limited range, as the encoder and the browser expect."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420), np.uint8)
