"""Drops frames that a client could not decode: after a gap, everything up to the next IDR.

A frame refers to the one before it, up to the next IDR. So a frame may be sent only if the one
before it was sent, or if it is an IDR. Frames are lost when a worker is replaced, when the channel
layer loses one, and when the client reads too slowly; each of these makes the filter wait for an
IDR. `frame_timestamp` never goes back: frames that a lost worker still sends are dropped.

Pure.
"""

from inference.messages import VideoFrame


class DecodableFilter:
    """Decides for each frame, in order, whether the client can decode it."""

    def __init__(self, last_accepted: int = -1) -> None:
        self._needs_idr = True
        self._last_came = self._last_accepted = last_accepted

    @property
    def last_accepted(self) -> int:
        """Number of the last frame that was sent; -1 before the first."""
        return self._last_accepted

    def require_idr(self) -> None:
        """Another encoder begins."""
        self._needs_idr = True

    def accepts(self, frame: VideoFrame, *, is_paused: bool) -> bool:
        """Whether ``frame`` may be sent; to be asked for every frame that comes, in order.

        Args:
            frame: The frame.
            is_paused: The client reads too slowly for anything to be sent.
        """
        number = frame.frame
        if number != self._last_came + 1:
            self._needs_idr = True
        self._last_came = number
        if is_paused or (self._needs_idr and not frame.is_idr) or number <= self._last_accepted:
            self._needs_idr = True
            return False
        self._needs_idr = False
        self._last_accepted = number
        return True
