"""When received speech is due: when it arrives, or when the speech before it was shown.

So speech that comes faster than it is spoken is *ahead* of its time, as a synthesizer sends it. A
microphone cannot be ahead: what it sends at once was recorded before, while the client, its network
or the server was held up. It is known by its pace: its speech comes as fast as it is spoken,
however much came at once before that.

* A client that asks for ``late_audio="drop"`` says that its speech is live; after `IN_STEP_S` at
  that pace it is believed. From then on, speech that comes at once after a gap was due during that
  gap, no earlier than it began.
* Any other counts as a microphone after `PACED_S`, unless it is more than `MOST_AHEAD_S` ahead: so
  does a synthesizer that is held back by how much may wait.

Whatever a microphone is ahead by, it was held up by, and all that came since was due so much
earlier.

Pure: time is an argument, in seconds of the caller's monotonic clock.
"""

import math

LIVE_S = 0.3
"""Speech that arrived longer before it was due was sent ahead of time; a shorter pause between two
chunks is no gap."""
IN_STEP_S = 1.0
"""So much speech in step with the clock shows that it comes from a microphone, as was said."""
PACED_S = 2.0
"""So much shows it where it was not said."""
MOST_AHEAD_S = 1.0
"""Who is further ahead without having said that its speech is live has sent it ahead."""
WOBBLE_S = 0.1
"""A microphone may be so far ahead for good: networks do not deliver like clocks."""
AT_ONCE_S = 0.02
"""What comes at once comes within this time."""


class DueTimes:
    """Gives each chunk of a session the time at which it is due."""

    def __init__(self, *, may_be_microphone: bool) -> None:
        """Start without speech.

        Args:
            may_be_microphone: Whether the client says that its speech is live.
        """
        self._may_be_microphone = may_be_microphone
        self._shown_by_s = 0.0
        """When all that arrived would have been shown, had nothing been late."""
        self._last_arrival_s: float | None = None
        self._in_step_s = 0.0
        """How much speech came in step with the clock."""
        self._ahead_s = 0.0
        """By how much the latest whole second of that was ahead of its time, at least."""
        self._second_s = 0.0
        """How much came of the next second."""
        self._second_ahead_s = math.inf
        """By how much that was ahead, at least."""
        self._owed_s = 0.0
        """How much of the speech since the latest gap may have been recorded during it."""

    def take_back(self, now_s: float) -> float | None:
        """By when all that arrived was to be shown, if that was earlier than was thought.

        To be called with the arrival of each chunk, before `due`.

        Args:
            now_s: When the chunk arrived.

        Returns:
            The time at which the last sample before the chunk was due; None: when it was thought.
        """
        if self._last_arrival_s is not None and now_s - self._last_arrival_s > LIVE_S:
            self._owed_s = max(0.0, now_s - max(self._shown_by_s, self._last_arrival_s))
        earlier_s = min(self._shown_by_s - now_s, self._held_up_s())
        if earlier_s <= 0:
            return None
        self._owed_s = max(0.0, self._owed_s - earlier_s)
        self._ahead_s = max(0.0, self._ahead_s - earlier_s)
        self._second_ahead_s = max(0.0, self._second_ahead_s - earlier_s)
        self._shown_by_s -= earlier_s
        return self._shown_by_s

    def _held_up_s(self) -> float:
        """Return for how long a microphone may have been held up; 0 if there is none."""
        ahead_s = self._ahead_s if self._ahead_s > WOBBLE_S else 0.0
        if self._may_be_microphone and self._in_step_s >= IN_STEP_S:
            return max(self._owed_s, ahead_s)
        if self._in_step_s >= PACED_S and ahead_s <= MOST_AHEAD_S:
            return ahead_s
        return 0.0

    def due(self, now_s: float, duration_s: float) -> float:
        """When the first sample of a chunk is due.

        Args:
            now_s: When it arrived.
            duration_s: How long it is.
        """
        due_s = max(now_s, self._shown_by_s)
        self._shown_by_s = due_s + duration_s
        ahead_s = due_s - now_s
        if ahead_s - self._ahead_s > LIVE_S:
            self._in_step_s = self._second_s = 0.0
            self._ahead_s, self._second_ahead_s = ahead_s, math.inf
        elif self._last_arrival_s is not None:
            self._count_in_step(min(now_s - self._last_arrival_s, duration_s), ahead_s)
        self._last_arrival_s = now_s
        return due_s

    def _count_in_step(self, seconds: float, ahead_s: float) -> None:
        self._in_step_s += seconds
        self._second_s += seconds
        if self._second_s >= AT_ONCE_S:
            self._second_ahead_s = min(self._second_ahead_s, ahead_s)
        if self._second_s >= IN_STEP_S:
            self._ahead_s, self._second_s = self._second_ahead_s, 0.0
            self._second_ahead_s = math.inf

    def interrupt(self) -> None:
        """Nothing that arrived will be shown."""
        self._shown_by_s = 0.0
