"""The sound of accepted speech in the sender's own rate, for connections that receive audio.

Kept from acceptance until the frame that shows it, and only for sessions of which a connection
receives audio. Positions are in samples at 16 kHz, as everywhere in a session; inside an utterance
sample k of the sender's rate is at position ``start + k · 16000 / rate``.


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
    taken: int = 0
    """Samples of the sender's rate that were taken and forgotten."""

    @property
    def samples(self) -> int:
        return self.taken + len(self.pcm) // BYTES_PER_SAMPLE

    def index_of(self, position: int) -> int:
        """The sample of the sender's rate at a position, within the segment."""
        index = (position - self.start) * self.sample_rate // SAMPLE_RATE_HZ
        return min(max(index, self.taken), self.samples)


class SoundTrack:
    """The sound of one session that was not shown yet."""

    def __init__(self) -> None:
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
        """The sound from ``position`` on; what is before it is forgotten.

        Args:
            position: First sample at 16 kHz.
            samples: How many samples at 16 kHz.

        Returns:
            The sound in the sender's rate; None if nothing was kept.
        """
        self.drop(position)
        if not self._segments or self._segments[0].start > position:
            return None
        segment = self._segments[0]
        begin, end = segment.index_of(position), segment.index_of(position + samples)
        offset = begin - segment.taken
        length = end - begin
        piece = segment.pcm[offset * BYTES_PER_SAMPLE : (offset + length) * BYTES_PER_SAMPLE]
        del segment.pcm[: (offset + length) * BYTES_PER_SAMPLE]
        segment.taken = end
        return FrameSound(sample_rate=segment.sample_rate, data=bytes(piece))

    def drop(self, position: int) -> None:
        """Forget the segments that end before ``position``."""
        while len(self._segments) > 1 and self._segments[1].start <= position:
            self._segments.popleft()

    def clear(self) -> None:
        """Forget everything: an interrupt dropped it."""
        self._segments.clear()
