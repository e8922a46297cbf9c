"""The sound of accepted speech in the sender's own rate, for connections that receive audio.

Kept from acceptance until the frame that shows it, and for some seconds after it where the session
can be resumed: its client may not have seen those frames, and they are shown again. Only sessions
of which a connection receives audio have one. Positions are in samples at 16 kHz, as everywhere in
a session; inside an utterance sample k of the sender's rate is at position
``start + k · 16000 / rate``.

Pure.
"""

from collections import deque
from dataclasses import dataclass, field

from inference.media.resampling import mix_down
from inference.timing import BYTES_PER_SAMPLE, SAMPLE_RATE_HZ
from streaming.protocol.server_messages import FrameSound


@dataclass(slots=True)
class _Segment:
    start: int
    """Position of its first sample."""
    sample_rate: int
    pcm: bytearray = field(default_factory=bytearray)
    """s16le, mono, in the sender's rate."""
    forgotten: int = 0
    """Samples of the sender's rate before those of ``pcm``."""

    @property
    def samples(self) -> int:
        return self.forgotten + len(self.pcm) // BYTES_PER_SAMPLE

    def index_of(self, position: int) -> int:
        """Return the sample of the sender's rate at a position, within what is kept."""
        index = (position - self.start) * self.sample_rate // SAMPLE_RATE_HZ
        return min(max(index, self.forgotten), self.samples)

    def piece(self, position: int, samples: int) -> bytes:
        """Return the sound of some samples at 16 kHz."""
        begin, end = self.index_of(position), self.index_of(position + samples)
        offset = self.forgotten
        return bytes(
            self.pcm[(begin - offset) * BYTES_PER_SAMPLE : (end - offset) * BYTES_PER_SAMPLE]
        )

    def forget(self, position: int) -> None:
        """Forget what is before a position."""
        index = self.index_of(position)
        del self.pcm[: (index - self.forgotten) * BYTES_PER_SAMPLE]
        self.forgotten = index

    def truncate(self, position: int) -> None:
        """Forget what is from a position on."""
        end = -(-(position - self.start) * self.sample_rate // SAMPLE_RATE_HZ)
        del self.pcm[max(end - self.forgotten, 0) * BYTES_PER_SAMPLE :]


class SoundTrack:
    """The sound of one session that was not shown yet, or may be shown again."""

    def __init__(self, kept: int = 0) -> None:
        """Start without sound.

        Args:
            kept: How many samples at 16 kHz are kept after they were shown.
        """
        self._kept = kept
        self._segments: deque[_Segment] = deque()

    def append(
        self, pcm: bytes, sample_rate: int, channels: int, position: int, *, begins: bool
    ) -> None:
        """Keep a chunk.

        Args:
            pcm: s16le, channels interleaved.
            sample_rate: In Hz.
            channels: 1 or 2; 2 are mixed down.
            position: The session's position before the chunk.
            begins: The chunk begins an utterance.
        """
        if begins or not self._segments:
            self._segments.append(_Segment(position, sample_rate))
        self._segments[-1].pcm += mix_down(pcm, channels).astype("<i2").tobytes()

    def take(self, position: int, samples: int) -> FrameSound | None:
        """Return the sound of a frame; what is too long before its end is forgotten.

        Args:
            position: First sample at 16 kHz.
            samples: How many samples at 16 kHz.

        Returns:
            The sound in the sender's rate; None if nothing was kept.
        """
        segment = next((each for each in reversed(self._segments) if each.start <= position), None)
        if segment is None:
            return None
        sound = FrameSound(sample_rate=segment.sample_rate, data=segment.piece(position, samples))
        self._forget(position + samples - self._kept)
        return sound

    def _forget(self, position: int) -> None:
        while len(self._segments) > 1 and self._segments[1].start <= position:
            self._segments.popleft()
        if self._segments[0].start < position:
            self._segments[0].forget(position)

    def truncate(self, position: int) -> None:
        """Go back to ``position``, from which the client sends its speech again."""
        while self._segments and self._segments[-1].start >= position:
            self._segments.pop()
        if self._segments:
            self._segments[-1].truncate(position)

    def clear(self) -> None:
        """Forget everything: an interrupt dropped it."""
        self._segments.clear()
