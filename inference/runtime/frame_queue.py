"""Planned frames on their way to the gateway.

A planned frame is in a `PlannedFrame` until it is due, and slots leave the `FrameQueue` in
order::

    plan ──▶ CLIP ─────────────────────────────────────▶ ready ──▶ due ──▶ sent
        └──▶ LIVE ──▶ rendering ──▶ encoding ──▶ ready ──┘
                          └─ cut off: the last mouth ─┘

Mouths may be made in any order. Pictures are encoded one after the other and as planned, because
each refers to the one before.

Pure: no clock, no pools.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

from inference.media.types import AudioWindow, Patch, Picture
from inference.runtime.speech_queue import SpeechFrame
from inference.runtime.timeline import FramePlan, Source, Timeline


class Phase(Enum):
    RENDERING = auto()
    ENCODING = auto()
    READY = auto()


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
    phase: Phase = Phase.RENDERING
    access_unit: bytes = b""
    is_idr: bool = False
    is_dropped: bool = False
    has_missed_deadline: bool = False
    """Its mouth was not made in time: something stands in for it."""
    picture: Picture | None = None
    """The source picture, where the engine has seen it."""
    patch: Patch | None = None
    """The mouth to be pasted over it; None: its own."""

    @property
    def window(self) -> AudioWindow | None:
        """The sound that its mouth is made from; None: nothing was spoken yet."""
        return self.spoken_before if self.speech is None else self.speech.window

    @property
    def awaits_mouth(self) -> bool:
        """Whether the engine's answer still matters."""
        return self.phase is Phase.RENDERING and not self.is_dropped

    @property
    def was_seen_by_encoder(self) -> bool:
        """Whether a later picture may refer to this one's."""
        return self.plan.source is Source.LIVE and self.phase is not Phase.RENDERING


class FrameQueue:
    """The slots of one session, in the order of their frames."""

    def __init__(self) -> None:
        self._slots: deque[PlannedFrame] = deque()

    def put(self, slot: PlannedFrame) -> None:
        self._slots.append(slot)

    @property
    def oldest(self) -> PlannedFrame | None:
        return self._slots[0] if self._slots else None

    @property
    def newest(self) -> PlannedFrame | None:
        return self._slots[-1] if self._slots else None

    @property
    def first_spoken(self) -> PlannedFrame | None:
        """The first slot with speech."""
        return next((slot for slot in self._slots if slot.speech), None)

    @property
    def next_to_encode(self) -> PlannedFrame | None:
        """The slot whose picture is the encoder's next; None if its mouth is not there yet."""
        slot = next((slot for slot in self._slots if slot.phase is not Phase.READY), None)
        return slot if slot is not None and slot.phase is Phase.ENCODING else None

    def lateness_s(self, now_s: float) -> float:
        """How long ago the oldest slot was due; not above 0 if nothing is late."""
        return now_s - self._slots[0].due_s if self._slots else 0.0

    def take_due(self, now_s: float) -> PlannedFrame | None:
        """Return the oldest slot, if it is due and ready."""
        if self._slots and self._slots[0].phase is Phase.READY and self._slots[0].due_s <= now_s:
            return self._slots.popleft()
        return None

    def drop_from(self, first: PlannedFrame | None) -> list[PlannedFrame]:
        """Drop ``first``, one of the outbox's, and all behind it; they are returned in order."""
        if first is None:
            return []
        dropped: list[PlannedFrame] = []
        while not dropped or dropped[-1] is not first:
            dropped.append(self._slots.pop())
            dropped[-1].is_dropped = True
        return dropped[::-1]
