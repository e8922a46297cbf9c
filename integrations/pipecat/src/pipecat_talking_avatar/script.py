"""What is still to be heard, and what waits for its place in it.

In a pipeline without an avatar the output transport plays voice in real time, and every frame
behind it (a word for the context, the end of the utterance) waits for its turn. Here the voice goes
to the server and comes back with its pictures, so these frames wait here: each leaves when the
voice before it was shown.

Voice is in segments, each of which the server shows as one utterance. The sound that comes back is
counted off from the oldest segment. A segment that the server refuses is heard without lips, when
the ones before it are over.

Pure: no clock, no connection.
"""

from collections import deque
from dataclasses import dataclass, field

from pipecat.frames.frames import Frame, TTSAudioRawFrame

from pipecat_talking_avatar.segment import Segment


@dataclass(slots=True)
class _Voice:
    """Voice that was not shown to its end."""

    frame: TTSAudioRawFrame
    left: int
    """Samples of each channel that were not shown."""

    def rest(self) -> TTSAudioRawFrame:
        """Return a frame of what was not shown."""
        frame = self.frame
        at = len(frame.audio) - self.left * 2 * frame.num_channels
        rest = TTSAudioRawFrame(frame.audio[at:], frame.sample_rate, frame.num_channels)
        self.mark(rest)
        return rest

    def mark(self, frame: TTSAudioRawFrame) -> None:
        """Mark a frame as this voice is: its context, where it goes, what drops it."""
        frame.context_id = self.frame.context_id
        frame.transport_destination = self.frame.transport_destination
        frame.interruptible = self.frame.interruptible


@dataclass(slots=True)
class _Part:
    """A segment, what waits in it, and what came after it."""

    segment: Segment
    entries: deque[_Voice | Frame] = field(default_factory=deque)
    is_lost: bool = False
    """The server will not show it."""


class Script:
    """See the module."""

    def __init__(self) -> None:
        self._parts: deque[_Part] = deque()

    @property
    def is_empty(self) -> bool:
        """Nothing is to be heard, and nothing waits."""
        return not self._parts

    @property
    def unheard_s(self) -> float:
        """How long the voice that was not shown lasts."""
        return sum(
            entry.left / entry.frame.sample_rate
            for part in self._parts
            for entry in part.entries
            if isinstance(entry, _Voice)
        )

    def as_heard(self, audio: bytes, sample_rate: int) -> TTSAudioRawFrame:
        """Return sound that was shown as the voice that is heard next: of its context, on its way.

        Args:
            audio: s16le, one channel.
            sample_rate: Of it, Hz.
        """
        frame = TTSAudioRawFrame(audio, sample_rate, 1)
        voices = (one for part in self._parts for one in part.entries if isinstance(one, _Voice))
        if (voice := next(voices, None)) is not None:
            voice.mark(frame)
        return frame

    def begin(self, segment: Segment) -> None:
        """Put the voice that comes next into this segment."""
        self._parts.append(_Part(segment))

    def add_voice(self, frame: TTSAudioRawFrame) -> None:
        """Voice of the newest segment."""
        samples = len(frame.audio) // (2 * frame.num_channels)
        self._parts[-1].entries.append(_Voice(frame, samples))

    def add(self, frame: Frame) -> None:
        """Add a frame that is to leave when what is before it was shown."""
        self._parts[-1].entries.append(frame)

    def shown(self, samples: int) -> list[Frame]:
        """So many samples of the oldest segment were shown.

        Returns:
            The frames whose turn it is.
        """
        due: list[Frame] = []
        entries = self._parts[0].entries if self._parts else deque()
        while entries:
            entry = entries[0]
            if isinstance(entry, _Voice):
                taken = min(entry.left, samples)
                entry.left -= taken
                samples -= taken
                if entry.left:
                    break
            else:
                due.append(entry)
            entries.popleft()
        return due

    def over(self) -> list[Frame]:
        """Take note that the server showed the oldest segment to its end.

        Returns:
            The frames whose turn it is; voice among them is of a later segment that is lost.
        """
        if not self._parts:
            return []
        part = self._parts.popleft()
        return [one for one in part.entries if not isinstance(one, _Voice)] + self._lost_ones()

    def lose(self, segment: Segment) -> list[Frame]:
        """Take note that the server will not show this segment.

        Returns:
            The frames whose turn it is.
        """
        for part in self._parts:
            if part.segment is segment:
                part.is_lost = True
        return self._lost_ones()

    def lose_all(self) -> list[Frame]:
        """Take note that the server shows nothing more.

        Returns:
            All voice that was not shown, and what waited, in order.
        """
        due = [frame for part in self._parts for frame in _unlipped(part)]
        self._parts.clear()
        return due

    def _lost_ones(self) -> list[Frame]:
        """Return the oldest segments that are lost and to which nothing is added any more."""
        due: list[Frame] = []
        while self._parts and self._parts[0].is_lost:
            part = self._parts[0]
            due += _unlipped(part)
            part.entries.clear()
            if part.segment.is_open:
                break
            self._parts.popleft()
        return due

    def interrupt(self) -> list[Frame]:
        """Drop everything that an interruption drops.

        Returns:
            The frames that no interruption drops, in order.
        """
        kept = [
            entry
            for part in self._parts
            for entry in part.entries
            if isinstance(entry, Frame) and not entry.interruptible
        ]
        self._parts.clear()
        return kept


def _unlipped(part: _Part) -> list[Frame]:
    """Return what is left of a segment, its voice included."""
    return [one.rest() if isinstance(one, _Voice) else one for one in part.entries]
