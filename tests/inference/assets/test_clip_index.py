"""Which clip of an avatar is meant, and when it may be left."""

from pathlib import Path

import pytest

from inference.assets.clip_index import ClipInfo, first_clip, index_of, resolve_clip
from tests.factories import make_avatar

REPERTOIRE = {
    shape.name: shape
    for shape in (
        ClipInfo("idle_0", "idle", 100, frozenset(range(0, 100, 25)), tuple(range(25, 101, 25))),
        ClipInfo("idle_1", "idle", 60, frozenset({0, 25, 50}), (20, 40, 60)),
        ClipInfo("speaking_0", "speaking", 75, frozenset({0, 25, 50}), (25, 50, 75)),
        ClipInfo("action_1", "action", 60, frozenset({0, 25, 50}), (60,)),
    )
}


def test_it_is_read_off_the_manifest(tmp_path: Path) -> None:
    manifest = make_avatar(tmp_path / "test", clips={"idle_0": 30, "speaking_0": 10})
    assert index_of(manifest) == {
        "idle_0": ClipInfo("idle_0", "idle", 30, frozenset({0, 25}), (25, 30)),
        "speaking_0": ClipInfo("speaking_0", "speaking", 10, frozenset({0}), (10,)),
    }


@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        ("idle_1", "idle_1"),
        ("idle_5", "idle_1"),
        ("speaking_7", "speaking_0"),
        ("action_2", "action_1"),
    ],
)
def test_a_standard_name_that_is_lacking_means_another_of_its_state(asked: str, seen: str) -> None:
    assert resolve_clip(REPERTOIRE, asked) == seen


def test_other_names_are_unknown() -> None:
    with pytest.raises(KeyError):
        resolve_clip(REPERTOIRE, "dance_1")


def test_a_state_without_clips_begins_with_an_idle_one() -> None:
    assert first_clip(REPERTOIRE, "speaking") == "speaking_0"
    idle_only = {name: REPERTOIRE[name] for name in ("idle_1", "idle_0")}
    assert first_clip(idle_only, "speaking") == "idle_1"


@pytest.mark.parametrize(("index", "frames"), [(0, 20), (19, 1), (20, 0), (21, 19), (60, 0)])
def test_a_clip_is_left_at_its_next_exit(index: int, frames: int) -> None:
    assert REPERTOIRE["idle_1"].frames_to_exit(index) == frames
