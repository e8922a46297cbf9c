"""The contact sheet for the README: what the built folders show, as a viewer would see it."""

from collections.abc import Callable, Sequence
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
_LARGE = ("speaking_0", 14, MouthShape(open=0.42, wide=0.25, teeth=0.8))
_SHOWN: tuple[tuple[str, int, MouthShape], ...] = (
    ("speaking_3", 52, MouthShape(open=0.30, round=0.95, wide=-0.5)),
    ("action_1", 40, MouthShape()),
)


def contact_sheet(folders: Sequence[Path]) -> RgbPicture:
    """Of each folder one large picture, then two small ones of each, uint8 ``[512, w, 3]``."""
    large, small = [], []
    for folder in folders:
        show = _shower(folder)
        large.append(show(*_LARGE))
        tiles = [
            cv2.resize(show(*shown), (_SMALL, _SMALL), None, 0, 0, cv2.INTER_AREA)
            for shown in _SHOWN
        ]
        small.append(np.vstack(tiles))
    return np.asarray(np.hstack([*large, *small]), np.uint8)


def _shower(folder: Path) -> Callable[[str, int, MouthShape], RgbPicture]:
    """What shows a mouth on a picture of a clip of ``folder``."""
    manifest = manifests.read(folder)
    clips = AvatarClips(folder, PictureCache(), profile=DEFAULT_PROFILE)
    mouth = DrawnMouth.open(folder, manifest)

    def show(clip: str, index: int, shape: MouthShape) -> RgbPicture:
        picture = clips[clip].picture(index)
        patch = mouth.render(clip, index, picture, shape)
        picture = paste(picture, patch) if patch else picture
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_YUV2RGB_I420), np.uint8)

    return show
