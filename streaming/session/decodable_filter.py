"""Drops frames that a client could not decode: after a gap, everything up to the next IDR.

A frame refers to the one before it, up to the next IDR. So a frame may be sent only if the one
before it was sent, or if it is an IDR. Frames are lost when a worker is replaced, when the channel
layer loses one, and when the client reads too slowly; each of these makes the filter wait for an
IDR. `frame_timestamp` never goes back: frames that a lost worker still sends are dropped.

An IDR is as large as twenty of the frames behind it, and fills the buffers to a slow client by
itself. Were it all that passes, the client would see a still for each of them. So what refers to an
IDR that was sent may follow it, up to `RUN_BYTES`, and the next IDR waits until the client has read
all of it: who reads at half the rate sees every other second whole. Who needs longer than
`LONG_IDR_FRAMES` for the IDR alone is sent stills, which are less late.

Pure.
"""

from inference.messages import VideoFrame

RUN_BYTES = 64 * 1024
"""How much may follow an IDR while the client reads too slowly: about 20 frames."""
LONG_IDR_FRAMES = 30
"""Who reads an IDR for longer than so many frames last is too slow for what follows it."""


class DecodableFilter:
    """Decides for each frame, in order, whether the client can decode it."""

    def __init__(self, last_accepted: int = -1) -> None:
        self._needs_idr = True
        self._last_came = self._last_accepted = last_accepted
        self._paused_frames = self._run_bytes = 0
        """Since the client last read too slowly: how many frames came, and what was sent."""
        self._idr_bytes = 0
        """Of the last IDR that was sent."""
        self._takes_runs = True

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
            is_paused: The client reads too slowly for another IDR to be sent.
        """
        number = frame.frame
        if number != self._last_came + 1:
            self._needs_idr = True
        self._last_came = number
        is_full = is_paused and not self._fits_run(frame)
        if not is_paused:
            self._pause_ended()
        if is_full or (self._needs_idr and not frame.is_idr) or number <= self._last_accepted:
            self._needs_idr = True
            return False
        self._needs_idr = False
        self._last_accepted = number
        if frame.is_idr:
            self._idr_bytes = len(frame.access_unit)
        return True

    def _fits_run(self, frame: VideoFrame) -> bool:
        """Whether a frame may follow what the client has not read yet."""
        self._paused_frames += 1
        size = len(frame.access_unit)
        if frame.is_idr or self._needs_idr or not self._takes_runs:
            return False
        if self._run_bytes + size > RUN_BYTES:
            return False
        self._run_bytes += size
        return True

    def _pause_ended(self) -> None:
        if self._paused_frames:
            read_bytes = max(1, self._idr_bytes + self._run_bytes)
            for_idr = self._paused_frames * self._idr_bytes / read_bytes
            self._takes_runs = for_idr <= LONG_IDR_FRAMES
            self._paused_frames = self._run_bytes = 0
