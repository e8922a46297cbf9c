"""A photograph is shown in the colors that its ICC profile means."""

import numpy as np
import pytest
from PIL import Image, ImageCms

from inference.preparation.color_profile import to_srgb
from inference.preparation.footage import examine, pictures
from tests.heic import heic

STORED, MEANT = (200, 40, 60), (40, 200, 60)


def exchanging_profile() -> bytes:
    """A profile in whose space red is what green is in sRGB."""
    content = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return content.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")


def stored(mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (200, 160), STORED)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("photo.jpg", {"quality": 98, "subsampling": 0}),
        ("photo.png", {}),
        ("photo.webp", {"lossless": True}),
        ("photo.avif", {"quality": 98}),
        ("photo.tif", {}),
    ],
)
def test_each_format(tmp_path, name, options):
    stored().save(tmp_path / name, icc_profile=exchanging_profile(), **options)
    shown = next(pictures(examine(tmp_path / name)))
    assert shown.mean(axis=(0, 1)) == pytest.approx(MEANT, abs=4)


def test_a_phone_s_tiles(tmp_path):
    content = heic(np.asarray(stored()), 128, profile=exchanging_profile())
    (tmp_path / "photo.heic").write_bytes(content)
    shown = next(pictures(examine(tmp_path / "photo.heic")))
    assert shown.mean(axis=(0, 1)) == pytest.approx(MEANT, abs=6)


def test_beside_what_is_transparent(tmp_path):
    picture = stored("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 100, 160))
    picture.save(tmp_path / "cut-out.png", icc_profile=exchanging_profile())
    shown = next(pictures(examine(tmp_path / "cut-out.png")))
    assert shown[0, 0].tolist() == [128, 128, 128]
    assert shown[0, 150] == pytest.approx(MEANT, abs=1)


@pytest.mark.parametrize(
    "profile",
    [None, b"", b"no profile", exchanging_profile()[:300], exchanging_profile()[:-40]],
)
def test_a_damaged_profile_changes_nothing(profile):
    picture = np.asarray(stored(), np.uint8)
    assert (to_srgb(picture, profile) == picture).all()


def test_a_profile_of_other_channels_changes_nothing():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    picture = np.asarray(stored(), np.uint8)
    assert (to_srgb(picture, lab) == picture).all()
