"""A worker's part of the spans of utterances: from the first chunk to the first frame of it.

It looks at the messages that come and go; sessions know nothing of it.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from inference import tracing
from inference.messages import (
    AudioChunk,
    LayerMessage,
    SessionEnded,
    SessionStop,
    SpeechInterrupt,
    VideoFrame,
)
from inference.tracing import Span, Tracer

Receive = Callable[[LayerMessage], None]
HandOver = Callable[[str, LayerMessage], bool]


@dataclass(slots=True)
class _Part:
    """Speech that came and is not shown yet."""

    position: int
    """Of its first sample."""
    span: Span


class SpeechSpans:
    """The spans of one worker's sessions."""

    def __init__(self, tracer: Tracer, worker: str) -> None:
        """Begin.

        Args:
            tracer: Makes spans.
            worker: The worker's name.
        """
        self._tracer = tracer
        self._worker = worker
        self._parts: dict[str, deque[_Part]] = {}
        """By claim id, oldest first; never empty."""
        self._newest: dict[str, str] = {}
        """By claim id: the context of the speech that came last."""

    def receiving(self, receive: Receive) -> Receive:
        """``receive``, whose messages are looked at before."""

        def look_and_receive(message: LayerMessage) -> None:
            self.received(message)
            receive(message)

        return look_and_receive

    def handing_over(self, hand_over: HandOver) -> HandOver:
        """``hand_over``, whose messages are looked at before."""

        def look_and_hand_over(channel: str, message: LayerMessage) -> bool:
            self.sent(message)
            return hand_over(channel, message)

        return look_and_hand_over

    def received(self, message: LayerMessage) -> None:
        """A gateway sent a message."""
        match message:
            case AudioChunk(claim_id=claim_id, trace=trace) if trace:
                if self._newest.get(claim_id) != trace:
                    self._newest[claim_id] = trace
                    self._begin(claim_id, message.position, trace)
            case SpeechInterrupt(claim_id=claim_id):
                self._end(claim_id, "interrupted")
            case SessionStop(claim_id=claim_id):
                self._forget(claim_id)

    def sent(self, message: LayerMessage) -> None:
        """A message goes to a gateway."""
        match message:
            case VideoFrame(claim_id=claim_id, position=position) if (
                position is not None and claim_id in self._parts
            ):
                self._shown(claim_id, position + message.samples)
            case SessionEnded(claim_id=claim_id):
                self._forget(claim_id)

    def _begin(self, claim_id: str, position: int, trace: str) -> None:
        span = self._tracer.begin("worker.first_frame", parent=trace, worker=self._worker)
        self._parts.setdefault(claim_id, deque()).append(_Part(position, span))
        self._note(claim_id)

    def _shown(self, claim_id: str, end: int) -> None:
        parts = self._parts[claim_id]
        while parts and parts[0].position < end:
            parts.popleft().span.end(outcome="shown")
        self._note(claim_id)

    def _end(self, claim_id: str, outcome: str) -> None:
        for part in self._parts.pop(claim_id, ()):
            part.span.end(outcome=outcome)
        self._note(claim_id)

    def _forget(self, claim_id: str) -> None:
        self._end(claim_id, "session over")
        self._newest.pop(claim_id, None)

    def _note(self, claim_id: str) -> None:
        """Let the engine find the part that is shown next."""
        parts = self._parts.get(claim_id)
        if parts:
            tracing.begun[claim_id] = parts[0].span.context
        else:
            self._parts.pop(claim_id, None)
            tracing.begun.pop(claim_id, None)
