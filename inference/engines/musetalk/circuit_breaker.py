"""Whether it is worth beginning a picture: not on a device that takes longer than anybody can wait.

Such a picture would come too late to be shown, and its making would take the processor from the
stream. So after some calls that took too long only one is tried now and then: soon at first, since
devices are slow also because others use them for a moment, and ever more seldom.
"""

CALLS = 3
"""So many in a row: one alone may have met something else."""

TRY_AGAIN_AFTER_S = (0.5, 1.0, 2.0, 4.0, 10.0)
"""After each call too long in a row, beside the time that it took; the last one repeatedly."""


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
        if self._too_long >= CALLS:
            pause_s = TRY_AGAIN_AFTER_S[min(self._too_long - CALLS, len(TRY_AGAIN_AFTER_S) - 1)]
            if now_s - self._tried_s < self._took_s + pause_s:
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
