"""A session's frames: from whichever worker it has to the client.

`DecodableFilter` drops frames the client could not decode: after a gap, everything up to the next
IDR. `FrameArrivals` knows from the frames that came which one is due, and how late each was.
`FrameRelay` sends what passes, with its sound where that is wanted, in the form that was
negotiated.

A frame refers to the one before it, up to the next IDR. So a frame may be sent only if the one
before it was sent, or if it is an IDR. Frames are lost when a worker is replaced, when the channel
layer loses one, and when the client reads too slowly; each of these makes the filter wait for an
IDR. `frame_timestamp` never goes back: frames that a lost worker still sends are dropped.

Pure: time is an argument.
"""

from dataclasses import dataclass

from inference.messages import VideoFrame
from inference.timing import FRAME_S, FrameClock, frame_timestamp_ms
from streaming.protocol.server_messages import (
    FrameInfo,
    FrameInfoFields,
    FrameSound,
    frame_message,
)
from streaming.session.context import SessionContext


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


class FrameArrivals:
    """When frames come, and which one is due now, as far as the gateway can tell.

    Frame n is due n frame times after frame 0, by whichever worker's clock. The frame that came
    soonest, measured so, was delayed least on its way, so it tells best when frame 0 was due.
    """

    def __init__(self) -> None:
        self._clock: FrameClock | None = None
        """By the frame that came soonest."""

    def came(self, frame: int, now_s: float) -> float:
        """Seconds by which this frame came later than the soonest, measured by its number."""
        origin_s = now_s - frame * FRAME_S
        if self._clock is None or origin_s < self._clock.origin_s:
            self._clock = FrameClock(origin_s)
        return origin_s - self._clock.origin_s

    def frame_due_at(self, now_s: float) -> int:
        """The number of the frame that is due; 0 as long as none has come."""
        return 0 if self._clock is None else self._clock.frame_due_at(now_s)


@dataclass(frozen=True, slots=True)
class _Shown:
    """What FRAME_INFO says of a frame."""

    state: str
    clip: str


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
        self._shown: _Shown | None = None

    @property
    def last_frame(self) -> int:
        """Number of the last frame that was sent; -1 before the first."""
        return self._filter.last_accepted

    def resume(self, *, is_binary: bool) -> None:
        """The client is back, on another connection."""
        self._is_binary = is_binary
        self._shown = None
        self._filter.require_idr()

    def begin(self) -> None:
        """Another worker sends from now on."""
        self._filter.require_idr()

    def send(self, frame: VideoFrame, sound: FrameSound | None, now_s: float) -> None:
        """Send a frame to the client, unless it cannot be decoded or is not wanted.

        Args:
            frame: The frame; every one that comes, in order.
            sound: Its sound, if the client receives audio.
            now_s: When it came.
        """
        context = self._context
        context.metrics.lateness.count(self._arrivals.came(frame.frame, now_s))
        if "video" not in context.negotiated.receive:
            return
        if not self._filter.accepts(frame, is_paused=context.outbox.is_paused):
            context.metrics.frames_held_back += 1
            return
        context.metrics.frames_sent += 1
        context.metrics.video_bytes += len(frame.access_unit)
        assert context.session_id is not None, "frames come after INIT"
        shown = _Shown(frame.state, frame.clip)
        if self._is_binary and shown != self._shown:
            self._shown = shown
            context.outbox.to_client(
                FrameInfo(
                    session_id=context.session_id,
                    data=FrameInfoFields(
                        frame_timestamp=frame_timestamp_ms(frame.frame),
                        state=frame.state,
                        base_video=frame.clip,
                    ),
                )
            )
        context.outbox.to_client(frame_message(frame, context.session_id, sound))

    def next_frame(self, now_s: float) -> int:
        """The number of the frame that a worker which begins now is to begin with."""
        return max(self._filter.last_accepted + 1, self._arrivals.frame_due_at(now_s))
