"""How many cores there are for us.

A container or an affinity mask may leave fewer than the machine has. Threads and processes beyond
the cores that can be used only take the time of the others.
"""

import math
import os
import sys
from pathlib import Path

CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def available_cores(quota_file: Path = CGROUP_QUOTA) -> int:
    """Cores that this process may use: by its affinity and its control group's quota."""
    if sys.platform == "linux":
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:
        quota, period = quota_file.read_text().split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no control group of version 2, or no limit: "max 100000"
        return cores
