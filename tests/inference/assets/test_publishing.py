"""A folder takes the place of another one, whole, whatever happens at that moment."""

import os
import signal
from pathlib import Path

import pytest

from inference.assets.publishing import publish


def folder(path: Path, content: str) -> Path:
    (path / "clips").mkdir(parents=True)
    (path / "clips" / "idle_0.h264").write_text(content)
    return path


def content(path: Path) -> str:
    return (path / "clips" / "idle_0.h264").read_text()


def test_all_of_it_is_on_the_disk_before_it_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else files are empty after the power failed, beside a row that says that all is ready."""
    made, shelf = folder(tmp_path / ".made", "new"), tmp_path
    inner = [made, made / "clips", made / "clips" / "idle_0.h264"]
    written: list[tuple[int, bool]] = []

    def sync(descriptor: int) -> None:
        written.append((os.fstat(descriptor).st_ino, (shelf / "me").exists()))

    monkeypatch.setattr(os, "fsync", sync)
    inodes = {path.stat().st_ino for path in inner}
    publish(made, shelf / "me", former=tmp_path / "former")
    assert {inode for inode, is_seen in written if not is_seen} == inodes
    assert (shelf.stat().st_ino, True) in written


@pytest.mark.parametrize("moved", [1, 2])
def test_a_process_that_is_ended_in_between_leaves_one_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    old, made = folder(tmp_path / "me", "old"), folder(tmp_path / ".made", "new")
    rename = Path.rename
    names: list[str] = []

    def ended_after(path: Path, target: Path) -> Path:
        names.append(path.name)
        result = rename(path, target)
        if len(names) == moved:
            raise SystemExit(128 + signal.SIGTERM)
        return result

    monkeypatch.setattr(Path, "rename", ended_after)
    with pytest.raises(SystemExit):
        publish(made, old, former=tmp_path / "former")
    assert content(old) == ("old" if moved == 1 else "new")
