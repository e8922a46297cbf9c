"""Sound before it is sent: any file → 16 kHz mono PCM, in chunks, each with its time.

Also the memory of what was sent when, by which the way from sound to picture is measured.
"""

from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

import av
from av.error import FFmpegError

from inference.timing import BYTES_PER_SAMPLE, FRAME_S, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from streaming.client.errors import SoundUnreadable

FRAME_BYTES = SAMPLES_PER_FRAME * BYTES_PER_SAMPLE


def read_speech(path: Path) -> bytes:
    """The sound of any file that FFmpeg knows, as s16le, 16 kHz, mono.

    SoundUnreadable, with a sentence saying why, if there is none.
    """
    if not path.exists():
        raise SoundUnreadable(f"There is no file {path}.")
    if not path.is_file():
        raise SoundUnreadable(f"{path} is not a file.")
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise SoundUnreadable(f"{path} has no sound in it.")
            resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
            parts = [
                bytes(resampled.planes[0])[: resampled.samples * BYTES_PER_SAMPLE]
                for frame in [*container.decode(audio=0), None]  # None flushes the resampler
                for resampled in resampler.resample(frame)
            ]
    except PermissionError:
        raise SoundUnreadable(f"{path} may not be read.") from None
    except (FFmpegError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise SoundUnreadable(f"{path} is not a sound file: {why}.") from None
    pcm = b"".join(parts)
    if not pcm:
        raise SoundUnreadable(f"{path} has no sound in it.")
    return pcm


def duration_s(pcm: bytes) -> float:
    return len(pcm) / (BYTES_PER_SAMPLE * SAMPLE_RATE_HZ)


def chunks_of(pcm: bytes) -> Iterator[bytes]:
    """40 ms each, the last one perhaps shorter."""
    for start in range(0, len(pcm), FRAME_BYTES):
        yield pcm[start : start + FRAME_BYTES]


def sending_time_s(started_s: float, index: int, ahead_s: float) -> float:
    """When chunk ``index`` may be sent, on the clock of ``started_s``.

    A microphone has a chunk only when its last sample was spoken; ``ahead_s`` allows to be earlier.
    """
    return started_s + (index + 1) * FRAME_S - ahead_s


class SentSpeech:
    """Which sample was sent when.

    The server counts the samples that it accepts. Here all that were sent are counted, so the two
    agree only as long as no chunk was refused.
    """

    def __init__(self) -> None:
        self._ends: list[int] = []
        self._sent_s: list[float] = []

    @property
    def samples(self) -> int:
        """How many were sent in all."""
        return self._ends[-1] if self._ends else 0

    def add(self, samples: int, sent_s: float) -> None:
        self._ends.append(self.samples + samples)
        self._sent_s.append(sent_s)

    def sent_at_s(self, position: int) -> float | None:
        """When sample ``position`` was sent; None if it was not yet."""
        chunk = bisect_left(self._ends, position + 1)
        return self._sent_s[chunk] if chunk < len(self._ends) else None
