"""Folders are found by name, and looked at as they are now."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from inference.assets import library
from inference.assets.library import AvatarLibrary
from inference.errors import AvatarInvalid
from tests.factories import make_avatar


def test_an_avatar_that_is_replaced_while_it_is_looked_at_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = tmp_path / "avatars"
    make_avatar(shelf / "me", {"idle_0": 25})
    make_avatar(tmp_path / "new", {"idle_0": 50})
    avatars = AvatarLibrary(shelf, tmp_path / "shipped")
    check = library._check_files

    def replaced_first(files: Iterable[tuple[Path, int]]) -> None:
        monkeypatch.setattr(library, "_check_files", check)
        (shelf / "me").rename(tmp_path / "former")
        (tmp_path / "new").rename(shelf / "me")
        check(files)

    assert avatars.manifest("me").clips[0].frames == 25
    monkeypatch.setattr(library, "_check_files", replaced_first)
    assert avatars.manifest("me").clips[0].frames == 50
    (shelf / "me" / "clips" / "idle_0.h264").unlink()
    with pytest.raises(AvatarInvalid, match=r"idle_0\.h264 cannot be read"):
        avatars.manifest("me")


def test_a_folder_that_may_not_be_read_is_damaged_and_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user prepared it, whose files are its own."""
    make_avatar(tmp_path / "me", {"idle_0": 25})

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(AvatarInvalid, match=r"manifest\.json cannot be read: Permission denied"):
        AvatarLibrary(tmp_path, tmp_path / "shipped").manifest("me")
