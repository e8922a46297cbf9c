"""A session's frames on their way to the client, from whichever worker it has."""

from inference.messages import VideoFrame
from streaming.protocol import server_messages as told
from streaming.session.arrivals import Arrivals
from streaming.session.effects import EffectQueue
from streaming.session.gate import DecodableFilter
from streaming.session.metrics import SessionMetrics


class FrameRelay:
    """One session's, from worker to worker."""

    def __init__(
        self,
        *,
        session_id: str,
        gate: DecodableFilter,
        outbox: EffectQueue,
        metrics: SessionMetrics,
    ) -> None:
        self._session_id = session_id
        self._gate = gate
        self._outbox = outbox
        self._metrics = metrics
        self._arrivals = Arrivals()

    def begin(self) -> None:
        """Another worker sends from now on."""
        self._gate.require_idr()

    def pass_on(self, frame: VideoFrame, now_s: float) -> None:
        """To the client, unless it must be held back."""
        self._metrics.lateness.count(self._arrivals.came(frame.frame, now_s))
        if self._gate.passes(frame):
            self._metrics.frames_sent += 1
            self._metrics.video_bytes += len(frame.access_unit)
            self._outbox.to_client(told.frame_message(frame, self._session_id))
        else:
            self._metrics.frames_held_back += 1

    def next_frame(self, now_s: float) -> int:
        """The number of the frame that a worker which begins now is to begin with."""
        return max(self._gate.last_passed + 1, self._arrivals.frame_due_at(now_s))
