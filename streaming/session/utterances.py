"""Utterances: which speech belongs together, when each begins and ends on the screen.

An utterance is a run of accepted samples, ``start`` to ``end`` in 16 kHz positions. Another id, no
id after one, END_OF_SPEECH, a change of the sample rate, an interrupt, or a time without audio
closes it; then its end is known. What was shown is known from the frames that come: the
first that shows a sample of an utterance starts it, and it is finished once it is closed and its
last sample was shown or given up. Each utterance of which audio was accepted is finished exactly
once, in the order in which they were accepted.

Pure. Positions are in samples at 16 kHz; `SPEECH_STARTED` and `SPEECH_FINISHED` of version 1.2 are
made from `Started` and `Finished`.
"""

from collections import deque
from dataclasses import dataclass

from inference.timing import audio_timestamp_ms
from streaming.protocol.codec import invalid_message, quoted

MAX_RECENT = 100
"""Finished utterances that a client which resumes its session may not know to be finished."""
MAX_UNFINISHED = 1_000
"""Utterances of a session that may wait or be shown: more than a minute of single words."""
MAX_IDS_REMEMBERED = 10_000
"""Ids of finished utterances kept to refuse late audio; beyond it the oldest are forgotten."""


@dataclass(frozen=True, slots=True)
class Started:
    """The next frame is the first of an utterance."""

    utterance_id: str
    position: int


@dataclass(frozen=True, slots=True)
class Finished:
    """An utterance is over."""

    utterance_id: str
    played_ms: int
    is_interrupted: bool


UtteranceEvent = Started | Finished


@dataclass(slots=True)
class _Utterance:
    id: str
    is_named: bool
    """The id is the client's."""
    start: int
    end: int
    played: int = 0
    """Samples shown."""
    is_started: bool = False
    is_closed: bool = False
    is_timed_out: bool = False
    """It was closed because no audio came."""
    dropped_by: int | None = None
    """The generation of the interrupt that dropped what was not shown of it."""


