"""The upper face: moved by as much as is asked for, where it should, and nowhere else."""

import numpy as np
import pytest

from inference.engines.viseme.emphasis import Emphasis
from inference.engines.viseme.renderers.expression import Eye, express, face_place, is_seen
from inference.media.compositor import paste
from inference.media.types import Patch

RANDOM = np.random.default_rng(4)
LEFT, RIGHT = np.array([196.0, 200.0], np.float32), np.array([316.0, 200.0], np.float32)


def eye(x: float) -> Eye:
    along = np.linspace(-1, 1, 7)
    upper = np.stack([x + 18 * along, 200 - 8 * (1 - along**2)], 1)
    lower = np.stack([x + 18 * along, 200 + 6 * (1 - along**2)], 1)
    return Eye(upper.astype(np.float32), lower.astype(np.float32))


FACE = face_place(LEFT, RIGHT, (eye(214), eye(298)))


def bands() -> np.ndarray:
    """A picture of horizontal bands: what moves up or down changes, what moves aside does not."""
    picture = np.full((768, 512), 128, np.uint8)
    picture[:512] = (128 + 80 * np.sin(np.arange(512) / 5))[:, None].astype(np.uint8)
    return picture


def changed(emphasis: Emphasis, mouth: Patch | None = None) -> np.ndarray:
    """Rows and columns of the luma that differ, ``[n, 2]``."""
    picture = bands()
    patch = express(picture, mouth, FACE, emphasis)
    if patch is None:
        return np.empty((0, 2), int)
    return np.argwhere(np.abs(paste(picture, patch)[:512].astype(int) - picture[:512]) > 3)


def mouth_patch() -> Patch:
    return Patch(
        220, 280, *(np.full(size, 200, np.uint8) for size in ((60, 72), (30, 36), (30, 36)))
    )


def test_nothing_is_asked_for_and_nothing_is_made() -> None:
    assert express(bands(), None, FACE, Emphasis()) is None
    mouth = mouth_patch()
    assert express(bands(), mouth, FACE, Emphasis(0.1, 0.1, 0.01)) is mouth


def test_brows_move_above_the_eyes_alone() -> None:
    rows, columns = changed(Emphasis(brows=1)).T
    assert rows.min() > 200 - 0.65 * 120
    assert rows.max() < 200 - 8
    assert columns.min() > 256 - 0.75 * 120
    assert columns.max() < 256 + 0.75 * 120


def test_brows_rise_and_do_not_sink() -> None:
    picture = bands()
    picture[:512] = 200
    picture[172:178] = 40  # a brow
    patch = express(picture, None, FACE, Emphasis(brows=1))
    assert patch is not None
    column = paste(picture, patch)[:512, 220].astype(float)
    middle = float((np.arange(512) * (200 - column)).sum() / (200 - column).sum())
    assert 174.5 - 6 < middle < 174.5 - 2


def test_a_nod_moves_the_features_down_and_leaves_the_outline() -> None:
    rows, columns = changed(Emphasis(nod=1)).T
    assert rows.max() > 300
    assert columns.min() > 256 - 0.8 * 120
    assert columns.max() < 256 + 0.8 * 120


def test_a_blink_moves_the_eyes_alone() -> None:
    rows, columns = changed(Emphasis(blink=1)).T
    assert rows.min() > 170
    assert rows.max() < 212
    assert not ((columns > 236) & (columns < 276)).any()


def test_the_mouth_moves_along() -> None:
    mouth = mouth_patch()
    patch = express(bands(), mouth, FACE, Emphasis(nod=1))
    assert patch is not None
    shown = paste(bands(), patch)
    assert (shown[310, 230:280] == 200).all()
    assert shown[280, 256] < 200  # the skin above has come down


@pytest.mark.parametrize("shift", [(-200, -150), (190, 260), (0, 300)])
def test_a_face_at_the_edge_stays_inside_the_picture(shift: tuple[int, int]) -> None:
    offset = np.array(shift, np.float32)
    face = face_place(LEFT + offset, RIGHT + offset)
    patch = express(bands(), None, face, Emphasis(1, 1, 1))
    if patch is not None:
        height, width = patch.y_plane.shape
        assert patch.x >= 0 <= patch.y
        assert patch.x + width <= 512 >= patch.y + height
        assert not any(value % 2 for value in (patch.x, patch.y, width, height))


def test_the_patch_has_no_edge() -> None:
    picture = bands()
    patch = express(picture, None, FACE, Emphasis(1, 1, 1))
    assert patch is not None
    height, width = patch.y_plane.shape
    box = picture[patch.y : patch.y + height, patch.x : patch.x + width].astype(int)
    difference = np.abs(patch.y_plane - box)
    rim = np.concatenate([difference[0], difference[-1], difference[:, 0], difference[:, -1]])
    assert rim.max() <= 1


@pytest.mark.parametrize("nod", [0.36, 0.5, 0.7])
def test_a_small_nod_moves_a_smaller_part_of_the_face(nod: float) -> None:
    small, large = (express(bands(), None, FACE, Emphasis(nod=strength)) for strength in (nod, 1.0))
    assert large is not None
    if small is not None:
        assert small.y_plane.size < large.y_plane.size


def test_what_nobody_sees_is_not_drawn() -> None:
    far = face_place(np.array([250.0, 200.0], np.float32), np.array([262.0, 200.0], np.float32))
    assert express(bands(), None, far, Emphasis(brows=0.5, nod=0.6)) is None
    assert not is_seen(Emphasis(0.1, 0.1, 0.01))
    assert all(map(is_seen, (Emphasis(brows=0.3), Emphasis(nod=0.5), Emphasis(blink=0.1))))
