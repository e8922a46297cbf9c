"""Picture and sound of a session → MP4. Needs PyAV: ``talking-avatar[video]``.

The pictures are the access units as they came, not encoded again. Each is at its timestamp, so a
gap in the stream is a gap in the video, bridged by the picture before it. The sound is what came
with the frames, which a connection that receives ``audio`` gets, each piece under its own frame.
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

from talking_avatar.errors import RecordingFailed
from talking_avatar.events import Frame, Sound

FRAME_MS = 40
SAMPLE_RATE_HZ = 48_000
_MS = Fraction(1, 1_000)
_SAMPLE = Fraction(1, SAMPLE_RATE_HZ)
_AAC_SAMPLES = 1_024
_AAC_BIT_S = 96_000
_HELD_BACK_SAMPLES = SAMPLE_RATE_HZ // 100
"""More than a resampler holds back while sound follows sound without a gap."""


class Recording:
    """An MP4 file that is being written, as a context manager.

    The video begins with the first IDR, whose time is its zero. A session that follows another one
    (`Reopened`) continues where that ended. Leaving the context completes the file, also when the
    session broke off.

    Raises:
        RecordingFailed: On entering, if the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._video: VideoStream | None = None
        self._sound: _SoundTrack | None = None
        self._first_ms = 0
        self._end_ms = 0
        """Of the last picture, in the file."""
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
        if self._sound is not None:
            self._sound.end()
        self._container.close()
        self._file.close()
        if self._video is None:  # an MP4 without a stream is no file
            self._path.unlink(missing_ok=True)

    def add_frame(self, frame: Frame) -> None:
        """Every frame of the session, in order."""
        if self._video is None:
            if not frame.is_keyframe:
                return
            self._begin(frame)
        assert self._video is not None, "it was begun"
        assert self._sound is not None, "it was begun"
        at_ms = frame.timestamp_ms - self._first_ms
        if at_ms < self._end_ms:
            at_ms, self._first_ms = self._end_ms, frame.timestamp_ms - self._end_ms
        self._end_ms = at_ms + FRAME_MS
        packet = av.Packet(frame.data)
        packet.stream = self._video
        packet.time_base = _MS
        packet.pts = packet.dts = at_ms
        packet.duration = FRAME_MS
        packet.is_keyframe = frame.is_keyframe
        self._container.mux(packet)
        self.pictures += 1
        self._sound.add(at_ms, frame.sound)

    def _begin(self, frame: Frame) -> None:
        """Begin the streams of the file, described by the SPS and PPS of its first picture."""
        with av.open(io.BytesIO(frame.data), format="h264") as raw:
            self._video = self._container.add_stream_from_template(raw.streams.video[0])
        self._video.time_base = Fraction(1, 90_000)
        audio = self._container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
        audio.bit_rate = _AAC_BIT_S
        self._sound = _SoundTrack(self._container, audio)
        self._first_ms = frame.timestamp_ms


class _SoundTrack:
    """The sound of a file: pieces at their times, silence between them."""

    def __init__(self, container: "av.container.OutputContainer", stream: AudioStream) -> None:
        self._container = container
        self._stream = stream
        self._resampler: av.AudioResampler | None = None
        self._rate = 0
        self._fifo = av.AudioFifo()
        self._samples = 0
        """Written, at the file's rate."""
        self._encoded = 0

    def add(self, at_ms: int, sound: Sound | None) -> None:
        """Add the sound of the frame at this time; its 40 ms are filled up with silence."""
        if sound is None:
            self._fill(at_ms + FRAME_MS)
            return
        if sound.sample_rate != self._rate:
            self._finish_rate()
        self._fill(at_ms)
        if self._resampler is None:
            self._rate = sound.sample_rate
            self._resampler = av.AudioResampler(format="fltp", layout="mono", rate=SAMPLE_RATE_HZ)
        samples = np.frombuffer(sound.data, np.int16)[np.newaxis]
        piece = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        piece.sample_rate = sound.sample_rate
        for resampled in self._resampler.resample(piece):
            self._write(resampled)

    def end(self) -> None:
        """Nothing follows."""
        self._finish_rate()
        if (rest := self._fifo.read(0, partial=True)) is not None:
            self._encode(rest)
        self._container.mux(self._stream.encode(None))

    def _fill(self, until_ms: int) -> None:
        """Silence up to a time."""
        until = until_ms * SAMPLE_RATE_HZ // 1_000
        if self._resampler is not None:
            if until - self._samples <= _HELD_BACK_SAMPLES:
                return
            self._finish_rate()
        if (missing := until - self._samples) > 0:
            silence = np.zeros((1, missing), np.float32)
            self._write(av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono"))

    def _finish_rate(self) -> None:
        """Write what the resampler holds back; the next piece begins another one."""
        if self._resampler is not None:
            for resampled in self._resampler.resample(None):
                self._write(resampled)
        self._resampler, self._rate = None, 0

    def _write(self, frame: av.AudioFrame) -> None:
        frame.sample_rate = SAMPLE_RATE_HZ
        frame.pts = None
        self._samples += frame.samples
        self._fifo.write(frame)
        while (block := self._fifo.read(_AAC_SAMPLES)) is not None:
            self._encode(block)

    def _encode(self, block: av.AudioFrame) -> None:
        block.sample_rate, block.time_base, block.pts = SAMPLE_RATE_HZ, _SAMPLE, self._encoded
        self._encoded += block.samples
        self._container.mux(self._stream.encode(block))
