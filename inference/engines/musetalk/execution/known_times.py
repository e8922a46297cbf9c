"""What batches take, kept in a file, for engine processes that replace one that ended.

Measuring takes seconds, and what it finds depends on what else the machine does: a process that
replaces another one continues with what that one found. The file lives as long as the command that
starts the engine processes, so each start measures once.
"""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

log = logging.getLogger(__name__)


class KnownTimes:
    """The file, see the module."""

    def __init__(self, path: Path, weights: str) -> None:
        """Nothing is read yet.

        Args:
            path: Of the file.
            weights: Which networks are measured; times of others are not used.
        """
        self._path = path
        self._weights = weights

    def read(self, device: str) -> dict[int, float]:
        """The kept times.

        Args:
            device: What was measured on, and in which precision.

        Returns:
            Milliseconds by batch size; empty if nothing fits.
        """
        try:
            kept = json.loads(self._path.read_bytes())
            if (kept["device"], kept["weights"]) == (device, self._weights):
                return {int(size): float(took_ms) for size, took_ms in kept["ms"].items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            pass  # nothing was kept, or something else: it is measured
        return {}

    def write(self, device: str, milliseconds: Mapping[int, float]) -> None:
        """Keep times; without a disk they are measured again.

        Args:
            device: As for `read`.
            milliseconds: By batch size.
        """
        part = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        kept = {"device": device, "weights": self._weights, "ms": dict(milliseconds)}
        try:
            part.write_text(json.dumps(kept))
            part.replace(self._path)
        except OSError as error:
            log.warning("the measured times could not be kept: %s", error)
