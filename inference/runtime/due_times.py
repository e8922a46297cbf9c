"""When received speech is due: when it arrives, or when the speech before it was shown.

So speech that comes faster than it is spoken is *ahead* of its time, as a synthesizer sends it. A
microphone cannot be ahead: what it sends at once was recorded before, while the client or its
network was held up. A client that asks for ``late_audio="drop"`` says that it is one, and counts as
one after `IN_STEP_S` of speech at the pace at which it is spoken. From then on, speech that comes
at once after a gap was due during that gap, no earlier than it began.

Pure: time is an argument, in seconds of the caller's monotonic clock.
"""

LIVE_S = 0.3
"""Speech that arrived longer before it was due was sent ahead of time; a shorter pause between two
chunks is no gap."""
IN_STEP_S = 1.0
"""So much speech in step with the clock shows that it comes from a microphone."""


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
        """How much speech came in step since some came ahead of time."""
        self.resumed_s = 0.0
        """When speech came again after the latest gap."""
        self._owed_s = 0.0
        """How much of the speech since then may have been recorded during the gap."""

    def take_back(self, now_s: float) -> float:
        """By how much earlier all speech that came since `resumed_s` was due than was thought.

        To be called with the arrival of each chunk, before `due`.

        Args:
            now_s: When the chunk arrived.

        Returns:
            Seconds; 0 if it was due when that was thought.
        """
        if self._last_arrival_s is not None and now_s - self._last_arrival_s > LIVE_S:
            self.resumed_s = now_s
            self._owed_s = max(0.0, now_s - max(self._shown_by_s, self._last_arrival_s))
        ahead_s = self._shown_by_s - now_s
        if not self._may_be_microphone or self._in_step_s < IN_STEP_S or ahead_s <= 0:
            return 0.0
        earlier_s = min(ahead_s, self._owed_s)
        self._owed_s -= earlier_s
        self._shown_by_s -= earlier_s
        return earlier_s

    def due(self, now_s: float, duration_s: float) -> float:
        """When the first sample of a chunk is due.

        Args:
            now_s: When it arrived.
            duration_s: How long it is.
        """
        due_s = max(now_s, self._shown_by_s)
        self._shown_by_s = due_s + duration_s
        if due_s - now_s > LIVE_S:
            self._in_step_s = 0.0
        elif self._last_arrival_s is not None:
            self._in_step_s += min(now_s - self._last_arrival_s, duration_s)
        self._last_arrival_s = now_s
        return due_s

    def interrupt(self) -> None:
        """Nothing that arrived will be shown."""
        self._shown_by_s = 0.0
