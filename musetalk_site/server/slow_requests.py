"""Requests that come too slowly: their connections are closed.

Twisted's channel counts the time since the last byte, so that a byte each minute keeps a head open,
or a body and its temporary file, without an end. Here the time that a channel gives its client is
for a whole head, or for `PROGRESS_BYTES` of a body.
"""

from twisted.protocols.basic import LineReceiver
from twisted.web.http import HTTPChannel

PROGRESS_BYTES = 16 * 1024
"""As much as a head may have."""


class TimedChannel(HTTPChannel):  # type: ignore[misc]  # Twisted's has no type here
    """A connection of a client, which must send a request within ``timeOut`` seconds.

    A body takes as long as it may if each `PROGRESS_BYTES` of it come in that time. While a request
    is answered the client has nothing to send, and the time does not run.
    """

    _since_reset_bytes = 0

    def dataReceived(self, data: bytes) -> None:  # noqa: N802  named by Twisted
        self._since_reset_bytes += len(data)
        if self._since_reset_bytes >= PROGRESS_BYTES:
            self._since_reset_bytes = 0
            self.resetTimeout()
        LineReceiver.dataReceived(self, data)

    def setTimeout(self, period: float | None) -> float | None:  # noqa: N802  named by Twisted
        self._since_reset_bytes = 0
        before: float | None = super().setTimeout(period)
        return before