class Utterances:
    """The utterances of one session that are not finished yet, oldest first."""

    def __init__(self) -> None:
        self._open: deque[_Utterance] = deque()
        self._recent: deque[tuple[_Utterance, Finished]] = deque(maxlen=MAX_RECENT)
        """Finished lately, oldest first."""
        self._over: dict[str, None] = {}
        self._refused: set[str] = set()
        self._not_begun: str | None = None
        self._count = 0

    @property
    def current(self) -> str | None:
        """The id of the utterance that new audio would continue; None if it begins one."""
        newest = self._newest
        return newest.id if newest is not None else None

    @property
    def is_full(self) -> bool:
        """Whether no further utterance may begin before one is finished."""
        return len(self._open) >= MAX_UNFINISHED

    @property
    def _newest(self) -> _Utterance | None:
        if self._open and not self._open[-1].is_closed:
            return self._open[-1]
        return None

    def continues(self, utterance_id: str | None) -> bool:
        """Whether audio with this id belongs to the current utterance.

        Args:
            utterance_id: As the client gave it; None if it gave none.
        """
        newest = self._newest
        if newest is None:
            return False
        return newest.id == utterance_id if newest.is_named else utterance_id is None

    def may_begin(self, utterance_id: str | None) -> bool:
        """Whether audio with this id, which does not continue the current utterance, begins one.

        Args:
            utterance_id: As the client gave it.

        Returns:
            False if it is ignored: the utterance is over, and the client was informed before.

        Raises:
            ProtocolError: The utterance is over; raised once for each id.
        """
        if utterance_id is None:
            return True
        is_closed = any(one.id == utterance_id for one in self._open)  # not shown to its end yet
        if is_closed or utterance_id in self._over:
            return self._refuse(utterance_id)
        return True

    def _refuse(self, utterance_id: str) -> bool:
        if utterance_id in self._refused:
            return False
        self._refused.add(utterance_id)
        raise invalid_message(
            f"The utterance {quoted(utterance_id)} is over; give new speech another utterance_id.",
            reason="utterance_over",
            utterance_id=utterance_id,
        )

    def begin(self, utterance_id: str | None, start: int) -> None:
        """Begin an utterance, which `may_begin`; `extend` says how far it goes.

        Args:
            utterance_id: As the client gave it.
            start: Position of its first sample.
        """
        self.close()
        self._not_begun = None
        self._count += 1
        self._open.append(
            _Utterance(
                id=utterance_id or f"#{self._count}",
                is_named=utterance_id is not None,
                start=start,
                end=start,
            )
        )

    def not_begun(self, utterance_id: str | None) -> None:
        """Note that the audio that should begin an utterance was not accepted."""
        self._not_begun = utterance_id

    def ends(self, utterance_id: str | None) -> bool:
        """Whether END_OF_SPEECH ends the newest utterance.

        Returns:
            False if it is ignored: its utterance could not begin, and the client was informed.

        Raises:
            ProtocolError: It names another one.
        """
        if utterance_id is None:
            return True
        if utterance_id == self._not_begun:
            return False
        newest = self._open[-1].id if self._open else next(reversed(self._over), None)
        if newest != utterance_id:
            raise invalid_message(
                f"END_OF_SPEECH names {quoted(utterance_id)}, but the newest utterance is "
                + (quoted(newest) if newest else "none yet")
                + "; name the newest, or none.",
                utterance_id=utterance_id,
            )
        return True

    def extend(self, end: int) -> None:
        """Extend the newest utterance up to ``end``: more of its audio was accepted."""
        if self._open:
            self._open[-1].end = max(self._open[-1].end, end)

    def close(self) -> None:
        """Close the utterance: what comes next is another one."""
        if self._open:
            self._open[-1].is_closed = True

    def time_out(self) -> None:
        """No audio came for long: what comes next is another utterance."""
        if (newest := self._newest) is not None:
            newest.is_closed = newest.is_timed_out = True

    def show(self, start: int, end: int) -> list[UtteranceEvent]:
        """Take a frame that is due with the samples from ``start`` to ``end``.

        Returns:
            What is to be sent before the frame: utterances that are over without it, and the one
            that begins.
        """
        events = self.settle(start)
        for utterance in self._open:
            if utterance.start >= end:
                break
            overlap = min(end, utterance.end) - max(start, utterance.start)
            if overlap <= 0:
                continue
            utterance.played += overlap
            if not utterance.is_started:
                utterance.is_started = True
                events.append(Started(utterance.id, max(start, utterance.start)))
        return events

    def settle(self, position: int) -> list[UtteranceEvent]:
        """Finish the utterances that are closed and end at ``position`` or before."""
        events: list[UtteranceEvent] = []
        while self._open and self._open[0].is_closed and self._open[0].end <= position:
            # An interrupted one whose last sample was shown all the same is not interrupted.
            events.append(self._finish(self._open.popleft(), is_interrupted=False))
        return events

    def drop(self, generation: int) -> None:
        """Drop everything accepted so far, for an interrupt: nothing of it is shown any more.

        Args:
            generation: The interrupt's.
        """
        self.close()
        for utterance in self._open:
            if utterance.dropped_by is None:
                utterance.dropped_by = generation

    def confirm_drop(self, generation: int, position: int) -> list[UtteranceEvent]:
        """Take note that the interrupts up to ``generation`` took effect.

        Args:
            generation: The newest of them.
            position: The sample after the last one shown of what they dropped.

        Returns:
            The end of every utterance that they dropped, in order.
        """
        events = self.settle(position)
        while self._open and (dropped_by := self._open[0].dropped_by) is not None:
            if dropped_by > generation:
                break
            events.append(self._finish(self._open.popleft(), is_interrupted=True))
        return events

    def finish_all(self, position: int) -> list[UtteranceEvent]:
        """End with the session: whatever was not shown up to ``position`` is interrupted."""
        self.close()
        events = self.settle(position)
        while self._open:
            events.append(self._finish(self._open.popleft(), is_interrupted=True))
        return events

    def rewind(self, position: int, oldest_id: str | None) -> list[UtteranceEvent]:
        """Continue with a client that resumes; what it was sent last may not have come.

        Messages arrive in order, so the ends of a first part of the utterances are known to it.

        Args:
            position: The sample after the last one that it was shown.
            oldest_id: The first utterance of which it does not know the end; without that, ends
                are unknown of utterances of which it has seen no frame.

        Returns:
            The unknown ends of utterances that are not shown again.
        """
        recent = list(self._recent)
        first_unknown = next(
            (
                index
                for index, (one, _) in enumerate(recent)
                if one.id == oldest_id or (oldest_id is None and one.start >= position)
            ),
            len(recent),
        )
        events: list[UtteranceEvent] = []
        for utterance, finished in reversed(recent[first_unknown:]):
            # What timed out while the client's audio was lost on the way continues.
            goes_on = utterance.is_timed_out and not self._open
            if goes_on:
                utterance.is_closed = utterance.is_timed_out = False
            if goes_on or (not finished.is_interrupted and utterance.end > position):
                del self._over[utterance.id]
                self._recent.remove((utterance, finished))
                self._open.appendleft(utterance)
            else:
                events.insert(0, finished)
        for utterance in self._open:
            utterance.played = min(utterance.played, max(0, position - utterance.start))
            utterance.is_started = utterance.start < position
        return events

    def truncate(self, end: int) -> None:
        """Cut the speech accepted so far at ``end``: what is after it comes again."""
        if self._open:
            self._open[-1].end = min(self._open[-1].end, end)

    def _finish(self, utterance: _Utterance, *, is_interrupted: bool) -> Finished:
        self._over[utterance.id] = None
        if len(self._over) > MAX_IDS_REMEMBERED:
            oldest = next(iter(self._over))
            del self._over[oldest]
            self._refused.discard(oldest)
        finished = Finished(
            utterance.id,
            played_ms=audio_timestamp_ms(utterance.played),
            is_interrupted=is_interrupted,
        )
        self._recent.append((utterance, finished))
        return finished
