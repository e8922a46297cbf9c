"""What a stream was like: how late its frames came, how long speech took to become picture.

*Lateness* of a frame is its arrival minus the time it would have had, had it come as soon as the
best frame of the run: with the session's origin o = min over frames (arrival - timestamp), it is
arrival - (o + timestamp), and never negative. The way from server to client is in it only as far as
it varies, so the two clocks need not agree.

*Latency* of a frame that shows speech is its arrival minus the moment when the chunk with its last
own sample was sent. It means something only if speech was sent as it was spoken.
"""

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import quantiles

from talking_avatar.events import Frame

FRAME_MS = 40


@dataclass(frozen=True, slots=True)
class Spread:
    """How a quantity is distributed, in ms."""

    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, seconds: list[float]) -> "Spread | None":
        """Of these; None of nothing."""
        if not seconds:
            return None
        values = seconds if len(seconds) > 1 else 2 * seconds
        cuts = quantiles(values, n=100, method="inclusive")
        p50, p95, p99 = (cuts[percent - 1] * 1_000 for percent in (50, 95, 99))
        return cls(len(seconds), p50, p95, p99, max(seconds) * 1_000)


def lateness_s(timestamps_ms: list[int], received_s: list[float]) -> list[float]:
    """Of each frame; see the head of this file."""
    offsets_s = [
        at_s - stamp_ms / 1_000 for stamp_ms, at_s in zip(timestamps_ms, received_s, strict=True)
    ]
    best_s = min(offsets_s, default=0.0)
    return [offset_s - best_s for offset_s in offsets_s]


@dataclass(frozen=True, slots=True)
class StreamReport:
    """The sum of a run."""

    frames: int
    duration_s: float
    video_bytes: int
    first_frame_s: float | None
    """From sending INIT to the arrival of the first frame."""
    frames_per_second: float | None
    lateness: Spread | None
    latency: Spread | None
    speech_frames: int
    missing_frames: int
    """Numbers that the timestamps leave out."""
    broken_timestamps: int
    """Timestamps that are no multiple of 40 ms, or do not ascend."""
    decode_errors: int
    errors: dict[str, int] = field(default_factory=dict)
    """ERROR messages by code."""

    def problems(self) -> list[str]:
        """Return what is wrong with the stream itself.

        A gap is no fault: a server may leave pictures out.
        """
        found = []
        if self.frames == 0:
            found.append("No picture came.")
        if self.broken_timestamps:
            found.append(f"{self.broken_timestamps} timestamps do not ascend by whole frames.")
        if self.decode_errors:
            found.append(f"{self.decode_errors} pictures could not be decoded.")
        return found

    def lines(self) -> list[str]:
        """For people."""
        rate = self.frames_per_second
        rows = [
            ("frames", f"{self.frames} in {self.duration_s:.1f} s, {self.video_bytes:,} bytes"),
            ("of them with speech", f"{self.speech_frames}"),
            ("time to first frame", _ms(self.first_frame_s)),
            ("frames per second", f"{rate:.2f}" if rate else "-"),
            ("jitter", _spread(self.lateness, ("p50", "p99"))),
            ("audio to frame", _spread(self.latency, ("p50", "p95"))),
            ("missing frames", f"{self.missing_frames}"),
            ("decode errors", f"{self.decode_errors}"),
            ("errors", ", ".join(f"{code} × {n}" for code, n in self.errors.items()) or "none"),
        ]
        return [f"{name:<20} {value}" for name, value in rows]


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1_000:.1f} ms"


def _spread(spread: Spread | None, wanted: tuple[str, ...]) -> str:
    if spread is None:
        return "-"
    return ", ".join(f"{name} {getattr(spread, f'{name}_ms'):.1f} ms" for name in wanted)


class Measurement:
    """Takes every frame of a session in order; asked at the end, or on the way."""

    def __init__(self, *, is_paced: bool = True) -> None:
        """Start.

        Args:
            is_paced: Speech is sent as it is spoken; otherwise its latency means nothing.
        """
        self._is_paced = is_paced
        self._timestamps_ms: list[int] = []
        self._received_s: list[float] = []
        self._latencies_s: list[float] = []
        self._speech_frames = 0
        self._bytes = 0
        self._errors: Counter[str] = Counter()
        self.decode_errors = 0

    def add_frame(self, frame: Frame) -> None:
        """Add the next frame."""
        self._timestamps_ms.append(frame.timestamp_ms)
        self._received_s.append(frame.received_s)
        self._bytes += len(frame.data)
        self._speech_frames += frame.audio_timestamp_ms is not None
        if frame.latency_s is not None:
            self._latencies_s.append(frame.latency_s)

    def add_error(self, code: str) -> None:
        """Add an ERROR message with this code."""
        self._errors[code] += 1

    @property
    def frames(self) -> int:
        """How many there were."""
        return len(self._timestamps_ms)

    @property
    def speech_s(self) -> float:
        """How much speech was shown."""
        return self._speech_frames * FRAME_MS / 1_000

    @property
    def lateness_s(self) -> list[float]:
        """Of each frame."""
        return lateness_s(self._timestamps_ms, self._received_s)

    def report(self, init_sent_s: float) -> StreamReport:
        """Sum up.

        Args:
            init_sent_s: `AvatarClient.init_sent_s`.
        """
        steps_ms = [later - earlier for earlier, later in pairwise(self._timestamps_ms)]
        duration_s = self._received_s[-1] - self._received_s[0] if self._received_s else 0.0
        return StreamReport(
            frames=self.frames,
            duration_s=duration_s,
            video_bytes=self._bytes,
            first_frame_s=self._received_s[0] - init_sent_s if self._received_s else None,
            frames_per_second=len(steps_ms) / duration_s if duration_s else None,
            lateness=Spread.of(self.lateness_s),
            latency=Spread.of(self._latencies_s) if self._is_paced else None,
            speech_frames=self._speech_frames,
            missing_frames=sum(step // FRAME_MS - 1 for step in steps_ms if step > 0),
            broken_timestamps=sum(step <= 0 or step % FRAME_MS != 0 for step in steps_ms),
            decode_errors=self.decode_errors,
            errors=dict(self._errors),
        )
