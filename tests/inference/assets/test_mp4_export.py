"""An avatar's clips as videos and its face as a picture."""

import io
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from inference.assets.manifest import Manifest
from inference.assets.mp4_export import clip_video, thumbnail
from inference.errors import AvatarInvalid
from tests.factories import make_avatar, picture


@pytest.fixture
def avatar(tmp_path: Path) -> tuple[Path, Manifest]:
    return tmp_path / "ann", make_avatar(tmp_path / "ann", {"idle_0": 30, "speaking_0": 25})


def test_a_clip_becomes_a_video_with_the_same_pictures(avatar):
    folder, manifest = avatar
    video = clip_video(folder, manifest, manifest.clips[0])
    with av.open(io.BytesIO(video)) as opened:
        stream = opened.streams.video[0]
        assert stream.average_rate == 25
        assert stream.duration * stream.time_base == pytest.approx(30 / 25)
        frames = list(opened.decode(video=0))
        assert [round(frame.time * 25) for frame in frames] == list(range(30))
        shown = frames[7].to_ndarray(format="yuv420p").astype(int)
        assert np.abs(shown - picture("idle_0", 7)).mean() < 2
        opened.seek(1_000_000)  # browsers seek; the index must say where the IDRs are
        assert next(opened.decode(video=0)).time >= 0.5


def test_the_thumbnail_is_the_avatar_at_rest(avatar):
    small = cv2.imdecode(np.frombuffer(thumbnail(*avatar), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert small.shape == (192, 192)
    expected = cv2.resize(picture("idle_0", 0)[:512], (192, 192), interpolation=cv2.INTER_AREA)
    # Studio range on the left, full range on the right.
    assert np.abs(small - (expected.astype(float) - 16) * 255 / 219).mean() < 4


def test_a_damaged_folder_is_said_so(avatar):
    folder, manifest = avatar
    (folder / "clips" / "idle_0.h264").write_bytes(b"cut off")
    for show in (
        lambda: thumbnail(folder, manifest),
        lambda: clip_video(folder, manifest, manifest.clips[0]),
    ):
        with pytest.raises(AvatarInvalid, match="idle_0"):
            show()
