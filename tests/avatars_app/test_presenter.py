"""The shipped presenters: complete, small, and their clips follow one another without a jump."""

from pathlib import Path

import av
import numpy as np
import pytest

from inference.assets import manifest as manifests
from inference.assets.manifest import STANDARD_CLIPS, ClipEntry, Manifest
from inference.media.profile import DEFAULT_PROFILE
from inference.presenter.clips import CLIPS

SHIPPED = Path(__file__).parents[2] / "avatars_app"
MANIFESTS = {name: manifests.read(SHIPPED / name) for name in ("presenter", "narrator")}
CLIPS_OF_ALL = [
    pytest.param(name, clip, id=f"{name}-{clip.name}")
    for name, manifest in MANIFESTS.items()
    for clip in manifest.clips
]
ENTRIES_OF_LOOPS = [case for case in CLIPS_OF_ALL if case.values[1].state != "action"]
MOUTH = (slice(236, 384), slice(160, 352))
"""Left out where steps are measured: speech may change it anyway."""


def lumas(name: str, clip: ClipEntry) -> np.ndarray:
    """All pictures' luma without the mouth, int16 ``[frames, 512, 512]``."""
    coded = (SHIPPED / name / "clips" / f"{clip.name}.h264").read_bytes()
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
    assert MANIFESTS["presenter"].clip_names() == wanted


@pytest.mark.parametrize("manifest", MANIFESTS.values(), ids=MANIFESTS)
def test_the_others_have_enough_of_each_state_for_variety(manifest: Manifest) -> None:
    assert manifest.renderer == "drawn"
    states = [clip.state for clip in manifest.clips]
    assert states.count("idle") >= 4
    assert states.count("speaking") >= 4
    assert states.count("action") >= 1
    assert any(clip.is_attentive for clip in manifest.clips)


@pytest.mark.parametrize("manifest", MANIFESTS.values(), ids=MANIFESTS)
def test_every_clip_has_a_title_of_its_own(manifest: Manifest) -> None:
    titles = {clip.name: clip.title for clip in manifest.clips}
    assert titles.items() <= {motion.name: motion.title for motion in CLIPS}.items()
    for state in STANDARD_CLIPS:
        of_state = [title for name, title in titles.items() if name.startswith(state)]
        assert len(set(of_state)) == len(of_state)
        assert all(of_state)


@pytest.mark.parametrize("manifest", MANIFESTS.values(), ids=MANIFESTS)
def test_their_profile_is_the_servers(manifest: Manifest) -> None:
    for field in DEFAULT_PROFILE.__dataclass_fields__:
        assert getattr(manifest.profile, field) == getattr(DEFAULT_PROFILE, field)


@pytest.mark.parametrize(("name", "clip"), CLIPS_OF_ALL)
def test_clips_last_two_to_six_seconds(name: str, clip: ClipEntry) -> None:
    assert 50 <= clip.frames <= 150


@pytest.mark.parametrize(("name", "clip"), ENTRIES_OF_LOOPS)
def test_a_clip_may_be_left_within_a_second(name: str, clip: ClipEntry) -> None:
    assert max(np.diff([0, *clip.exits])) < 25


@pytest.mark.parametrize(("name", "most"), [("presenter", 15_000_000), ("narrator", 9_000_000)])
def test_the_folder_stays_small(name: str, most: int) -> None:
    files = [path for path in (SHIPPED / name).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < most


@pytest.mark.slow
@pytest.mark.lasting
@pytest.mark.parametrize(("name", "manifest"), MANIFESTS.items(), ids=MANIFESTS)
def test_no_change_of_clip_is_a_jump(name: str, manifest: Manifest) -> None:
    """From any exit to any other clip: not above the 99th percentile of both clips' steps."""
    steps: dict[str, np.ndarray] = {}
    first: dict[str, np.ndarray] = {}
    last_before_exit: dict[str, list[np.ndarray]] = {}
    for clip in manifest.clips:
        seen = lumas(name, clip)
        steps[clip.name] = np.array(
            [step(a, b) for a, b in zip(seen, np.roll(seen, -1, axis=0), strict=True)]
        )
        first[clip.name] = seen[0]
        last_before_exit[clip.name] = [seen[index - 1] for index in clip.exits]
    jumps = []
    for left, pictures in last_before_exit.items():
        for other, picture in first.items():
            usual = np.percentile(np.concatenate([steps[left], steps[other]]), 99)
            jumps += [
                (left, exit_number, other, round(step(last, picture), 2), round(usual, 2))
                for exit_number, last in enumerate(pictures)
                if other != left and step(last, picture) > usual
            ]
    assert jumps == []
