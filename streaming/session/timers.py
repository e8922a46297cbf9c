"""The deadlines of a session, each with a name; setting one again moves it."""

from enum import Enum, auto


class Timer(Enum):
    """What a session waits for."""

    INIT = auto()
    """The client must have sent INIT."""
    IDLE_WARNING = auto()
    """Warn the client that it has sent nothing for long."""
    IDLE = auto()
    """The client must have sent something."""
    MAX_SESSION_WARNING = auto()
    """Warn the client that the session will reach its longest time."""
    MAX_SESSION = auto()
    """The session has reached its longest time."""
    TOKEN_WARNING = auto()
    """Warn the client that its credential ends the session."""
    TOKEN = auto()
    """The client's credential ends the session."""
    PING = auto()
    """Send PING."""
    IGNORED = auto()
    """Tell the client how many messages were ignored."""
    SPEECH_TAIL = auto()
    """Send the last milliseconds of resampled speech."""
    END_OF_SPEECH = auto()
    """The utterance ends if it was shown."""
    NO_WORKER = auto()
    """Tell the client that no worker took the session."""
    CLAIM = auto()
    """Claim again."""
    SILENCE = auto()
    """A frame must have come."""
    ALIVE = auto()
    """Tell the worker that this gateway is alive."""
    AUDIO = auto()
    """Try again to send speech."""
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
        """Stop a timer whose time has come; returns it and when that was. None if there is none."""
        for timer, due_s in sorted(self._due_s.items(), key=lambda entry: entry[1]):
            if due_s <= now_s:
                del self._due_s[timer]
                return timer, due_s
        return None
