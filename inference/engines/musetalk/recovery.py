"""What follows a fault of the device: loading again, now and then, and giving up in the end.

A driver that stumbled, or memory that another program took, comes back. A CUDA context that is
broken does not, whatever is loaded into it: only a new process gets a new one. Some errors say that
of themselves; of others it shows in trying.
"""

from inference.engines.base import EngineState

RETRY_AFTER_S = 10.0
MOST_TRIES = 3
"""Failed loads in a row after which the device is given up."""

_BROKEN_CONTEXT_WORDS = (
    "illegal memory access",
    "illegal instruction",
    "misaligned address",
    "unspecified launch failure",
    "device-side assert",
    "hardware stack error",
    "uncorrectable ECC error",
    "CUDA error: the launch timed out",
)
"""Of errors after which every call in the process fails with the same one (CUDA's error codes 214,
702, 700 and 710 to 719)."""


class Recovery:
    """From healthy through faults to lost; a device that is healthy again gets a new one.

    Pure: times are seconds of the caller's monotonic clock.
    """

    def __init__(self) -> None:
        self._failed_s: float | None = None
        self._reason = ""
        self._tries = 0

    @property
    def is_healthy(self) -> bool:
        return self._failed_s is None

    @property
    def is_lost(self) -> bool:
        return self._tries >= MOST_TRIES

    def failed(self, error: BaseException, now_s: float) -> None:
        self._reason = (str(error) or type(error).__name__).splitlines()[0]
        self._failed_s = now_s
        if any(words in str(error) for words in _BROKEN_CONTEXT_WORDS):
            self._tries = MOST_TRIES

    def may_try(self, now_s: float) -> bool:
        """Whether it is time to load again; counts as a try if so."""
        if self._failed_s is None or self.is_lost or now_s - self._failed_s < RETRY_AFTER_S:
            return False
        self._tries += 1
        return True

    def state(self) -> EngineState:
        if self.is_healthy:
            return EngineState(message="The device failed, and is back.")
        hope = "this process must be restarted" if self.is_lost else "it is coming back"
        return EngineState(
            is_healthy=False,
            is_lost=self.is_lost,
            message=f"The device failed ({self._reason}); {hope}.",
        )
