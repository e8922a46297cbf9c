"""Which avatar a user sees."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import IntegrityError

from avatars_app import selectors
from avatars_app.models import Avatar
from avatars_app.selectors import AvatarNotReady, avatar_for
from inference.assets import manifest
from inference.errors import AvatarNotFound
from tests.avatars_app.asset_folders import write_asset_folder

pytestmark = pytest.mark.django_db
Status = Avatar.Status

PRESENTER = Path(selectors.__file__).parent / "presenter"


@pytest.fixture
def avatars_dir(tmp_path: Path, settings) -> Path:
    settings.AVATARS_DIR = tmp_path / "avatars"
    settings.SHIPPED_AVATARS_DIR = tmp_path / "shipped"
    settings.DEFAULT_AVATAR = "presenter"
    write_asset_folder(settings.SHIPPED_AVATARS_DIR / "presenter", version="shipped")
    return settings.AVATARS_DIR


def not_ready(user_id: str) -> tuple[str, int]:
    with pytest.raises(AvatarNotReady) as refused:
        avatar_for(user_id)
    return refused.value.reason, refused.value.percent


def test_a_user_without_an_avatar_sees_the_default(avatars_dir: Path) -> None:
    shown = avatar_for("someone")
    assert (shown.folder, shown.version) == ("presenter", "shipped")
    assert shown.clips == {
        "idle": ("idle_0", "idle_1"),
        "speaking": ("speaking_0",),
        "action": ("action_1",),
    }
    assert (shown.codec, shown.width, shown.height) == ("avc1.42C01E", 512, 512)


def test_a_folder_without_a_row_counts_as_ready(avatars_dir: Path) -> None:
    write_asset_folder(avatars_dir / "me", version="mine")
    assert avatar_for("me").version == "mine"


def test_an_own_folder_goes_before_a_shipped_one_of_the_same_name(avatars_dir: Path) -> None:
    write_asset_folder(avatars_dir / "presenter", version="redrawn")
    assert avatar_for("someone").version == "redrawn"


@pytest.mark.parametrize(
    ("status", "percent", "reason"),
    [
        (Status.QUEUED, 0, "preparing"),
        (Status.PREPARING, 40, "preparing"),
        (Status.FAILED, 70, "failed"),
    ],
)
def test_an_own_avatar_that_is_not_ready_is_never_replaced_by_another_face(
    avatars_dir: Path, status: str, percent: int, reason: str
) -> None:
    Avatar.objects.create(user_id="me", status=status, percent=percent)
    assert not_ready("me") == (reason, percent)


def test_a_disabled_avatar_is_not_shown_though_its_folder_is_there(avatars_dir: Path) -> None:
    write_asset_folder(avatars_dir / "me", version="mine")
    Avatar.objects.create(user_id="me", status=Status.DISABLED, folder="me")
    assert not_ready("me") == ("none", 0)


def test_the_old_one_is_shown_while_it_is_prepared_again(avatars_dir: Path) -> None:
    write_asset_folder(avatars_dir / "me", version="old")
    Avatar.objects.create(user_id="me", status=Status.PREPARING, percent=10, folder="me")
    assert avatar_for("me").version == "old"


def test_a_ready_row_without_its_folder_is_a_failure(avatars_dir: Path, caplog) -> None:
    Avatar.objects.create(user_id="me", status=Status.READY, folder="me")
    assert not_ready("me") == ("failed", 0)
    assert "me" in caplog.text


def test_a_damaged_folder_is_a_failure(avatars_dir: Path, caplog) -> None:
    write_asset_folder(avatars_dir / "me", version="mine")
    (avatars_dir / "me" / manifest.MANIFEST_NAME).write_text("{")
    assert not_ready("me") == ("failed", 0)
    assert "me" in caplog.text


def test_a_damaged_folder_is_listed_as_failed(avatars_dir: Path) -> None:
    for name in ("row", "folder", "whole"):
        write_asset_folder(avatars_dir / name, version="mine")
    Avatar.objects.create(user_id="row", status=Status.READY, folder="row")
    for name in ("row", "folder"):
        (avatars_dir / name / manifest.MANIFEST_NAME).write_text("{")
    listed = selectors.shown_avatars(with_disabled=False)
    assert {shown.user_id: shown.status for shown in listed} == {
        "folder": "failed",
        "presenter": "ready",
        "row": "failed",
        "whole": "ready",
    }


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def overwrite_header(path: Path) -> None:
    path.write_bytes(bytes(16) + path.read_bytes()[16:])


@pytest.mark.parametrize("damage", [Path.unlink, cut_short, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("name", ["clips/idle_1.h264", "viseme/lips.npy"])
def test_a_folder_with_a_file_that_is_damaged_is_listed_as_failed_and_mends_by_itself(
    avatars_dir: Path, caplog, name: str, damage: Callable[[Path], object]
) -> None:
    copy_presenter(avatars_dir / "me")
    path = avatars_dir / "me" / name
    content = path.read_bytes()
    assert states()["me"] == "ready"
    damage(path)
    assert states()["me"] == "failed"
    assert not_ready("me") == ("failed", 0)
    assert str(path) in caplog.text
    path.write_bytes(content)
    assert states()["me"] == "ready"


def test_an_array_of_the_right_length_that_is_none_is_listed_as_failed(avatars_dir: Path) -> None:
    copy_presenter(avatars_dir / "me")
    assert states()["me"] == "ready"
    overwrite_header(avatars_dir / "me" / "viseme" / "idle_0.npy")
    assert states()["me"] == "failed"


def test_a_clip_is_looked_at_where_sizes_of_files_were_not_written_down(avatars_dir: Path) -> None:
    write_asset_folder(avatars_dir / "me", version="mine")
    assert states()["me"] == "ready"
    cut_short(manifest.clip_path(avatars_dir / "me", "idle_0"))
    assert states()["me"] == "failed"


def copy_presenter(folder: Path) -> None:
    shutil.copytree(PRESENTER, folder, ignore=shutil.ignore_patterns("musetalk"))


def states() -> dict[str, str]:
    """Return what is listed, by name."""
    listed = selectors.shown_avatars(with_disabled=False)
    return {shown.user_id: shown.status for shown in listed}


def test_a_row_can_be_made_the_default(avatars_dir: Path) -> None:
    write_asset_folder(avatars_dir / "anna", version="annas")
    Avatar.objects.create(user_id="anna", status=Status.READY, folder="anna", is_default=True)
    assert avatar_for("someone").version == "annas"


def test_a_default_that_is_not_ready_leaves_the_setting_s(avatars_dir: Path) -> None:
    Avatar.objects.create(user_id="anna", status=Status.PREPARING, is_default=True)
    assert avatar_for("someone").version == "shipped"


def test_without_a_default_nobody_is_shown(avatars_dir: Path, settings, caplog) -> None:
    settings.DEFAULT_AVATAR = ""
    assert not_ready("someone") == ("none", 0)
    settings.DEFAULT_AVATAR = "missing"
    assert not_ready("someone") == ("none", 0)
    assert "DEFAULT_AVATAR" in caplog.text


def test_a_changed_folder_is_read_again(avatars_dir: Path) -> None:
    folder = avatars_dir / "me"
    write_asset_folder(folder, version="one")
    assert avatar_for("me").version == "one"
    folder.rename(avatars_dir / "older")
    write_asset_folder(folder, version="two")
    assert avatar_for("me").version == "two"


@pytest.mark.parametrize("name", ["", ".", "..", "../shipped/presenter", "a/b", "me\n", "x" * 65])
def test_no_name_leads_out_of_the_shelves(avatars_dir: Path, name: str) -> None:
    write_asset_folder(avatars_dir / "me", version="mine")
    assert selectors.asset_path("me") == avatars_dir / "me"
    with pytest.raises(AvatarNotFound):
        selectors.asset_path(name)


def test_only_one_avatar_is_the_default(avatars_dir: Path) -> None:
    Avatar.objects.create(user_id="one", is_default=True)
    with pytest.raises(IntegrityError):
        Avatar.objects.create(user_id="two", is_default=True)
