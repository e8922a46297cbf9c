"""Planned frames on their way to the gateway.

A planned frame is in a `PlannedFrame` until it is due, and they leave the `FrameQueue` in order::

    plan ──▶ CLIP ────────────────────▶ ready ──▶ due ──▶ sent
        └──▶ LIVE ──▶ the live stream ──▶ ready ──┘

Pure: no clock, no pools.
"""

from collections import deque
from dataclasses import dataclass

from inference.media.types import AudioWindow
from inference.runtime.mouth import Mouth
from inference.runtime.speech_queue import SpeechFrame
from inference.runtime.timeline import FramePlan, Source, Timeline


@dataclass(slots=True, eq=False)
class PlannedFrame:
    """One planned frame."""

    plan: FramePlan
    before: Timeline
    """The timeline before it was planned, to plan it again from."""
    due_s: float
    deadline_s: float
    """When the engine's time for it is over."""
    speech: SpeechFrame | None
    spoken_before: AudioWindow | None = None
    """The last sound before it: a mouth without sound of its own is made from that."""
    access_unit: bytes | None = None
    """None: it is not encoded yet."""
    is_idr: bool = False
    is_dropped: bool = False
    is_repeated: bool = False
    """Its mouth was not made in time: something stands in for it."""

    @property
    def window(self) -> AudioWindow | None:
        """The sound that its mouth is made from; None: nothing was spoken yet."""
        return self.spoken_before if self.speech is None else self.speech.window

    @property
    def needs_mouth(self) -> bool:
        """Whether an engine has to make its mouth: it is not the source picture's."""
        is_open = self.plan.mouth is not Mouth.CLOSED and self.window is not None
        return is_open and self.plan.source is Source.LIVE

    @property
    def begins_stretch(self) -> bool:
        """Whether it is encoded, and the frame before it was not."""
        return self.plan.source is Source.LIVE and self.before.source is Source.CLIP


class FrameQueue:
    """The frames of one session that were planned and not sent, in order."""

    def __init__(self) -> None:
        self._frames: deque[PlannedFrame] = deque()

    def put(self, frame: PlannedFrame) -> None:
        self._frames.append(frame)

    @property
    def oldest(self) -> PlannedFrame | None:
        return self._frames[0] if self._frames else None

    @property
    def newest(self) -> PlannedFrame | None:
        return self._frames[-1] if self._frames else None

    @property
    def first_spoken(self) -> PlannedFrame | None:
        """The first frame with speech."""
        return next((frame for frame in self._frames if frame.speech), None)

    def lateness_s(self, now_s: float) -> float:
        """How long ago the oldest frame was due; not above 0 if nothing is late."""
        return now_s - self._frames[0].due_s if self._frames else 0.0

    def take_due(self, now_s: float) -> PlannedFrame | None:
        """Return the oldest frame, if it is due and ready."""
        if self._frames:
            oldest = self._frames[0]
            if oldest.access_unit is not None and oldest.due_s <= now_s:
                return self._frames.popleft()
        return None

    def drop_from(self, first: PlannedFrame | None) -> list[PlannedFrame]:
        """Drop ``first``, one of the queue's, and all behind it; they are returned in order."""
        if first is None:
            return []
        dropped: list[PlannedFrame] = []
        while not dropped or dropped[-1] is not first:
            dropped.append(self._frames.pop())
            dropped[-1].is_dropped = True
        return dropped[::-1]
