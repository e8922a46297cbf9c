"""Daphne, tamed: a server for streams that last for hours.

Four things differ from the stock server.

*Backpressure.* ASGI's ``send`` returns at once, so pictures for a client that reads nothing would
pile up in memory without end. The transport tells when its buffer is full and when it has room
again: the consumer hears of it through ``scope["extensions"]["musetalk.transport"]``, a
`WriteSide`, and leaves pictures out meanwhile. The kernel is told to take no more than it can send
soon, or it would hide seconds of pictures from us. The other way round, a client that sends faster
than its messages are worked on is not read from meanwhile, so that it waits and not our memory.

*Limits.* A message over 256 KiB closes the connection with 1009, properly, where the stock server
just hangs up. There is no end to a session's length, and a peer that vanished is found by pings.
Bodies of requests have a limit, too, and large ones are no burden to streams: `bodies` has that.

*The end.* The stock server stumbles over connections that are less than a second old and leaves
coroutines running while the interpreter exits, which can crash it. Here the listening stops first,
then clients are told, then what still runs is cancelled and waited for.

*Failures to start* are raised, not only logged.

Importing this module installs Twisted's asyncio reactor.
"""

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from daphne.server import Server, twisted_loop
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import defer, reactor
from twisted.logger import STDLibLogObserver, globalLogPublisher

from musetalk_site import bodies

log = logging.getLogger(__name__)

Application = Callable[[Any, Any, Any], Awaitable[None]]

TRANSPORT_EXTENSION = "musetalk.transport"
MAX_MESSAGE_BYTES = 256 * 1024
MAX_BODY_BYTES = 500_000_000
_READ_SIDE = "musetalk.read_side"
_LARGE_BODY = "musetalk.large_body"
CLOSE_SERVER_FAULT = 4500
PING_INTERVAL_S = 20
PING_TIMEOUT_S = 20
PAUSED_LIMIT_S = 60.0
"""A client that has read nothing for so long is dropped, though it may still be sending."""
WAITING_LIMIT = 64
"""How many messages of a client may wait; what one read from its socket brought still comes."""
UNSENT_LIMIT_BYTES = 32 * 1024
"""How much unsent data the kernel may hold: about two pictures."""
FAREWELL_S = 2.0
"""How long clients have, at the end, to read their last messages and close."""


class WriteSide:
    """Whether the transport can take more bytes; a push producer in Twisted's terms."""

    def __init__(self) -> None:
        self.paused = False
        self.paused_since_s = 0.0
        self._callbacks: list[Callable[[bool], None]] = []

    def on_change(self, callback: Callable[[bool], None]) -> None:
        """Call ``callback(paused)`` at each change, in the event loop."""
        self._callbacks.append(callback)

    def is_stuck(self) -> bool:
        """Whether nothing could be written for longer than anybody should be waited for."""
        return self.paused and twisted_loop.time() - self.paused_since_s > PAUSED_LIMIT_S

    def pauseProducing(self) -> None:  # noqa: N802  named by Twisted
        self._set(True)

    def resumeProducing(self) -> None:  # noqa: N802  named by Twisted
        self._set(False)

    def stopProducing(self) -> None:  # noqa: N802  named by Twisted
        self._callbacks.clear()

    def _set(self, paused: bool) -> None:
        # A write to a transport that is full says it again: that is no change.
        if paused != self.paused:
            self.paused = paused
            self.paused_since_s = twisted_loop.time()
            for callback in self._callbacks:
                callback(paused)


