"""Which pictures may go to the client: its decoder shall never err, its time never turn back.

A picture refers to the one before it. So whenever one is missing, be it because the client reads
too slowly, because it got lost, or because another worker goes on, all that follow are held back up
to the next IDR. Each keeps its number: what the client sees is a gap in time.
"""

from inference.messages import VideoFrame


class DecodableFilter:
    def __init__(self) -> None:
        self.is_paused = False
        """The client reads too slowly: nothing may be added to what it has not read."""
        self._needs_idr = True
        self._last_came = -1
        self._last_passed = -1

    @property
    def last_passed(self) -> int:
        """Number of the last frame that went to the client; -1 before the first."""
        return self._last_passed

    def require_idr(self) -> None:
        """Another encoder begins."""
        self._needs_idr = True

    def passes(self, frame: VideoFrame) -> bool:
        """Whether ``frame`` may be sent; each one that comes is to be asked about, in order."""
        number = frame.frame
        if number != self._last_came + 1:
            self._needs_idr = True
        self._last_came = number
        if self.is_paused or (self._needs_idr and not frame.is_idr) or number <= self._last_passed:
            self._needs_idr = True
            return False
        self._needs_idr = False
        self._last_passed = number
        return True
