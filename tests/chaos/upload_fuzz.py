"""Damaged and made-up files for the preparation: each is prepared or refused, within its limits.

Every file has a process of its own, with the limits of a preparation. What may come out of it is an
avatar, a refusal with a reason, or the end by the limit of processor time; a crash, any other
exception, or anything left on the disk is an escape.
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from avatars_app.preparation.limits import PreparationLimits
from inference.errors import PreparationError
from inference.preparation.prepare import prepare
from tests.chaos.result import Result
from tests.drawn_face import draw_face
from tests.videos import person, write_video

CPU_S = 20
MEMORY_BYTES = 1_000_000_000
WALL_S = 240.0
"""Beside much else, on a busy machine."""

_PREPARED, _REFUSED, _NO_MEMORY, _NO_STORAGE, _ESCAPED = range(5)
_OUTCOMES = ("prepared", "refused", "too little memory", "not stored", "escaped")
_FIELDS = (b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00")


def _moving(frames: int) -> Iterator[np.ndarray]:
    """A gradient that moves, without a face: it is judged soon."""
    ramp = np.arange(160, dtype=np.uint16)
    for number in range(frames):
        plane = (ramp[:, None] + ramp[None] + 5 * number) % 256
        yield np.stack([plane, plane.T, plane[::-1]], axis=-1).astype(np.uint8)


def seeds(folder: Path) -> list[bytes]:
    """Files that can be prepared or are refused for one good reason, of every kind."""
    made: list[Path] = []
    for name, codec, pix_fmt in (
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mov", "mjpeg", "yuvj420p"),
        ("a.mkv", "libx264", "yuv420p"),
        ("a.webm", "libvpx", "yuv420p"),
        ("a.avi", "mjpeg", "yuvj420p"),
        ("a.ts", "libx264", "yuv420p"),
        ("a.gif", "gif", "rgb8"),
        ("a.flv", "libx264", "yuv420p"),
    ):
        made.append(write_video(folder / name, _moving(55), codec=codec, pix_fmt=pix_fmt))
    made.append(write_video(folder / "person.mp4", person(55), turned_deg=90))
    for extension in ("jpg", "png", "webp", "bmp", "tiff"):
        path = folder / f"face.{extension}"
        cv2.imwrite(
            str(path),
            cv2.cvtColor(
                draw_face(width=320, height=320, x=160, y=155, size=150), cv2.COLOR_RGB2BGR
            ),
        )
        made.append(path)
    return [path.read_bytes() for path in made]


class Damager:
    """Damages files, the same way for the same seed."""

    def __init__(self, seed: int, whole: list[bytes]) -> None:
        self._random = random.Random(seed)
        self._whole = whole

    def file(self) -> bytes:
        """One damaged file."""
        content = bytearray(self._random.choice(self._whole))
        for _ in range(self._random.choice((1, 1, 2, 5))):
            self._damage(content)
        return bytes(content)

    def _damage(self, content: bytearray) -> None:
        if not content:
            return
        roll = self._random
        # Headers are where a small change says most; they are at the beginning or at the end.
        end = roll.choice((64, 1_024, len(content), len(content)))
        at = roll.randrange(min(end, len(content)))
        at = len(content) - 1 - at if roll.random() < 0.3 else at
        match roll.randrange(7):
            case 0:
                for _ in range(roll.choice((1, 8, 64))):
                    content[roll.randrange(len(content))] ^= 1 << roll.randrange(8)
            case 1:
                content[at : at + 4] = roll.choice(_FIELDS)
            case 2:
                content[at : at + roll.choice((1, 16, 700))] = roll.randbytes(roll.randrange(700))
            case 3:
                del content[at:]
            case 4:
                del content[at : at + roll.choice((1, 4, 188, 5_000))]
            case 5:
                content[at:at] = content[at : at + roll.choice((8, 1_000, 20_000))]
            case 6:
                other = roll.choice(self._whole)
                content[at:] = other[roll.randrange(len(other)) :]


def _prepare_in_child(path: Path, output: Path, said: Path) -> None:
    """Prepare, and end this process with the outcome as its status."""
    outcome = _ESCAPED
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        PreparationLimits(CPU_S, MEMORY_BYTES).apply()
        prepare(path, output)
        outcome = _PREPARED
    except PreparationError as error:
        outcome = _REFUSED if error.reason and str(error).endswith(".") else _ESCAPED
        said.write_text(repr(error))
    except MemoryError:
        outcome = _NO_MEMORY
    except OSError as error:
        outcome = _NO_STORAGE
        said.write_text(repr(error))
    except BaseException as error:  # noqa: BLE001 - whatever comes out is what is looked for
        said.write_text(repr(error))
    os._exit(outcome)


def _wait(pid: int, end_s: float, pause: Callable[[float], object]) -> int | None:
    """The exit code, negative for a signal; None: it had to be killed."""
    while time.monotonic() < end_s:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        pause(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def run(count: int, *, seed: int = 0) -> Result:
    """Prepare ``count`` damaged files, one after the other."""
    pause = threading.Event().wait
    cv2.setNumThreads(1)  # a process that forks has one thread
    outcomes: Counter[str] = Counter()
    escapes: list[str] = []
    longest_s = 0.0
    root = Path(tempfile.mkdtemp(prefix="chaos-uploads-"))
    try:
        damager = Damager(seed, seeds(root))
        said = root / "said"
        for number in range(count):
            folder = root / str(number)
            folder.mkdir()
            path = root / "upload"
            path.write_bytes(damager.file())
            said.unlink(missing_ok=True)
            began_s = time.monotonic()
            pid = os.fork()
            if pid == 0:
                _prepare_in_child(path, folder / "avatar", said)
            status = _wait(pid, began_s + WALL_S, pause)
            longest_s = max(longest_s, time.monotonic() - began_s)
            outcome = _outcome(status)
            outcomes[outcome] += 1
            left = [found.name for found in folder.iterdir()]
            wanted = ["avatar"] if outcome == "prepared" else []
            died = outcome in ("time limit", "too little memory")
            if "escaped" in outcome or (left != wanted and not died):
                words = said.read_text() if said.exists() else ""
                escapes.append(f"seed {seed}, file {number}: {outcome} {words} left {left}")
            shutil.rmtree(folder)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    summary = ", ".join(f"{number} {name}" for name, number in outcomes.most_common())
    return Result(
        "uploads: damaged and spliced files",
        "prepared or refused in its limits",
        f"{count:,} files: {summary}; longest {longest_s:.0f} s",
        escapes,
    )


def _outcome(status: int | None) -> str:
    if status is None:
        return "escaped: it hung"
    if status == -signal.SIGXCPU:
        return "time limit"
    if status < 0:
        return f"escaped: {signal.Signals(-status).name}"
    return _OUTCOMES[status] if status < len(_OUTCOMES) else f"escaped: status {status}"


def main() -> None:
    """Print what was measured, then the escapes, a line each."""
    result = run(int(sys.argv[1]))
    print(result.measured, *(escape.replace("\n", " ") for escape in result.escapes), sep="\n")


if __name__ == "__main__":
    main()
