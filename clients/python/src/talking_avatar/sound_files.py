"""Sound files → speech to send. Needs PyAV: ``talking-avatar[video]``."""

from pathlib import Path

import av
from av.error import FFmpegError

from talking_avatar.audio import BYTES_PER_SAMPLE
from talking_avatar.errors import SoundUnreadable

SAMPLE_RATE_HZ = 16_000
"""What the server works at."""


def read_speech(path: Path, sample_rate: int = SAMPLE_RATE_HZ) -> bytes:
    """Return the sound of any file that FFmpeg reads.

    Args:
        path: WAV of any rate and channels, MP3, FLAC …
        sample_rate: Hz, of the result.

    Returns:
        s16le, mono.

    Raises:
        SoundUnreadable: There is no such file, or no sound in it.
    """
    if not path.exists():
        raise SoundUnreadable(f"There is no file {path}.")
    if not path.is_file():
        raise SoundUnreadable(f"{path} is not a file.")
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise SoundUnreadable(f"{path} has no sound in it.")
            resampler = av.AudioResampler(format="s16", layout="mono", rate=sample_rate)
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
