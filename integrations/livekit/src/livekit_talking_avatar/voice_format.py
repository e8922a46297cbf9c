"""An agent's audio frames → mono at one rate."""

import numpy as np
from livekit import rtc


class VoiceFormat:
    """Converts what comes; an agent that sends what is asked for has it passed through."""

    def __init__(self, sample_rate: int) -> None:
        """Begin.

        Args:
            sample_rate: Of what is given, Hz.
        """
        self._sample_rate = sample_rate
        self._resampler: rtc.AudioResampler | None = None
        self._from_rate = sample_rate

    def convert(self, frame: rtc.AudioFrame) -> bytes:
        """Return the frame as s16le, mono, at the rate of this object."""
        samples = np.frombuffer(frame.data, np.int16)
        if frame.num_channels > 1:
            samples = samples.reshape(-1, frame.num_channels).mean(axis=1).astype(np.int16)
        pcm = samples.tobytes()
        rest = b""
        if frame.sample_rate != self._from_rate:
            rest = self.flush()
            self._from_rate = frame.sample_rate
        if self._from_rate == self._sample_rate:
            return rest + pcm
        if self._resampler is None:
            self._resampler = rtc.AudioResampler(self._from_rate, self._sample_rate)
        return rest + _joined(self._resampler.push(bytearray(pcm)))

    def flush(self) -> bytes:
        """Return what the conversion holds back; the next frame begins another one."""
        resampler, self._resampler = self._resampler, None
        return b"" if resampler is None else _joined(resampler.flush())


def _joined(frames: list[rtc.AudioFrame]) -> bytes:
    return b"".join(bytes(frame.data) for frame in frames)
