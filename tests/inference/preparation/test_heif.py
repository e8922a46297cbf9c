"""A phone's photograph is put together from its tiles, and shown the right way up."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from inference.errors import PreparationError
from inference.preparation import heif
from inference.preparation.footage import examine, pictures
from tests.heic import heic

SIDE = 128


def photograph(height: int = 200, width: int = 300) -> np.ndarray:
    """Another color at each corner, no edges."""
    corners = np.array([[[230, 40, 40], [40, 200, 60]], [[40, 60, 220], [210, 210, 60]]], np.uint8)
    return cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)


def shown(path: Path) -> np.ndarray:
    footage = examine(path)
    (picture,) = pictures(footage)
    assert (footage.height, footage.width) == picture.shape[:2]
    assert footage.is_still
    return picture.astype(int)


@pytest.mark.parametrize(
    ("turns", "is_mirrored"), [(b"\0", False), (b"\1", False), (b"\3", False), (b"\2", True)]
)
def test_tiles_become_the_picture_turned_as_it_says(tmp_path, turns, is_mirrored):
    path = tmp_path / "photo.heic"
    path.write_bytes(heic(photograph(), SIDE, turns=turns, is_mirrored=is_mirrored))
    wanted = np.rot90(photograph(), turns[0])
    wanted = wanted[:, ::-1] if is_mirrored else wanted
    seen = shown(path)
    assert seen.shape == wanted.shape
    assert np.abs(seen - wanted).mean() < 3


@pytest.mark.parametrize("turns", [b"\0", b"\1", b"\2", b"\3"])
@pytest.mark.parametrize("is_mirrored", [False, True])
def test_only_its_clean_aperture_is_seen(tmp_path, turns, is_mirrored):
    path = tmp_path / "photo.heic"
    options = {"turns": turns, "is_mirrored": is_mirrored, "aperture": (120, 60, -100, 60)}
    path.write_bytes(heic(photograph(), SIDE, **options))
    wanted = np.rot90(photograph()[100:160, 40:160], turns[0])
    wanted = wanted[:, ::-1] if is_mirrored else wanted
    seen = shown(path)
    assert seen.shape == wanted.shape
    assert np.abs(seen - wanted).mean() < 3


def test_an_aperture_of_nothing_is_refused(tmp_path):
    path = tmp_path / "photo.heic"
    path.write_bytes(heic(photograph(), SIDE, aperture=(20, 20, 4_000, 0)))
    with pytest.raises(PreparationError, match="nothing of the picture"):
        examine(path)


def test_a_tile_that_is_named_many_times_is_no_work_without_end():
    """A kilobyte may name a tile of 100 megapixels 65,536 times."""
    tile = np.zeros((SIDE, SIDE, 3), np.uint8)
    most = heif.Grid(2, 3, 300, 200, (1,) * 6)
    assert most.assembled({1: tile}).shape == (200, 300, 3)
    for rows, columns in ((3, 3), (2, 4)):
        grid = heif.Grid(rows, columns, 300, 200, (1,) * (rows * columns))
        with pytest.raises(ValueError, match="outside"):
            grid.assembled({1: tile})


def test_large_ones_are_reduced_like_any_photograph(tmp_path, monkeypatch):
    monkeypatch.setattr("inference.preparation.footage._MOST_PIXELS", 200 * 299)
    path = tmp_path / "photo.heic"
    path.write_bytes(heic(photograph(), SIDE))
    assert shown(path).shape == (100, 150, 3)


def test_a_tile_that_is_missing_is_said(tmp_path):
    path = tmp_path / "photo.heic"
    content = heic(photograph(), SIDE)
    # The second tile is of a kind that nobody knows.
    at = content.index(b"hvc1", content.index(b"hvc1", content.index(b"iinf")) + 4)
    path.write_bytes(content[:at] + b"what" + content[at + 4 :])
    with pytest.raises(PreparationError, match=r"photo\.heic .*tiles are missing: 1") as caught:
        examine(path)
    assert caught.value.reason == "unreadable"


def test_no_damage_is_more_than_a_refusal(tmp_path):
    path = tmp_path / "photo.heic"
    content = heic(photograph(), SIDE)
    described = content.index(b"mdat")
    random = np.random.default_rng(1)
    for attempt in range(2_000):
        is_whole = attempt % 5 > 0
        damaged = bytearray(content[: described if is_whole else random.integers(20, described)])
        for at in random.integers(len(damaged), size=random.integers(1, 6)):
            new = random.integers(256, size=random.integers(1, 9)).astype(np.uint8).tobytes()
            old = random.choice((0, 1, len(new)))
            damaged[at : at + old] = random.choice((new, b"\xff" * len(new)))
        path.write_bytes(damaged)
        try:
            heif.read(path)
        except ValueError:
            continue


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_avif_is_turned_as_it_says(tmp_path, orientation):
    """As a JPEG is: `Image.save` writes what EXIF says as properties of the picture."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("photo.jpg", "photo.avif"):
        Image.fromarray(photograph()).save(tmp_path / name, exif=exif)
    jpeg, avif = (shown(tmp_path / name) for name in ("photo.jpg", "photo.avif"))
    assert jpeg.shape == avif.shape
    assert np.abs(jpeg - avif).mean() < 5
