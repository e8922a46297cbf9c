"""What was freed is given back."""

import ctypes
import platform
from pathlib import Path

import pytest

from inference import malloc

MIB = 1024 * 1024


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is not glibc's")
def test_what_lies_between_things_that_stay_is_given_back() -> None:
    # Below the size from which on malloc makes maps of their own; every tenth one stays.
    blocks = [bytes(100_000) for _ in range(1_000)]
    staying = blocks[::10]
    before = resident_bytes()
    del blocks
    assert malloc.trim()
    assert before - resident_bytes() > 50 * MIB
    assert len(staying) == 100


def test_another_malloc_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(name: None) -> object:
        raise OSError

    monkeypatch.setattr(ctypes, "CDLL", no_library)
    assert malloc.trim() is False
