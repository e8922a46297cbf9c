"""A folder takes the place of another one, whole, whatever happens at that moment."""

import ctypes
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inference.assets import publishing
from inference.assets.publishing import publish

ROOT = Path(__file__).resolve().parents[3]


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


EXCHANGES = publishing._renameat2() is not None
needs_exchange = pytest.mark.skipif(not EXCHANGES, reason="this system exchanges no names")


@pytest.mark.parametrize(
    ("exchanges", "moved", "left"),
    [
        pytest.param(True, 1, "new", marks=needs_exchange),
        (False, 1, "old"),
        (False, 2, "new"),
    ],
)
def test_a_process_that_is_ended_in_between_leaves_one_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool, moved: int, left: str
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

    if not exchanges:
        monkeypatch.setattr(publishing, "exchange", lambda one, other: False)
    monkeypatch.setattr(Path, "rename", ended_after)
    with pytest.raises(SystemExit):
        publish(made, old, former=tmp_path / "former")
    assert content(old) == left


@needs_exchange
def test_a_process_that_is_killed_in_between_leaves_one_of_both(tmp_path: Path) -> None:
    old, made = folder(tmp_path / "me", "old"), folder(tmp_path / ".made", "new")
    code = (
        "import os, signal; from pathlib import Path\n"
        "from inference.assets.publishing import publish\n"
        "rename = Path.rename\n"
        "def killed_after(path, target):\n"
        "    rename(path, target)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "Path.rename = killed_after\n"
        f"publish(Path({str(made)!r}), Path({str(old)!r}), former=Path({str(tmp_path)!r}) / 'f')"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert content(old) == "new"


@pytest.mark.parametrize("exchanges", [pytest.param(True, marks=needs_exchange), False])
def test_where_the_former_one_cannot_be_moved_all_is_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool
) -> None:
    old, made = folder(tmp_path / "me", "old"), folder(tmp_path / ".made", "new")
    if not exchanges:
        monkeypatch.setattr(publishing, "exchange", lambda one, other: False)
    with pytest.raises(OSError, match="No such file"):
        publish(made, old, former=tmp_path / "nowhere" / "former")
    assert (content(old), content(made)) == ("old", "new")


def test_where_names_cannot_be_exchanged_nothing_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = folder(tmp_path / "one", "1"), folder(tmp_path / "other", "2")

    def refuse(*_: object) -> int:
        ctypes.set_errno(errno.EINVAL)  # as NFS does
        return -1

    monkeypatch.setattr(publishing, "_renameat2", lambda: refuse)
    assert not publishing.exchange(one, other)
    monkeypatch.setattr(publishing, "_renameat2", lambda: None)
    assert not publishing.exchange(one, other)
    assert (content(one), content(other)) == ("1", "2")


@needs_exchange
def test_a_folder_that_is_missing_is_no_reason_to_go_another_way(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        publishing.exchange(folder(tmp_path / "one", "1"), tmp_path / "other")
