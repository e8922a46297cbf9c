"""How much memory there is left for us: of the machine, and of what a container may take."""

from collections.abc import Iterator
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
GROUPS = Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")


def has_memory_for(
    size_bytes: int, meminfo: Path = MEMINFO, groups: Path = GROUPS, own_group: Path = OWN_GROUP
) -> bool:
    """Whether so much can be taken without anything being swapped out, or ended.

    Args:
        size_bytes: What is wanted.
        meminfo: The kernel's account.
        groups: Its control groups, version 2. One that is limited has its processes ended when it
            is full, however much the machine has left.
        own_group: In which of them this process is.

    Returns:
        False as well where the system does not tell.
    """
    try:
        lines = meminfo.read_text().splitlines()
        [available_kb] = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
        left = min([available_kb * 1_024, *_left_in_groups(groups, own_group)])
    except (OSError, ValueError, IndexError):
        return False
    return size_bytes <= left


def _left_in_groups(groups: Path, own_group: Path) -> Iterator[int]:
    """Yield what can still be taken of each limited group that this process is in, bytes."""
    names = own_group.read_text().splitlines() if own_group.exists() else []
    for path in [groups / name.removeprefix("0::/") for name in names if name.startswith("0::/")]:
        for group in (path, *path.parents):
            limit = group / "memory.max"
            if limit.exists() and (most := limit.read_text().strip()) != "max":
                yield int(most) - int((group / "memory.current").read_text()) + _spare(group)


def _spare(group: Path) -> int:
    """Return what a group holds of files that are not in use: the kernel lets go of that first."""
    lines = (line.split() for line in (group / "memory.stat").read_text().splitlines())
    return next((int(size) for name, size in lines if name == "inactive_file"), 0)
