"""How much memory the machine has left."""

from pathlib import Path

MEMINFO = Path("/proc/meminfo")


def has_memory_for(size_bytes: int, meminfo: Path = MEMINFO) -> bool:
    """Whether so much can be taken without anything being swapped out.

    Args:
        size_bytes: What is wanted.
        meminfo: The kernel's account.

    Returns:
        False as well where the system does not tell.
    """
    try:
        lines = meminfo.read_text().splitlines()
        [available_kb] = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
    except (OSError, ValueError, IndexError):
        return False
    return size_bytes <= available_kb * 1_024