class ReadSide:
    """How many of a client's messages wait to be worked on; too many, and it is not read from."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._waiting = 0
        self._is_held = False

    def arrived(self) -> None:
        self._waiting += 1
        if self._waiting >= WAITING_LIMIT and not self._is_held:
            self._is_held = True
            self._transport.pauseProducing()

    def taken(self) -> None:
        self._waiting = max(self._waiting - 1, 0)
        if self._waiting <= WAITING_LIMIT // 2 and self._is_held:
            self._is_held = False
            self._transport.resumeProducing()


class StreamProtocol(WebSocketProtocol):  # type: ignore[misc]  # daphne has no types
    """One WebSocket whose application knows whether its client keeps up."""

    def onConnect(self, request: Any) -> Any:  # noqa: N802  named by Autobahn
        self.write_side = WriteSide()
        self.read_side = ReadSide(self.transport)
        return super().onConnect(request)

    def onOpen(self) -> None:  # noqa: N802  named by Autobahn
        super().onOpen()
        # The HTTP channel registered itself before the upgrade; as long as it stays, ours is deaf.
        self.transport.unregisterProducer()
        self.transport.registerProducer(self.write_side, True)
        if hasattr(socket, "TCP_NOTSENT_LOWAT") and hasattr(self.transport, "getHandle"):
            self.transport.getHandle().setsockopt(
                socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_LIMIT_BYTES
            )

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:  # noqa: N802, N803
        # A handshake that failed is closed, too, though it never became a connection.
        if hasattr(self, "server"):
            super().onClose(wasClean, code, reason)

    def serverSend(self, content: Any, binary: bool = False) -> None:  # noqa: N802  named by Daphne
        # The peer may be gone while the application does not know it yet.
        if self.state in (self.STATE_CONNECTING, self.STATE_OPEN):
            super().serverSend(content, binary)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803  as above
        super().onMessage(payload, isBinary)
        self.read_side.arrived()

    def check_timeouts(self) -> None:
        if self.state == self.STATE_OPEN and self.write_side.is_stuck():
            log.info("dropped a client that has read nothing for %.0f s", PAUSED_LIMIT_S)
            self.dropConnection(abort=True)
            return
        super().check_timeouts()

    def handle_exception(self, exception: BaseException) -> None:
        # The stock code 1011 is one that Autobahn refuses to send.
        if self.state == self.STATE_OPEN:
            self.sendClose(code=CLOSE_SERVER_FAULT)
        else:
            super().handle_exception(exception)


def _reading_in_step(application: Application) -> Application:
    """``application``, whose every receive makes room for another message, or reads in a file."""

    async def in_step(scope: Any, receive: Any, send: Any) -> None:
        read_side = scope.pop(_READ_SIDE, None)
        large_body = scope.pop(_LARGE_BODY, None)
        if large_body is not None:
            receive = bodies.BodyReader(large_body, receive)
        if read_side is None:
            await application(scope, receive, send)
            return

        async def take() -> Any:
            message = await receive()
            if message["type"] == "websocket.receive":
                read_side.taken()
            return message

        await application(scope, take, send)

    return in_step


class StartFailed(Exception):
    """The server could not begin to listen, or what it should run could not start."""


class StreamServer(Server):  # type: ignore[misc]  # daphne has no types
    """Daphne's server with a life before and after its connections.

    ``started`` is awaited when the loop runs and connections are taken; if it raises, the server
    ends and `run` raises StartFailed. ``told`` is awaited when no new connections are taken any
    more: it says goodbye to clients. ``ended`` is awaited when all connections are gone.
    """

    def __init__(
        self,
        application: Any,
        *,
        endpoints: list[str],
        started: Callable[[], Awaitable[None]],
        told: Callable[[], Awaitable[None]],
        ended: Callable[[], Awaitable[None]],
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        super().__init__(
            _reading_in_step(application),
            endpoints=endpoints,
            signal_handlers=False,  # Twisted's complain about a second Ctrl-C; see `run`
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
            websocket_timeout=-1,
            websocket_max_message_size=MAX_MESSAGE_BYTES,
            websocket_max_frame_size=MAX_MESSAGE_BYTES,
            ready_callable=self._before_the_first_connection,
        )
        self.max_body_bytes = max_body_bytes
        self._started = started
        self._told = told
        self._ended = ended
        self._ports: list[Any] = []
        self._failure: str | None = None
        self._is_ending = False
        self._none_open = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self) -> None:
        """Serve until SIGINT, SIGTERM or `stop`; StartFailed if it could not begin."""
        for number in (signal.SIGINT, signal.SIGTERM):
            twisted_loop.add_signal_handler(number, self.stop)
        reactor.callWhenRunning(self._begin)
        super().run()
        self._settle()
        if self._failure is not None:
            raise StartFailed(self._failure)

    def stop(self) -> None:
        """End the server; once is enough."""
        if not self._is_ending:
            self._is_ending = True
            super().stop()

    def fail(self, reason: str) -> None:
        """End the server; `run` raises StartFailed with this reason."""
        self._failure = reason
        self.stop()

    # ---- what Daphne calls

    def listen_success(self, port: Any) -> None:
        super().listen_success(port)
        self._ports.append(port)

    def listen_error(self, failure: Any) -> None:
        self.fail(failure.getErrorMessage())

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        if isinstance(protocol, StreamProtocol):
            scope["extensions"] = {TRANSPORT_EXTENSION: protocol.write_side}
            scope[_READ_SIDE] = protocol.read_side
        elif isinstance(protocol, bodies.BodyRequest):
            scope[_LARGE_BODY] = protocol.large_body
        return super().create_application(protocol, scope)

    def protocol_disconnected(self, protocol: Any) -> None:
        super().protocol_disconnected(protocol)
        if self._is_ending and not self._open():
            self._none_open.set()

    def kill_all_applications(self) -> Any:
        """What Twisted waits for before it shuts down."""
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._end(), loop=twisted_loop))

    # ---- the life of the server

    def _before_the_first_connection(self) -> None:
        # Daphne throws away what Twisted has to say, unhandled exceptions included.
        globalLogPublisher.addObserver(STDLibLogObserver("twisted"))
        bodies.use_for(self.http_factory)
        self.ws_factory.protocol = StreamProtocol
        self.ws_factory.setProtocolOptions(failByDrop=False)

    def _begin(self) -> None:
        async def begin() -> None:
            try:
                await self._started()
            except Exception as error:
                log.debug("start failed", exc_info=True)
                self.fail(str(error) or repr(error))

        task = twisted_loop.create_task(begin())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _open(self) -> list[Any]:
        return [p for p, details in self.connections.items() if "disconnected" not in details]

    async def _end(self) -> None:
        """Stop listening, say goodbye, give everybody a moment, cancel the rest."""
        for port in self._ports:
            await defer.maybeDeferred(port.stopListening).asFuture(twisted_loop)
        await self._attempt(self._told)
        if self._open():
            try:
                await asyncio.wait_for(self._none_open.wait(), FAREWELL_S)
            except TimeoutError:
                log.info("%d connections did not close in time", len(self._open()))
        # A finished request has no application any more, though its connection is still listed.
        running = [
            details["application_instance"]
            for details in self.connections.values()
            if "application_instance" in details
        ]
        for application in running:
            application.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._attempt(self._ended)

    @staticmethod
    async def _attempt(step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except Exception:
            log.exception("the server ends in spite of a fault")

    @staticmethod
    def _settle() -> None:
        """Leave nothing running in the loop: the interpreter may crash on it at exit."""
        left = asyncio.all_tasks(twisted_loop)
        for task in left:
            task.cancel()
        twisted_loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        twisted_loop.run_until_complete(twisted_loop.shutdown_asyncgens())
        twisted_loop.run_until_complete(twisted_loop.shutdown_default_executor())
        twisted_loop.close()
