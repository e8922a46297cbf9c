"""Picture and sound of a session → MP4.

The pictures are the access units as they came, not encoded again. Each lies at its timestamp, so a
gap in the stream is a gap in the film, bridged by the picture before it. The sound is the speech
that was sent, each 40 ms of it laid under the frame that shows it (the frame's audio timestamp);
what no frame shows is not heard.
"""

import io
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from inference.timing import BYTES_PER_SAMPLE, FRAME_MS, SAMPLE_RATE_HZ, SAMPLES_PER_MS
from streaming.client.errors import RecordingFailed
from streaming.client.events import Frame
from streaming.client.sound import FRAME_BYTES

_MS = Fraction(1, 1_000)
_SAMPLE = Fraction(1, SAMPLE_RATE_HZ)
_AAC_SAMPLES = 1_024
_AAC_BIT_S = 96_000


class Recording:
    """An MP4 file in the making, as a context manager; RecordingFailed if it cannot be written.

    The film begins with the first IDR and the first frame's time is its zero. Leaving the context
    makes the file whole, also when the conversation broke off.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._speech = bytearray()
        self._video: VideoStream | None = None
        self._audio: AudioStream | None = None
        self._resampler: av.AudioResampler | None = None
        self._first_ms = 0
        self._samples = 0
        self.pictures = 0

    def __enter__(self) -> Self:
        try:
            self._file = self._path.open("wb")  # PyAV would find out only at the first packet
        except OSError as error:
            raise RecordingFailed(f"{self._path} cannot be written: {error.strerror}.") from None
        self._container = av.open(self._file, "w", format="mp4")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._video is not None:
            self._encode(None)
        self._container.close()
        self._file.close()
        if self._video is None:  # an MP4 without a stream is no file
            self._path.unlink(missing_ok=True)

    def add_speech(self, pcm: bytes) -> None:
        """What was sent, in order: s16le, 16 kHz, mono."""
        self._speech += pcm

    def add_frame(self, frame: Frame) -> None:
        """Every frame of the session, in order."""
        if self._video is None:
            if not frame.is_idr:
                return
            self._begin(frame)
        video = self._video
        assert video is not None
        at_ms = frame.timestamp_ms - self._first_ms
        packet = av.Packet(frame.access_unit)
        packet.stream = video
        packet.time_base = _MS
        packet.pts = packet.dts = at_ms
        packet.duration = FRAME_MS
        packet.is_keyframe = frame.is_idr
        self._container.mux(packet)
        self.pictures += 1
        self._add_sound(at_ms, frame.audio_timestamp_ms)

    def _begin(self, frame: Frame) -> None:
        """The streams of the file, described by the SPS and PPS of its first picture."""
        with av.open(io.BytesIO(frame.access_unit), format="h264") as raw:
            self._video = self._container.add_stream_from_template(raw.streams.video[0])
        self._video.time_base = Fraction(1, 90_000)
        self._audio = self._container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
        self._audio.bit_rate = _AAC_BIT_S
        self._resampler = av.AudioResampler(
            format="fltp", layout="mono", rate=SAMPLE_RATE_HZ, frame_size=_AAC_SAMPLES
        )
        self._first_ms = frame.timestamp_ms

    def _add_sound(self, at_ms: int, audio_timestamp_ms: int | None) -> None:
        silence = at_ms * SAMPLES_PER_MS - self._samples
        shown = b""
        if audio_timestamp_ms is not None:
            start = audio_timestamp_ms * SAMPLES_PER_MS * BYTES_PER_SAMPLE
            shown = bytes(self._speech[start : start + FRAME_BYTES])
        self._encode(bytes(silence * BYTES_PER_SAMPLE) + shown.ljust(FRAME_BYTES, b"\x00"))

    def _encode(self, pcm: bytes | None) -> None:
        """Hand sound to the encoder; None: there is no more."""
        assert self._audio is not None
        assert self._resampler is not None
        sound: av.AudioFrame | None = None
        if pcm is not None:
            samples = np.frombuffer(pcm, np.int16)[np.newaxis]
            sound = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            sound.sample_rate = SAMPLE_RATE_HZ
            sound.time_base = _SAMPLE
            sound.pts = self._samples
            self._samples += samples.shape[1]
        for resampled in self._resampler.resample(sound):
            self._container.mux(self._audio.encode(resampled))
        if pcm is None:
            self._container.mux(self._audio.encode(None))
