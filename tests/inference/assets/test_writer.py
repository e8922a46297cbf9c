"""Asset folders: whole or absent, and what is in them is what was put in."""

import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.assets import manifest as manifests
from inference.assets.clip_index import index_of
from inference.assets.writer import AssetWriter, idr_positions
from inference.errors import AvatarInvalid, PreparationError
from inference.media.profile import VideoProfile
from inference.media.types import Picture

SMALL = VideoProfile(width=64, height=48)


def pictures(frames: int, tone: int = 100) -> Iterator[Picture]:
    for index in range(frames):
        picture = np.full((72, 64), 128, np.uint8)
        picture[:48] = tone + index
        yield picture


def write(destination: Path, *, frames: int = 30, tone: int = 100) -> None:
    with AssetWriter(destination, name="test", renderer="drawn", profile=SMALL) as assets:
        assets.add_clip("idle_0", "idle", pictures(frames, tone), frames=frames, exits=[frames, 10])
        assets.add_array("viseme/idle_0.npy", np.zeros((frames, 2, 3), np.float32))
        (assets.folder / "preview.mp4").write_bytes(b"for people")


@given(frames=st.integers(1, 400), gop=st.integers(1, 60))
def test_idrs_are_even_and_never_too_far_apart(frames: int, gop: int) -> None:
    positions = idr_positions(frames, gop)
    lengths = np.diff([*positions, frames])
    assert positions[0] == 0
    assert lengths.min() >= 1
    assert lengths.max() <= gop
    assert lengths.max() - lengths.min() <= 1


@given(frames=st.integers(1, 400), gop=st.integers(1, 60), exits=st.sets(st.integers(1, 400)))
def test_idrs_at_rest_are_never_too_far_apart(frames: int, gop: int, exits: set[int]) -> None:
    positions = idr_positions(frames, gop, exits)
    lengths = np.diff([*positions, frames])
    assert positions[0] == 0
    assert lengths.min() >= 1
    assert lengths.max() <= gop


def test_a_clip_can_be_entered_where_it_rests(tmp_path: Path) -> None:
    assert idr_positions(100, 25) == [0, 25, 50, 75]
    assert idr_positions(100, 25, {20, 21, 61, 99, 100})[:2] == [0, 20]
    with AssetWriter(tmp_path / "me", name="me", renderer="warp", profile=SMALL) as assets:
        assets.add_clip("idle_0", "idle", pictures(100), frames=100, exits=[21, 61, 100])
    (clip,) = index_of(manifests.read(tmp_path / "me")).values()
    assert clip.entries == (0, 20, 60)


def test_a_folder_reads_back(tmp_path: Path) -> None:
    write(tmp_path / "me")
    manifest = manifests.read(tmp_path / "me")
    (clip,) = manifest.clips
    assert manifest.profile.codec == "avc1.42C01E"
    assert (manifest.profile.width, manifest.profile.height) == (64, 48)
    assert clip.idr == [0, 15]
    assert clip.exits == [10, 30]
    assert sum(clip.sizes) == (tmp_path / "me/clips/idle_0.h264").stat().st_size
    assert np.load(tmp_path / "me/viseme/idle_0.npy").shape == (30, 2, 3)
    assert manifest.files == {
        "clips/idle_0.h264": sum(clip.sizes),
        "viseme/idle_0.npy": 128 + 30 * 2 * 3 * 4,
    }


def test_its_access_units_show_the_pictures(tmp_path: Path) -> None:
    with AssetWriter(tmp_path / "me", name="test", renderer="drawn", profile=SMALL) as assets:
        entry = assets.add_clip("idle_0", "idle", pictures(30), frames=30, exits=[30])
        shown = assets.shown(entry)
    assert len(shown) == 30
    for picture, seen in zip(pictures(30), shown, strict=True):
        assert np.abs(seen.astype(int) - picture).mean() < 2


def test_exits_may_be_set_after_a_look_at_what_is_shown(tmp_path: Path) -> None:
    with AssetWriter(tmp_path / "me", name="test", renderer="drawn", profile=SMALL) as assets:
        for name in ("idle_0", "idle_1"):
            assets.add_clip(name, "idle", pictures(30), frames=30, exits=[30])
        assets.set_exits("idle_1", [30, 12])
    assert [clip.exits for clip in manifests.read(tmp_path / "me").clips] == [[30], [12, 30]]


def test_others_may_read_it(tmp_path: Path) -> None:
    write(tmp_path / "me")
    assert stat.S_IMODE((tmp_path / "me").stat().st_mode) == 0o755


def test_an_error_leaves_no_trace(tmp_path: Path) -> None:
    def fail() -> None:
        with AssetWriter(tmp_path / "me", name="test", renderer="warp", profile=SMALL) as assets:
            assets.add_array("report.npy", np.zeros(3, np.float32))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_put_in_place_leaves_no_trace(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:

        def refuse(*paths: Path, **former: Path) -> None:
            raise PermissionError(13, "Permission denied")

        patch.setattr("inference.assets.writer.publish", refuse)
        with pytest.raises(PermissionError):
            write(tmp_path / "me")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_clips_is_refused_without_a_trace(tmp_path: Path) -> None:
    with (
        pytest.raises(AvatarInvalid, match="at least one idle clip"),
        AssetWriter(tmp_path / "me", name="test", renderer="warp", profile=SMALL),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_failing_rewrite_leaves_the_old_avatar(tmp_path: Path) -> None:
    write(tmp_path / "me")
    before = manifests.read(tmp_path / "me")
    with (
        pytest.raises(PreparationError, match="29 pictures instead of 30") as told,
        AssetWriter(tmp_path / "me", name="test", renderer="drawn", profile=SMALL) as assets,
    ):
        assets.add_clip("idle_0", "idle", pictures(29), frames=30, exits=[30])
    assert told.value.reason == "clip_length"
    assert manifests.read(tmp_path / "me") == before
    assert [path.name for path in tmp_path.iterdir()] == ["me"]


def test_a_rewrite_takes_the_old_ones_place(tmp_path: Path) -> None:
    write(tmp_path / "me")
    (tmp_path / "me/leftover").touch()
    write(tmp_path / "me", frames=20)
    assert manifests.read(tmp_path / "me").clips[0].frames == 20
    assert not (tmp_path / "me/leftover").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["me"]


def test_the_version_tells_contents_apart(tmp_path: Path) -> None:
    for name, tone in (("first", 100), ("same", 100), ("other", 101)):
        write(tmp_path / name, tone=tone)
    versions = {p.name: manifests.read(p).version for p in tmp_path.iterdir()}
    assert versions["first"] == versions["same"] != versions["other"]
