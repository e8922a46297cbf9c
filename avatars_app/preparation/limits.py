"""What one preparation may use of the machine.

The process of a preparation sets these limits on itself before it reads a byte that people sent.
The kernel keeps them, so that they hold inside a decoder too: memory that is not given is an error
in the middle of the work, a file that grows too long is another, and processor time that is used up
ends the process, whatever it is doing.
"""

import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
from django.conf import settings

WALL_FACTOR = 4
"""A preparation gives way to streams, so it takes longer than its processor time."""
MAX_FILE_BYTES = 2_500_000_000
"""Of one file: pictures put aside between two stages are the longest, at most 2.1 GB, of seventeen
clips of twelve seconds."""
GRACE_S = 5
THREADS = 2
"""Of the image library, each with a stack of its own."""
_MMAP_THRESHOLD_BYTES = 1_000_000
"""Larger blocks go back to the system when they are freed. In the heap of glibc, 4K pictures of a
decoder leave holes that nothing fits into: 200 MB more each second."""


@dataclass(frozen=True, slots=True)
class PreparationLimits:
    """The limits of one preparation."""

    cpu_s: int
    memory_bytes: int
    """Beside what the process has when the limits are set."""

    @classmethod
    def from_settings(cls) -> "PreparationLimits":
        """As the operator set them."""
        return cls(settings.PREPARATION_S, settings.PREPARATION_MEMORY_MB * 1_000_000)

    @property
    def wall_s(self) -> float:
        """On the clock; the runner ends the process then."""
        return float(WALL_FACTOR * self.cpu_s)

    def apply(self) -> None:
        """Limit this process. Where the kernel lacks a limit, the others hold."""
        _lower(resource.RLIMIT_CORE, 0)
        _lower(resource.RLIMIT_FSIZE, MAX_FILE_BYTES)
        used_s = sum(os.times()[:2])
        _lower(resource.RLIMIT_CPU, int(used_s) + self.cpu_s, grace=GRACE_S)
        cv2.setNumThreads(THREADS)
        if sys.platform == "linux":
            _lower(resource.RLIMIT_DATA, _data_bytes() + self.memory_bytes)


def child_environment() -> dict[str, str]:
    """Environment variables of the process: what it cannot set for itself once it runs."""
    return {
        # One thread each for the libraries that would take all cores.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_MMAP_THRESHOLD_": str(_MMAP_THRESHOLD_BYTES),
    }


def has_used_up_its_time(status: int | None) -> bool:
    """Whether a process that ended with this status was ended by its limit of processor time."""
    return status == -signal.SIGXCPU


def _lower(which: int, value: int, *, grace: int = 0) -> None:
    """Set a limit, unless a lower one holds already."""
    _, hard = resource.getrlimit(which)
    highest = value + grace if hard == resource.RLIM_INFINITY else min(hard, value + grace)
    resource.setrlimit(which, (min(value, highest), highest))


def _data_bytes() -> int:
    """Private memory that the process may write to."""
    status = Path("/proc/self/status").read_text()
    (kilobytes,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmData:"))
    return int(kilobytes) * 1_024
