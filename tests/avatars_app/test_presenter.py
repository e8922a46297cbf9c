"""The shipped presenter: complete, small, and her clips follow one another without a jump."""

from pathlib import Path

import av
import numpy as np
import pytest

from inference.assets import manifest as manifests
from inference.assets.manifest import STANDARD_CLIPS, ClipEntry
from inference.media.profile import DEFAULT_PROFILE
from inference.presenter.clips import CLIPS

FOLDER = Path(__file__).parents[2] / "avatars_app" / "presenter"
MANIFEST = manifests.read(FOLDER)
MOUTH = (slice(236, 384), slice(160, 352))
"""Left out where steps are measured: speech may change it anyway."""


def lumas(clip: ClipEntry) -> np.ndarray:
    """All pictures' luma without the mouth, int16 ``[frames, 512, 512]``."""
    coded = (FOLDER / "clips" / f"{clip.name}.h264").read_bytes()
    decoder = av.CodecContext.create("h264", "r")
    ends = np.cumsum(clip.sizes)
    frames = [
        frame
        for end, size in zip(ends, clip.sizes, strict=True)
        for frame in decoder.decode(av.Packet(coded[end - size : end]))
    ]
    seen = np.stack(
        [f.to_ndarray(format="yuv420p")[:512] for f in [*frames, *decoder.decode(None)]]
    ).astype(np.int16)
    seen[:, MOUTH[0], MOUTH[1]] = 0
    return seen


def step(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first - second).mean())


def test_all_standard_clips_are_there_in_order() -> None:
    wanted = [name for names in STANDARD_CLIPS.values() for name in names]
    assert MANIFEST.clip_names() == wanted
    assert MANIFEST.renderer == "drawn"


def test_every_clip_has_a_title_of_its_own() -> None:
    titles = {clip.name: clip.title for clip in MANIFEST.clips}
    assert titles == {motion.name: motion.title for motion in CLIPS}
    for state in STANDARD_CLIPS:
        of_state = [title for name, title in titles.items() if name.startswith(state)]
        assert len(set(of_state)) == len(of_state)
        assert all(of_state)


def test_her_profile_is_the_servers() -> None:
    for field in DEFAULT_PROFILE.__dataclass_fields__:
        assert getattr(MANIFEST.profile, field) == getattr(DEFAULT_PROFILE, field)


@pytest.mark.parametrize("clip", MANIFEST.clips, ids=lambda clip: clip.name)
def test_clips_last_two_to_six_seconds(clip: ClipEntry) -> None:
    assert 50 <= clip.frames <= 150


@pytest.mark.parametrize(
    "clip", [c for c in MANIFEST.clips if c.state != "action"], ids=lambda clip: clip.name
)
def test_a_clip_may_be_left_within_a_second(clip: ClipEntry) -> None:
    assert max(np.diff([0, *clip.exits])) < 25


def test_the_folder_stays_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 15_000_000


@pytest.mark.slow
def test_no_change_of_clip_is_a_jump() -> None:
    """From any exit to any other clip: not above the 99th percentile of both clips' steps."""
    steps: dict[str, np.ndarray] = {}
    first: dict[str, np.ndarray] = {}
    last_before_exit: dict[str, list[np.ndarray]] = {}
    for clip in MANIFEST.clips:
        seen = lumas(clip)
        steps[clip.name] = np.array(
            [step(a, b) for a, b in zip(seen, np.roll(seen, -1, axis=0), strict=True)]
        )
        first[clip.name] = seen[0]
        last_before_exit[clip.name] = [seen[index - 1] for index in clip.exits]
    jumps = []
    for name, pictures in last_before_exit.items():
        for other, picture in first.items():
            usual = np.percentile(np.concatenate([steps[name], steps[other]]), 99)
            jumps += [
                (name, exit_number, other, round(step(last, picture), 2), round(usual, 2))
                for exit_number, last in enumerate(pictures)
                if other != name and step(last, picture) > usual
            ]
    assert jumps == []
