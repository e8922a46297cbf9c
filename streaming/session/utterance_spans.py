"""The spans of a session's utterances: from the arrival of the first chunk to the end.

``utterance`` lasts until SPEECH_FINISHED; its part ``utterance.first_frame`` until the first frame
with its speech is sent, and workers add theirs to that.
"""

from dataclasses import dataclass

import msgspec

from inference.messages import AudioChunk
from inference.tracing import Span, Tracer
from streaming.session.utterances import Finished, Started, UtteranceEvent

MAX_OPEN = 100
"""Utterances of a session with open spans; further ones have none."""


@dataclass(slots=True)
class _Open:
    """An utterance that is not over."""

    start: int
    """Position of its first sample."""
    whole: Span
    first_frame: Span


class UtteranceSpans:
    """The spans of one session."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._open: dict[str, _Open] = {}
        """By utterance id, oldest first."""

    def begin(self, utterance_id: str, start: int, session_id: str | None) -> None:
        """Begin the spans of an utterance.

        Args:
            utterance_id: Of the utterance, as the session names it.
            start: Position of its first sample.
            session_id: Of the session.
        """
        if utterance_id in self._open or len(self._open) >= MAX_OPEN:
            return
        whole = self._tracer.begin("utterance", session=session_id or "", utterance_id=utterance_id)
        first_frame = self._tracer.begin("utterance.first_frame", parent=whole.context)
        self._open[utterance_id] = _Open(start, whole, first_frame)

    def marked(self, chunk: AudioChunk) -> AudioChunk:
        """The chunk with the context of the utterance that its first sample belongs to."""
        for utterance in reversed(self._open.values()):
            if utterance.start <= chunk.position:
                return msgspec.structs.replace(chunk, trace=utterance.first_frame.context)
        return chunk

    def happened(self, events: list[UtteranceEvent]) -> None:
        """Utterances begin to be shown, or are over."""
        for event in events:
            utterance = self._open.get(event.utterance_id)
            if utterance is None:
                continue
            match event:
                case Started():
                    utterance.first_frame.end()
                    utterance.whole.event("first frame")
                case Finished(_, played_ms, is_interrupted):
                    utterance.first_frame.end()  # of one that was never shown; twice is once
                    utterance.whole.end(played_ms=played_ms, interrupted=is_interrupted)
                    del self._open[event.utterance_id]
