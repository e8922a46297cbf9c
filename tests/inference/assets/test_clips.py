"""Clips in memory: the bytes as they are, the pictures in step with them, the cache bounded."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest

from inference.assets import manifest as manifests
from inference.assets.clips import AvatarClips, PictureCache
from inference.errors import AvatarInvalid, AvatarNotFound
from inference.media.profile import DEFAULT_PROFILE, VideoProfile
from tests.factories import CLIPS, picture

GROUP_BYTES = 25 * 768 * 512


@pytest.fixture
def folder(avatars_dir: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(avatars_dir / "test", tmp_path / "test")


def open_clips(folder: Path, cache: PictureCache | None = None) -> AvatarClips:
    return AvatarClips(folder, cache or PictureCache(), profile=DEFAULT_PROFILE)


def test_every_picture_is_the_one_its_access_unit_shows(folder: Path) -> None:
    clips = open_clips(folder)
    for name, frames in CLIPS.items():
        for index in range(0, frames, 7):
            seen = clips[name].picture(index).astype(float)
            assert np.abs(seen - picture(name, index)).mean() < 1.5, (name, index)


def test_pictures_cannot_be_written_to(folder: Path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        open_clips(folder)["idle_0"].picture(0)[:] = 0


def test_the_cache_keeps_its_limit_and_the_latest(folder: Path) -> None:
    cache = PictureCache(limit_bytes=2 * GROUP_BYTES)
    clips = open_clips(folder, cache)
    for name in ("idle_0", "idle_1", "speaking_0"):
        clips[name].picture(24)
    assert not clips["idle_0"].is_decoded(0)
    assert clips["speaking_0"].is_decoded(0)
    assert clips["speaking_0"].is_decoded(CLIPS["speaking_0"] + 3)


def test_a_group_is_decoded_as_far_as_it_is_asked_for(folder: Path) -> None:
    clip = open_clips(folder)["idle_0"]
    clip.picture(3)
    assert clip.is_decoded(3)
    assert not clip.is_decoded(4)
    clip.decode_ahead(5)
    assert clip.is_decoded(5)
    assert not clip.is_decoded(6)


def test_many_threads_decode_each_picture_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = open_clips(folder)["idle_0"]
    fed: list[int] = []
    original = clip.access_unit

    def counted(index: int) -> bytes:
        fed.append(index)
        return original(index)

    monkeypatch.setattr(clip, "access_unit", counted)
    with ThreadPoolExecutor(8) as pool:
        pictures = list(pool.map(clip.picture, [3, 7] * 8))
    assert fed == list(range(8))
    assert all(p is pictures[n % 2] for n, p in enumerate(pictures))


def test_a_group_with_too_few_pictures_is_refused_each_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = open_clips(folder)["idle_0"]
    idr, second = clip.access_unit(0), clip.access_unit(1)
    monkeypatch.setattr(clip, "access_unit", lambda index: second if index else idr[:4])
    for _ in range(2):
        with pytest.raises(AvatarInvalid, match="clip idle_0: "):
            clip.picture(20)


def test_no_folder_no_avatar(tmp_path: Path) -> None:
    with pytest.raises(AvatarNotFound):
        open_clips(tmp_path / "nobody")


def test_another_profile_is_refused_and_named(folder: Path) -> None:
    with pytest.raises(AvatarInvalid, match=r"with crf 21.*with 30: prepare it again"):
        AvatarClips(folder, PictureCache(), profile=VideoProfile(crf=30))


def test_a_short_file_is_refused(folder: Path) -> None:
    path = folder / "clips" / "idle_0.h264"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(AvatarInvalid, match="the manifest promises"):
        open_clips(folder)


def test_damaged_bytes_are_refused_when_they_are_needed(folder: Path) -> None:
    path = folder / "clips" / "idle_0.h264"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(AvatarInvalid, match="clip idle_0"):
        open_clips(folder)["idle_0"].picture(0)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        ({"format": 9}, "format 9"),
        ({"clips": []}, "at least one idle clip"),
        ({"version": 3}, "Expected `str`"),
    ],
)
def test_a_manifest_that_is_wrong_says_where(
    folder: Path, spoil: dict[str, object], complaint: str
) -> None:
    path = folder / manifests.MANIFEST_NAME
    path.write_bytes(msgspec.json.encode({**msgspec.json.decode(path.read_bytes()), **spoil}))
    with pytest.raises(AvatarInvalid, match=complaint):
        open_clips(folder)
