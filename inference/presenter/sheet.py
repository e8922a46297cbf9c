"""The contact sheet for the README: what the built folder shows, as a viewer would see it."""

from pathlib import Path

import cv2
import numpy as np

from inference.assets import manifest as manifests
from inference.assets.clips import AvatarClips, PictureCache
from inference.engines.viseme.renderers.drawn import DrawnMouth
from inference.engines.viseme.shape import MouthShape
from inference.media.compositor import paste
from inference.media.profile import DEFAULT_PROFILE
from inference.presenter.scene import RgbPicture

_SMALL = 256
_SHOWN: tuple[tuple[str, int, MouthShape], ...] = (
    ("speaking_1", 33, MouthShape(open=0.72, wide=0.1, teeth=0.7)),
    ("speaking_4", 12, MouthShape(open=0.30, round=0.95, wide=-0.5)),
    ("speaking_2", 37, MouthShape(open=0.30, wide=0.8, teeth=1.0)),
    ("speaking_6", 34, MouthShape(open=0.16, tuck=1.0, teeth=1.0)),
    ("idle_1", 56, MouthShape()),
    ("idle_2", 36, MouthShape()),
    ("action_1", 40, MouthShape()),
    ("action_2", 36, MouthShape(open=0.45, wide=0.2, teeth=0.7)),
)


def contact_sheet(folder: Path) -> RgbPicture:
    """One large picture and eight small ones, uint8 ``[512, 1536, 3]``."""
    manifest = manifests.read(folder)
    clips = AvatarClips(folder, PictureCache(), profile=DEFAULT_PROFILE)
    mouth = DrawnMouth.open(folder, manifest)

    def seen(clip: str, index: int, shape: MouthShape) -> RgbPicture:
        picture = clips[clip].picture(index)
        patch = mouth.render(clip, index, picture, shape)
        picture = paste(picture, patch) if patch else picture
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_YUV2RGB_I420), np.uint8)

    tiles = [
        cv2.resize(seen(*shown), (_SMALL, _SMALL), interpolation=cv2.INTER_AREA) for shown in _SHOWN
    ]
    large = seen("speaking_0", 14, MouthShape(open=0.42, wide=0.25, teeth=0.8))
    rows = [np.hstack(tiles[:4]), np.hstack(tiles[4:])]
    return np.asarray(np.hstack([large, np.vstack(rows)]), np.uint8)
