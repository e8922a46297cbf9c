"""Writing to a socket that has room, at once.

Twisted puts what is written into a buffer, asks the event loop to tell when the socket can be
written to, and writes in the loop's next turn. For a frame, 25 times a second for each client,
that is a turn and two system calls to hear that there is room, as there nearly always is.
"""

from typing import Any


def write(transport: Any, data: bytes) -> None:
    """Write, and buffer what does not fit into the socket.

    Args:
        transport: Twisted's, of a connection; one that is not plain TCP is written to as usual.
        data: What follows all that was written before.
    """
    if _is_idle(transport):
        sent = transport.writeSomeData(data)
        if sent == len(data):
            return
        if isinstance(sent, int) and sent > 0:
            data = data[sent:]
        # An error is met again, and handled, by the transport itself.
    transport.write(data)


def _is_idle(transport: Any) -> bool:
    """Whether nothing waits to be written, and the connection is as it should be."""
    try:
        return (
            transport.connected
            and not transport.TLS
            and not transport.disconnecting
            and not transport.dataBuffer
            and not transport._tempDataBuffer
        )
    except AttributeError:
        return False
