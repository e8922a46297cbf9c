"""How many messages a client may send."""

from streaming.protocol.errors import ProtocolError

MESSAGE_BURST = 5_000
MESSAGES_PER_S = 500
REPORT_EVERY_S = 1.0


class TokenBucket:
    """A token bucket, and the account of what found it empty."""

    def __init__(self, now_s: float) -> None:
        self._tokens = float(MESSAGE_BURST)
        self._filled_s = now_s
        self._ignored = 0
        self._may_report_s = now_s

    def admits(self, now_s: float) -> bool:
        """Whether one message more is to be looked at; else it counts as ignored."""
        gained = max(0.0, now_s - self._filled_s) * MESSAGES_PER_S
        self._tokens = min(MESSAGE_BURST, self._tokens + gained)
        self._filled_s = now_s
        if self._tokens < 1:
            self._ignored += 1
            return False
        self._tokens -= 1
        return True

    @property
    def report_s(self) -> float | None:
        """When the client is to be told what was ignored; None if nothing was."""
        return self._may_report_s if self._ignored else None

    def report(self, now_s: float) -> ProtocolError:
        """What the client is to be told; the account begins anew."""
        ignored, self._ignored = self._ignored, 0
        self._may_report_s = now_s + REPORT_EVERY_S
        return ProtocolError(
            "RATE_LIMIT_EXCEEDED",
            f"Too many messages, ignored: {ignored}. At most {MESSAGES_PER_S} a second are "
            f"read, after a burst of {MESSAGE_BURST}.",
            ignored=ignored,
        )
