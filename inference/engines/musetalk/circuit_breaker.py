"""Whether it is worth beginning a picture: not on a device that takes longer than anybody can wait.

Such a picture would come too late to be shown, and its making would take the processor from the
stream. So after some calls that took too long only one is tried now and then: devices are slow also
because others use them.
"""

CALLS = 3
"""So many in a row: one alone may have met something else."""

TRY_AGAIN_AFTER_S = 10.0


class CircuitBreaker:
    """Pure: times are seconds of the caller's monotonic clock."""

    def __init__(self, limit_s: float) -> None:
        """``limit_s``: what a call may take for its pictures to be shown."""
        self._limit_s = limit_s
        self._tried_s = 0.0
        self._took_s = 0.0
        self._too_long = 0

    def learned(self, call_s: float) -> None:
        """Take over how long calls are known to take."""
        self._took_s, self._too_long = call_s, CALLS if call_s > self._limit_s else 0

    def took(self, call_s: float) -> None:
        """Take in how long the latest call took."""
        self._took_s = call_s
        self._too_long = self._too_long + 1 if call_s > self._limit_s else 0

    def may_begin(self, now_s: float) -> bool:
        if self._too_long >= CALLS and now_s - self._tried_s < TRY_AGAIN_AFTER_S:
            return False
        self._tried_s = now_s
        return True

    @property
    def reason(self) -> str:
        """Why not, for people."""
        return (
            f"MuseTalk takes {self._took_s:.2f} s for a call on this device, and a picture waits "
            f"{self._limit_s:.2f} s at most"
        )
