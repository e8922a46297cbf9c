"""Ticks, samples and milliseconds: the one place where they are turned into each other.

A session's time is counted in ticks of 40 ms. Frame ``n`` is due at the session's origin plus
``n`` ticks, and one frame shows exactly 640 samples of speech, so sound and picture cannot drift:
there is no second clock to drift against. Seconds are floats of a monotonic clock and serve only
to wait and to log.
"""

from dataclasses import dataclass

SAMPLE_RATE_HZ = 16_000
FRAMES_PER_SECOND = 25
FRAME_MS = 1_000 // FRAMES_PER_SECOND
FRAME_S = 1 / FRAMES_PER_SECOND
SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // FRAMES_PER_SECOND
SAMPLES_PER_MS = SAMPLE_RATE_HZ // 1_000
BYTES_PER_SAMPLE = 2

GRID_S = FRAME_S / 8
"""Frames are due at multiples of this on the monotonic clock. What is to happen some of these
before happens together with what is due for other sessions, and one wake-up serves both."""
ENCODING_S = 2 * GRID_S
"""Time kept before a frame is due for pasting, encoding and sending it: 10 ms."""


def frame_timestamp_ms(frame: int) -> int:
    """Return the time of frame ``frame`` on the wire, in ms since the session's first frame."""
    return frame * FRAME_MS


def audio_timestamp_ms(position: int) -> int:
    """Return a sample's time on the wire, in whole ms since the session's first sample."""
    return position // SAMPLES_PER_MS


@dataclass(frozen=True, slots=True)
class FrameClock:
    """When the frames of one session are due, on the host's monotonic clock."""

    origin_s: float

    def due_s(self, frame: int) -> float:
        return self.origin_s + frame * FRAME_S

    def frame_due_at(self, now_s: float) -> int:
        """Return the last frame whose time has come; -1 before the first."""
        # The epsilon keeps `frame_due_at(due_s(n)) == n` in spite of binary fractions.
        return int((now_s - self.origin_s) / FRAME_S + 1e-6) if now_s >= self.origin_s else -1
