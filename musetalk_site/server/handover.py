"""A connection leaves this process for another, or comes from one, with all that was read of it.

Which process serves a stream is decided when its request has been read, not when its connection was
accepted: one that is kept alive carries ordinary requests before. The descriptor travels; the TCP
connection never notices.
"""

import os
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from twisted.internet import error, reactor
from twisted.python.failure import Failure

from musetalk_site.server.websocket import StreamProtocol
from streaming.gateway.takeover import key_of


def is_stream(request: Any) -> bool:
    """Whether a `daphne.http_protocol.WebRequest` asks for a WebSocket."""
    upgrade = request.requestHeaders.getRawHeaders(b"Upgrade") or [b""]
    return bool(upgrade[0].lower() == b"websocket")


def session_of(request: Any) -> str | None:
    """Return the key of the session that a request names by ``?session=<uuid>``."""
    query = request.uri.partition(b"?")[2].decode("ascii", "replace")
    named = parse_qs(query).get("session", [""])[0]
    return key_of(named[:64]) or None


def head_of(request: Any) -> bytes:
    """Return the request as it came: its line and its headers."""
    lines = [b" ".join((request.method, request.uri, request.clientproto))]
    for name, values in request.requestHeaders.getAllRawHeaders():
        lines += [name + b": " + value for value in values]
    return b"\r\n".join([*lines, b"", b""])


def descriptor_of(request: Any) -> int | None:
    """Of the request's connection; None where it has none of its own, as with TLS."""
    transport = request.channel.transport
    if not hasattr(transport, "getHandle"):
        return None
    descriptor = transport.getHandle().fileno()
    return descriptor if descriptor >= 0 else None


def release(request: Any) -> None:
    """Forget the request's connection without a word to the client: another process has it."""
    transport = request.channel.transport
    transport.stopReading()

    def close() -> None:
        transport.unregisterProducer()
        transport._shouldShutdown = False  # shutdown would end it for all who hold a descriptor
        transport.connectionLost(Failure(error.ConnectionDone()))

    reactor.callLater(0, close)  # the channel is still busy with the data that brought it here


class _Adopting:
    """A factory for one connection, whose requests are not handed over again."""

    def __init__(self, factory: Any, request_class: type) -> None:
        self._factory = factory
        self._request_class = request_class

    def buildProtocol(self, address: Any) -> Any:  # noqa: N802  named by Twisted
        protocol = self._factory.buildProtocol(address)
        protocol.requestFactory = self._request_class
        return protocol


def adopt(
    descriptor: int,
    head: bytes,
    on_answered: Callable[[], None],
    *,
    factory: Any,
    request_class: type,
) -> None:
    """Serve a connection of another process.

    Args:
        descriptor: Of the connection; the caller's own copy stays open.
        head: What was read from it.
        on_answered: Called once: when the client has an answer, or has left.
        factory: The server's factory of HTTP connections.
        request_class: Of its requests; one that is not handed over again.
    """
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        connection.setblocking(False)
        family = connection.family
        try:
            transport = reactor.adoptStreamConnection(
                connection.fileno(), family, _Adopting(factory, request_class)
            )
        except OSError:
            on_answered()  # the client left on the way
            return
    transport.protocol.dataReceived(head)
    if isinstance(transport.protocol, StreamProtocol):
        transport.protocol.when_answered(on_answered)
    else:
        on_answered()
