"""Limits of a preparation: the kernel keeps them, whatever the process does."""

import os
import platform
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from avatars_app.preparation.limits import (
    MAX_FILE_BYTES,
    PreparationLimits,
    child_environment,
    has_used_up_its_time,
)
from inference.assets.manifest import STANDARD_CLIPS
from inference.preparation.choose import LONGEST_NAMED
from inference.preparation.framing import SIDE

ROOT = Path(__file__).resolve().parents[3]


def limited(
    work: str, *, cpu_s: int = 60, memory_mb: int = 200
) -> "subprocess.CompletedProcess[str]":
    """A process that limits itself and then does ``work``."""
    program = f"""
from avatars_app.preparation.limits import PreparationLimits
PreparationLimits({cpu_s}, {memory_mb} * 1_000_000).apply()
{work}
"""
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel has no such limit")
def test_memory_beyond_the_limit_is_an_error_and_not_the_end():
    ended = limited(
        """
kept = bytes(100_000_000)
try:
    bytes(300_000_000)
except MemoryError:
    print("refused")
"""
    )
    assert (ended.stdout, ended.returncode) == ("refused\n", 0), ended.stderr


def test_processor_time_beyond_the_limit_ends_the_process():
    ended = limited("while True: pass", cpu_s=1)
    assert has_used_up_its_time(ended.returncode), (ended.returncode, ended.stderr)


@pytest.mark.lasting
def test_a_process_that_ignores_the_signal_ends_a_little_later():
    ended = limited(
        "import signal; signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass", cpu_s=1
    )
    assert ended.returncode == -signal.SIGKILL


def test_no_core_is_left_and_no_file_grows_without_end():
    ended = limited(
        "import resource\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_FSIZE))"
    )
    assert ended.stdout == f"(0, 0) ({MAX_FILE_BYTES}, {MAX_FILE_BYTES})\n", ended.stderr


def test_pictures_of_all_clips_fit_into_a_file():
    clips = sum(len(names) for names in STANDARD_CLIPS.values())
    assert clips * LONGEST_NAMED * SIDE * SIDE * 3 // 2 < MAX_FILE_BYTES


def test_a_lower_limit_of_the_operating_system_stays():
    ended = limited(
        "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (5, 5))\n"
        "PreparationLimits(60, 10**9).apply()\nprint(resource.getrlimit(resource.RLIMIT_CPU))"
    )
    assert ended.stdout == "(5, 5)\n", ended.stderr


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is not glibc's")
def test_pictures_that_are_freed_leave_no_hole_in_the_heap():
    """One that stays behind each that is freed would keep all their memory."""
    program = """
from ctypes import CDLL, c_size_t, c_void_p, memset
from pathlib import Path
libc = CDLL(None)
libc.malloc.argtypes, libc.malloc.restype, libc.free.argtypes = [c_size_t], c_void_p, [c_void_p]
def resident(): return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
large = libc.malloc(30_000_000); libc.free(large)  # by itself malloc would learn to keep so much
before = resident()
pictures = []
for _ in range(12):
    pictures.append(libc.malloc(8_000_000)); memset(pictures[-1], 1, 8_000_000); libc.malloc(50_000)
for picture in pictures: libc.free(picture)
print(resident() - before)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **child_environment()},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert int(ended.stdout) < 8_000_000, ended.stderr


def test_they_are_as_the_operator_says(settings):
    settings.PREPARATION_S, settings.PREPARATION_MEMORY_MB = 10, 300
    limits = PreparationLimits.from_settings()
    assert (limits.cpu_s, limits.wall_s, limits.memory_bytes) == (10, 40.0, 300_000_000)
    assert resource.getrlimit(resource.RLIMIT_CORE)[1] != 0, "they were not applied here"
