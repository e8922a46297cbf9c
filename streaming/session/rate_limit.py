"""How many messages, bytes and mistakes of a client are worked on: token buckets."""

from streaming.protocol.errors import ProtocolError

MESSAGE_BURST = 5_000
MESSAGES_PER_S = 500
BYTE_BURST = 4 * 1024 * 1024
BYTES_PER_S = 1024 * 1024
ERROR_BURST = 200
ERRORS_PER_S = 20
REPORT_EVERY_S = 1.0


class Bucket:
    """Tokens up to ``burst``, refilled at ``per_s``."""

    def __init__(self, burst: float, per_s: float, now_s: float) -> None:
        self._tokens = self._burst = burst
        self._per_s = per_s
        self._filled_s = now_s

    def take(self, tokens: float, now_s: float) -> bool:
        """Take tokens; False, and none are taken, if there are fewer."""
        gained = max(0.0, now_s - self._filled_s) * self._per_s
        self._tokens = min(self._burst, self._tokens + gained)
        self._filled_s = now_s
        if self._tokens < tokens:
            return False
        self._tokens -= tokens
        return True


class MessageLimit:
    """Which messages of a client are worked on, and the report of those that were ignored."""

    def __init__(self, now_s: float) -> None:
        self._messages = Bucket(MESSAGE_BURST, MESSAGES_PER_S, now_s)
        self._bytes = Bucket(BYTE_BURST, BYTES_PER_S, now_s)
        self._errors = Bucket(ERROR_BURST, ERRORS_PER_S, now_s)
        self._ignored = 0
        self._may_report_s = now_s

    def admits(self, size_bytes: int, now_s: float) -> bool:
        """Whether a message is read; otherwise it counts as ignored."""
        if self._messages.take(1, now_s) and self._bytes.take(size_bytes, now_s):
            return True
        self._ignored += 1
        return False

    def answers(self, error: ProtocolError, now_s: float) -> bool:
        """Whether a message is answered by this error; otherwise it counts as ignored.

        An answer costs more than the message did. Refused speech is always answered: its client is
        to know which piece it was.
        """
        if error.code == "RATE_LIMIT_EXCEEDED" or self._errors.take(1, now_s):
            return True
        self._ignored += 1
        return False

    @property
    def report_s(self) -> float | None:
        """When a report of what was ignored is due; None if nothing was."""
        return self._may_report_s if self._ignored else None

    def report(self, now_s: float) -> ProtocolError:
        """Return the report for the client, and start the count over."""
        ignored, self._ignored = self._ignored, 0
        self._may_report_s = now_s + REPORT_EVERY_S
        return ProtocolError(
            "RATE_LIMIT_EXCEEDED",
            f"Too many messages, bytes or errors; messages ignored: {ignored}. At most "
            f"{MESSAGES_PER_S} messages and {BYTES_PER_S} bytes a second are read, and "
            f"{ERRORS_PER_S} errors answered, after a burst of {MESSAGE_BURST} messages, "
            f"{BYTE_BURST} bytes and {ERROR_BURST} errors.",
            ignored=ignored,
        )
