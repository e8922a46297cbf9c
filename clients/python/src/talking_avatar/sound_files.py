"""Sound files → speech to send. Needs PyAV: ``talking-avatar[video]``.

Files are read as players read them: what is damaged is left out, and a rate or a layout that
changes in the middle (joined pieces of a synthesizer) is followed. Both are warnings.
"""

import logging
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from talking_avatar.chained_ogg import links
from talking_avatar.errors import SoundUnreadable

log = logging.getLogger(__name__)

SAMPLE_RATE_HZ = 16_000
"""What the server works at."""
_MOST_CHANNELS = 8
"""That have names, by which FFmpeg mixes; of some higher numbers, too, but not of all."""
_INVERTED = -0.5
"""Correlation of two channels below which their mean is at least 6 dB quieter than each."""

_LEAST_PART_S = 0.1
"""A part of another format that is shorter is no warning."""
_LEAST_GAP_S = 0.01


def read_speech(
    path: Path, sample_rate: int = SAMPLE_RATE_HZ, *, warn: Callable[[str], None] = log.warning
) -> bytes:
    """Return the sound of any file that FFmpeg reads.

    Args:
        path: WAV of any rate and channels, MP3, FLAC …
        sample_rate: Hz, of the result.
        warn: Called with a sentence if the file is damaged, changes its rate or channels, or is
            stereo with one side inverted (then one side is taken).

    Returns:
        s16le, mono.

    Raises:
        SoundUnreadable: There is no such file, or no sound in it.
    """
    if not path.exists():
        raise SoundUnreadable(f"There is no file {path}.")
    if not path.is_file():
        raise SoundUnreadable(f"{path} is not a file.")
    sound = _Sound(path, sample_rate, warn)
    try:
        for link in links(path):
            try:
                _read_link(link, sound)
            except FFmpegError as error:
                sound.skip(error)
    except PermissionError:
        raise SoundUnreadable(f"{path} may not be read.") from None
    except ValueError as error:
        raise SoundUnreadable(f"{path} is not a sound file: {_words(error)}.") from None
    return sound.pcm()


def _read_link(link: str | BytesIO, sound: "_Sound") -> None:
    """Add the sound of a file, or of a part of it that is a file by itself."""
    with av.open(link, mode="r") as container:
        if not container.streams.audio:
            return
        sound.begin_link()
        # A stream that nothing decodes has none.
        codec = getattr(container.streams.audio[0].codec_context, "name", None)
        if codec is None:
            raise ValueError("there is no decoder for it")
        # FLAC's parser drops damaged frames without a word, but their numbers are then missing.
        is_numbered = codec == "flac"
        for frame in _whole_frames(container, sound.skip):
            if is_numbered:
                sound.check_time(frame)
            sound.add(frame)


def _whole_frames(
    container: av.container.InputContainer, skip: Callable[[FFmpegError], None]
) -> Iterator[av.AudioFrame]:
    """The frames of the first audio stream that can be decoded; ``skip`` is called for others."""
    stream = container.streams.audio[0]
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            frames = stream.decode(packet)
        except FFmpegError as error:
            skip(error)
            continue
        yield from frames


