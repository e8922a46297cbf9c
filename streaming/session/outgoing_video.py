"""A session's frames: from whichever worker it has to the client.

`FrameArrivals` knows from the frames that came which one is due, how late each was, and which
waited so long that the client should not see it.
`FrameRelay` shows every frame to those who watch the session, and sends the client what it can
decode, with its sound where that is wanted, in the form that was negotiated.

Pure: time is an argument.
"""

import math

from inference.messages import VideoFrame
from inference.timing import FRAME_S, FrameClock
from streaming.protocol.server_messages import FrameSound, frame_info, frame_message
from streaming.session.context import SessionContext
from streaming.session.decodable_filter import DecodableFilter

STALE_S = 1.0
"""Frames that come so much later than others lately are not sent: this process slept, or the layer,
and the client is to see the present."""
LATELY_S = 10.0


class FrameArrivals:
    """When frames come, and which one is due now, as far as the gateway can tell.

    Frame n is due n frame times after frame 0, by whichever worker's clock. The frame that came
    soonest, measured so, was delayed least on its way, so it tells best when frame 0 was due.
    """

    def __init__(self) -> None:
        self._clock: FrameClock | None = None
        """By the frame that came soonest."""
        self._least_late_s = self._usually_late_s = math.inf
        """In this stretch of `LATELY_S` and in the one before it."""
        self._stretch_ends_s = -math.inf

    def came(self, frame: int, now_s: float) -> float:
        """Seconds by which this frame came later than the soonest, measured by its number."""
        origin_s = now_s - frame * FRAME_S
        if self._clock is None or origin_s < self._clock.origin_s:
            self._clock = FrameClock(origin_s)
        return origin_s - self._clock.origin_s

    def is_stale(self, late_s: float, now_s: float) -> bool:
        """Whether a frame, by what `came` says of it, waited too long.

        Clocks of two machines drift apart, and a worker may be late for good: so it is compared
        with the frames of the last seconds, not with the soonest of all.
        """
        if now_s >= self._stretch_ends_s:
            self._usually_late_s, self._least_late_s = self._least_late_s, math.inf
            self._stretch_ends_s = now_s + LATELY_S
        self._least_late_s = min(self._least_late_s, late_s)
        return late_s - min(self._usually_late_s, self._least_late_s) > STALE_S

    def frame_due_at(self, now_s: float) -> int:
        """Return the number of the frame that is due; 0 as long as none has come."""
        return 0 if self._clock is None else self._clock.frame_due_at(now_s)


class FrameRelay:
    """Sends the frames of one session, from worker to worker."""

    def __init__(
        self, context: SessionContext, *, is_binary: bool = False, last_frame: int = -1
    ) -> None:
        """Start.

        Args:
            context: The session's.
            is_binary: Frames go out as binary messages, which need FRAME_INFO.
            last_frame: Number of the last frame that the client received; -1: none.
        """
        self._context = context
        self._is_binary = is_binary
        self._filter = DecodableFilter(last_frame)
        self._arrivals = FrameArrivals()
        self._informed_of: tuple[str, str] | None = None
        """State and clip of the last FRAME_INFO."""

    @property
    def last_frame(self) -> int:
        """Number of the last frame that was sent; -1 before the first."""
        return self._filter.last_accepted

    def resume(self, *, is_binary: bool) -> None:
        """Continue with a client that is back, on another connection."""
        self._is_binary = is_binary
        self._informed_of = None
        self.begin()

    def begin(self) -> None:
        """Another worker sends from now on."""
        self._filter.require_idr()
        self._context.audience.require_idr()

    def send(self, frame: VideoFrame, sound: FrameSound | None, now_s: float) -> None:
        """Send a frame to the client, unless it cannot be decoded or is not wanted.

        Args:
            frame: The frame; every one that comes, in order.
            sound: Its sound, if that is kept.
            now_s: When it came.
        """
        context = self._context
        late_s = self._arrivals.came(frame.frame, now_s)
        context.metrics.lateness.count(late_s)
        if self._arrivals.is_stale(late_s, now_s):
            context.metrics.frames_held_back += 1
            return  # the filter will miss it, and wait for an IDR
        context.audience.show(frame, sound)
        if "video" not in context.negotiated.receive:
            return
        if not self._filter.accepts(frame, is_paused=context.outbox.is_paused):
            context.metrics.frames_held_back += 1
            return
        context.metrics.frames_sent += 1
        context.metrics.video_bytes += len(frame.access_unit)
        assert context.session_id is not None, "frames come after INIT"
        if self._is_binary and self._informed_of != (frame.state, frame.clip):
            self._informed_of = frame.state, frame.clip
            context.outbox.to_client(frame_info(frame, context.session_id))
        has_sound = "audio" in context.negotiated.receive
        context.outbox.to_client(
            frame_message(frame, context.session_id, sound if has_sound else None)
        )

    def next_frame(self, now_s: float) -> int:
        """Return the number of the frame that a worker which begins now is to begin with."""
        return max(self._filter.last_accepted + 1, self._arrivals.frame_due_at(now_s))
