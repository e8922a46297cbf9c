"""Whether one session more may speak, or be admitted. Pure: time is an argument.

A *place* is what one speaking session costs the engine and the processor. How many there are is
known in advance (measured, or learned by the engine), and taken back for as long as the process is
late all the same: a neighbor may take the processor away. What is refused costs its client a
message; what is taken beyond capacity costs everybody their sound.

Idle sessions cost next to nothing. They are refused only where frames are so late that the process
cannot carry those it has, and not if they had begun: late frames are better than none. A process
whose latest frames were late is not sent more streams (`is_very_late`), for longer than it refuses
those that come.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

LATE_S = 0.02
"""A frame sent so long after it was due is late."""
VERY_LATE_S = 0.1
LATE_SHARE = 0.1
"""More late frames than this: no session may begin to speak beside those that do."""
VERY_LATE_SHARE = 0.1
"""More very late frames than this: no session is admitted."""
WINDOW_S = 2.0
LONG_WINDOW_S = 10.0
LONG_LATE_SHARE = 0.01
"""More very late frames than this in the long window: its 99th percentile is very late, and the
process is not ready for more."""
_BUCKET_S = 0.25
_MIN_FRAMES = 50
"""With fewer frames in the window a share says nothing."""


@dataclass(slots=True)
class _Bucket:
    begin_s: float
    frames: int = 0
    late: int = 0
    very_late: int = 0


class Capacity:
    """The places of one process, and whether it keeps its time."""

    def __init__(
        self, places: Callable[[], int | None] = lambda: None, *, speech_share: float = 0.0
    ) -> None:
        """Start in time.

        Args:
            places: Tells how many sessions can speak at once; None: not known, then lateness
                alone decides.
            speech_share: The part of a place that each admitted session reserves, 0 to 1.
        """
        self._places = places
        self._speech_share = speech_share
        self._buckets: deque[_Bucket] = deque()

    def frame_sent(self, lateness_s: float, now_s: float, *, is_repeated: bool = False) -> None:
        """Count a frame that was sent.

        Args:
            lateness_s: How long after it was due.
            now_s: The moment.
            is_repeated: Its mouth was repeated, because the engine was late.
        """
        if not self._buckets or now_s - self._buckets[-1].begin_s >= _BUCKET_S:
            self._buckets.append(_Bucket(now_s))
        bucket = self._buckets[-1]
        bucket.frames += 1
        bucket.late += is_repeated or lateness_s > LATE_S
        bucket.very_late += lateness_s > VERY_LATE_S

    def _lately(self, now_s: float, window_s: float) -> list[_Bucket]:
        while self._buckets and now_s - self._buckets[0].begin_s > LONG_WINDOW_S:
            self._buckets.popleft()
        return [bucket for bucket in self._buckets if now_s - bucket.begin_s <= window_s]

    def may_speak(self, speaking: int, now_s: float) -> bool:
        """Whether a session more may begin to speak.

        Args:
            speaking: How many do.
            now_s: The moment.
        """
        if speaking == 0:
            return True  # one can always speak, however busy the machine is
        places = self._places()
        if places is not None and speaking >= max(places, 1):
            return False
        return not self.is_late(now_s)

    def refusal(self, sessions: int, now_s: float, *, is_new: bool = True) -> str | None:
        """Why a session more cannot be admitted; None if it can.

        Args:
            sessions: How many were admitted.
            now_s: The moment.
            is_new: It has not begun, here or elsewhere.
        """
        places = self._places()
        if places is not None and (sessions + 1) * self._speech_share > max(places, 1):
            return f"{sessions} sessions reserve parts of {max(places, 1)} places to speak"
        buckets = self._lately(now_s, WINDOW_S)
        is_late = _share_is_above(sum(b.very_late for b in buckets), buckets, VERY_LATE_SHARE)
        if is_new and is_late:
            return "frames are late already"
        return None

    def is_late(self, now_s: float) -> bool:
        """Whether so many frames are late that no session more may begin to speak."""
        buckets = self._lately(now_s, WINDOW_S)
        return _share_is_above(sum(b.late for b in buckets), buckets, LATE_SHARE)

    def is_very_late(self, now_s: float) -> bool:
        """Whether the 99th percentile of the last 10 s was very late: no place for more streams."""
        buckets = self._lately(now_s, LONG_WINDOW_S)
        return _share_is_above(sum(b.very_late for b in buckets), buckets, LONG_LATE_SHARE)


def _share_is_above(late: int, buckets: list[_Bucket], share: float) -> bool:
    frames = sum(bucket.frames for bucket in buckets)
    return frames >= _MIN_FRAMES and late > share * frames
