import pytest

from inference.assets.manifest import STANDARD_CLIPS
from streaming.protocol.errors import ProtocolError
from streaming.session.clip_choice import Clip, clip_named, clip_names, first_clip
from tests.streaming.fakes import FakeAvatar

ALL = [name for names in STANDARD_CLIPS.values() for name in names]
SMALL = FakeAvatar(clips={"idle": ("idle_0", "idle_1"), "speaking": ("speaking_0",), "action": ()})


def test_an_avatar_with_all_clips_shows_what_is_asked_for():
    assert clip_names(FakeAvatar()) == ALL
    assert [clip_named(FakeAvatar(), name).name for name in ALL] == ALL


@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        ("idle_1", Clip("idle", "idle_1")),
        ("idle_2", Clip("idle", "idle_0")),
        ("idle_5", Clip("idle", "idle_1")),
        ("speaking_7", Clip("speaking", "speaking_0")),
        ("action_1", Clip("idle", "idle_0")),
        ("action_2", Clip("idle", "idle_1")),
    ],
)
def test_a_standard_name_always_means_a_clip(asked, seen):
    assert clip_named(SMALL, asked) == seen


def test_a_state_begins_with_its_first_clip():
    assert first_clip(SMALL, "speaking") == Clip("speaking", "speaking_0")
    assert first_clip(SMALL, "action") == Clip("idle", "idle_0")


@pytest.mark.parametrize(
    "name", ["", "idle", "idle_7", "idle_0\n", "action_0", "\ud800", "x" * 999]
)
def test_other_names_are_refused_with_those_there_are(name):
    with pytest.raises(ProtocolError) as caught:
        clip_named(SMALL, name)
    assert caught.value.code == "INVALID_MESSAGE"
    assert "idle_0, idle_1, speaking_0" in caught.value.message
