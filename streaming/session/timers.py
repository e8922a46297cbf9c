"""The deadlines of a session, each with a name; setting one again moves it."""

from enum import Enum, auto


class Timer(Enum):
    INIT = auto()
    """The client must have sent INIT."""
    IDLE = auto()
    """The client must have sent something."""
    PING = auto()
    IGNORED = auto()
    """Tell the client how many messages were ignored."""
    NO_WORKER = auto()
    """Tell the client that no worker took the session."""
    CLAIM = auto()
    """Claim anew."""
    SILENCE = auto()
    """A frame must have come."""
    ALIVE = auto()
    """Tell the worker that this door is there."""
    AUDIO = auto()
    """Try again to hand on audio."""
    INTERRUPT = auto()
    """The worker must have confirmed an interrupt."""


class Timers:
    """Moments of a monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._due_s: dict[Timer, float] = {}

    def set(self, timer: Timer, due_s: float) -> None:
        self._due_s[timer] = due_s

    def stop(self, *timers: Timer) -> None:
        for timer in timers:
            self._due_s.pop(timer, None)

    def stop_all(self) -> None:
        self._due_s.clear()

    @property
    def next_s(self) -> float | None:
        return min(self._due_s.values(), default=None)

    def take_due(self, now_s: float) -> tuple[Timer, float] | None:
        """A timer whose time has come, and when that was; it is stopped. None if there is none."""
        for timer, due_s in sorted(self._due_s.items(), key=lambda entry: entry[1]):
            if due_s <= now_s:
                del self._due_s[timer]
                return timer, due_s
        return None
