"""Twisted's reactor on uvloop: who resets a connection is gone, whatever it sent before.

uvloop stops watching a descriptor at its first error, after it has called its reader once more.
That reads what came before the reset, as any read does first. The next read would learn of the
reset, and never comes: the connection would stay for good, and its session with it. So each read is
followed by a look for an error. A client that closes with frames unread resets: no rare case.
"""

import socket
from typing import Any

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.main import CONNECTION_LOST, installReactor

from musetalk_site.event_loop import new_event_loop


class Reactor(AsyncioSelectorReactor):  # type: ignore[misc]  # Twisted has no types
    """The reactor of the processes that serve."""

    def _readOrWrite(self, selectable: Any, read: bool) -> None:  # noqa: N802  named by Twisted
        super()._readOrWrite(selectable, read)
        if read and _is_reset(selectable):
            self._disconnectSelectable(selectable, CONNECTION_LOST, read)


def _is_reset(selectable: Any) -> bool:
    """Whether it is a connection, still open here, that has an error."""
    connection = getattr(selectable, "socket", None)
    if connection is None or selectable.fileno() == -1:
        return False
    return bool(connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


def install() -> None:
    """Have Twisted and Daphne run on it.

    Daphne makes a loop of its own when it is imported; it is replaced before anything uses it.
    """
    loop = new_event_loop()
    installReactor(Reactor(loop))
    import daphne.server

    daphne.server.twisted_loop.close()
    daphne.server.twisted_loop = loop