class _Sound:
    """Gathers frames of one file as mono of one rate, and what is wrong with them."""

    def __init__(self, path: Path, rate: int, warn: Callable[[str], None]) -> None:
        self.path, self._rate, self._warn = path, rate, warn
        self._format: tuple[int, str, str] | None = None
        self._begun_s = 0.0
        self._formats: list[tuple[float, str]] = []
        self._resampler: av.AudioResampler | None = None
        self._pieces: list[NDArray[Any]] = []
        """Of the present part: int16, or float32 of full scale 1 where there were many channels."""
        self._parts: list[NDArray[np.int16]] = []
        self._seconds = 0.0
        self._due_s: float | None = None
        self._damage_s: list[float] = []
        self._error: FFmpegError | None = None

    def skip(self, error: FFmpegError) -> None:
        """Something could not be decoded."""
        self._error = error
        self._note_damage()

    def begin_link(self) -> None:
        """Frames are numbered from zero again."""
        self._due_s = None

    def check_time(self, frame: av.AudioFrame) -> None:
        """Before adding a frame: whether others are missing before it."""
        if frame.time is not None:
            if self._due_s is not None and frame.time > self._due_s + _LEAST_GAP_S:
                self._note_damage()
            self._due_s = frame.time + frame.samples / frame.sample_rate

    def _note_damage(self) -> None:
        if not self._damage_s or self._damage_s[-1] != self._seconds:
            self._damage_s.append(self._seconds)

    def add(self, frame: av.AudioFrame) -> None:
        changed = frame.sample_rate, frame.layout.name, frame.format.name
        if changed != self._format:
            self._end_part()
            self._format, self._begun_s = changed, self._seconds
            count = frame.layout.nb_channels
            self._resampler = av.AudioResampler(
                # Whole numbers are made so quiet that all channels at their loudest would fit: a
                # voice in the center of six by 11 dB.
                format="flt" if 2 < count <= _MOST_CHANNELS else "s16",
                layout="stereo" if count == 2 else "mono",
                rate=self._rate,
            )
        self._seconds += frame.samples / frame.sample_rate
        self._resample(_mixable(frame))

    def pcm(self) -> bytes:
        """All of it, s16le; SoundUnreadable if there is nothing."""
        self._end_part()
        pcm = b"".join(part.astype("<i2").tobytes() for part in self._parts)
        if not pcm and self._error is not None:
            raise SoundUnreadable(f"{self.path} is not a sound file: {_words(self._error)}.")
        if not pcm:
            raise SoundUnreadable(f"{self.path} has no sound in it.")
        for (_, before), (second, after) in pairwise(self._formats):
            if before != after:
                self._warn(f"{self.path} changes from {before} to {after} at {second:.1f} s.")
        if self._damage_s:
            first, *more = self._damage_s
            places = f" and in {len(more)} more places" if more else ""
            self._warn(f"{self.path} is damaged at {first:.1f} s{places}: that was left out.")
        return pcm

    def _resample(self, frame: av.AudioFrame | None) -> None:
        """Take a frame of this part; None flushes the resampler."""
        if self._resampler is not None:
            self._pieces += [
                piece.to_ndarray().reshape(-1, piece.layout.nb_channels)
                for piece in self._resampler.resample(frame)
            ]

    def _end_part(self) -> None:
        self._resample(None)
        # A decoder that changes gives a frame that is half of each format.
        if self._format is not None and self._seconds - self._begun_s > _LEAST_PART_S:
            rate, layout, _ = self._format
            self._formats.append((self._begun_s, f"{rate} Hz {layout}"))
        if self._pieces:
            part = np.concatenate(self._pieces)
            self._pieces.clear()
            if part.dtype != np.int16:
                part = _full_scale(part)
            self._parts.append(part[:, 0] if part.shape[1] == 1 else self._mixed(part))

    def _mixed(self, part: NDArray[np.int16]) -> NDArray[np.int16]:
        """Stereo, int16 ``[n, 2]``, as one channel ``[n]``."""
        left, right = part.T.astype(np.float32)
        energies = float(left @ left), float(right @ right)
        if left @ right < _INVERTED * np.sqrt(energies[0] * energies[1]):
            self._warn(
                f"{self.path} has one side inverted: mixed, its two channels would cancel each"
                " other, so one of them was taken."
            )
            return part[:, int(energies[1] > energies[0])]
        return np.asarray(part.astype(np.int32).sum(axis=1) // 2, np.int16)


def _mixable(frame: av.AudioFrame) -> av.AudioFrame:
    """Return the frame without numbers that are none, and without channels that have no names."""
    count, name = frame.layout.nb_channels, frame.format.name.removesuffix("p")
    is_float = name in ("flt", "dbl")
    if count <= _MOST_CHANNELS and not is_float:
        return frame
    samples: Any = frame.to_ndarray()
    if count <= _MOST_CHANNELS and np.isfinite(samples).all():
        return frame
    if not frame.format.is_planar:
        samples = samples.reshape(-1, count).T
    if is_float:
        samples = np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0)
    layout = frame.layout
    if count > _MOST_CHANNELS:
        layout = av.AudioLayout("mono")
        samples = samples.mean(axis=0, keepdims=True).astype(samples.dtype)
    mixable = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), f"{name}p", layout)
    mixable.sample_rate = frame.sample_rate
    return mixable


def _full_scale(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """float32 to int16; quieter as a whole where it would not fit."""
    peak = max(1.0, float(np.abs(samples).max()))
    return np.asarray(np.rint(samples * (32_767 / peak)), np.int16)


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).rstrip(".")
