"""Daphne, tamed: a server for streams that last for hours.

Four things differ from the stock server.

*Backpressure.* A client that reads too slowly is found out, and one that sends too fast is not read
from: `backpressure` and `websocket` have that. The consumer learns of the first through
``scope["extensions"]["musetalk.transport"]``, a `backpressure.WriteSide`.

*Limits.* A message over 1 MiB closes the connection with 1009, properly, where the stock server
just hangs up. There is no end to a session's length, and a peer that vanished is found by pings.
Bodies of requests have a limit, too, and large ones are no burden to streams: `bodies` has that.

*The end.* The stock server stumbles over connections that are less than a second old and leaves
coroutines running while the interpreter exits, which can crash it. Here the listening stops first,
then clients are notified, then what still runs is cancelled and waited for.

*Failures to start* are raised, not only logged.

The package installs Twisted's reactor, on the event loop of `musetalk_site.event_loop`.
"""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from daphne.server import Server, twisted_loop
from twisted.internet import defer, reactor
from twisted.internet.error import CannotListenError
from twisted.logger import STDLibLogObserver, globalLogPublisher

from musetalk_site.interrupts import interrupts
from musetalk_site.listening import cannot_listen
from musetalk_site.server import handover, request_body
from musetalk_site.server.websocket import StreamProtocol
from streaming.gateway.asgi_types import Application, Receive
from streaming.gateway.transport import TRANSPORT_EXTENSION

log = logging.getLogger(__name__)

HandOver = Callable[[int, bytes, str | None], bool]
"""Have another process serve a stream: its descriptor, what was read of it, the session that it
names; returns whether that is possible."""

MAX_MESSAGE_BYTES = 1024 * 1024
MAX_BODY_BYTES = 500_000_000
PING_INTERVAL_S = 20
PING_TIMEOUT_S = 20
FAREWELL_S = 2.0
"""How long clients have, at the end, to read their last messages and close."""
CANCEL_S = 0.2
"""How long what is cancelled has to end: a thread that waits for the database ends later."""

_READER = "musetalk.reader"
"""In a scope: what the connection's ``receive`` is to be wrapped into."""


def _with_readers(application: Application) -> Application:
    """``application``, which receives in the way that its connection wants."""

    async def run(scope: Any, receive: Receive, send: Any) -> None:
        reader: Callable[[Receive], Receive] | None = scope.pop(_READER, None)
        await application(scope, receive if reader is None else reader(receive), send)

    return run


class StartFailed(Exception):
    """The server could not begin to listen, or what it should run could not start."""


class StreamServer(Server):  # type: ignore[misc]  # daphne has no types
    """Daphne's server with a life before and after its connections."""

    def __init__(
        self,
        application: Any,
        *,
        endpoints: list[str],
        on_started: Callable[[], Awaitable[None]],
        on_closing: Callable[[], Awaitable[None]],
        on_ended: Callable[[], Awaitable[None]],
        max_body_bytes: int = MAX_BODY_BYTES,
        check_large_body: Callable[..., Callable[[], None] | None] = lambda *request: None,
        listening: socket.socket | None = None,
        hand_over: HandOver | None = None,
        drain_s: float = 0.0,
        on_draining: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        """Prepare to serve.

        Args:
            application: The site's ASGI application.
            endpoints: Where to listen, in Twisted's words; only without ``listening``.
            on_started: Awaited when the loop runs and connections are taken; if it raises, the
                server ends and `run` raises StartFailed.
            on_closing: Awaited when no new connections are taken any more: says goodbye to clients.
            on_ended: Awaited when all connections are gone.
            max_body_bytes: The largest body that anybody may send.
            check_large_body: Raises BodyRefused for a large body that is not accepted; returns
                what is still to be asked about it, which raises that, too.
            listening: A socket that listens already, shared with other processes.
            hand_over: Has streams placed, among the processes that share the socket.
            drain_s: For how long open streams may continue after SIGTERM.
            on_draining: Awaited at the beginning of that time, and given its length.
        """
        super().__init__(
            _with_readers(application),
            endpoints=endpoints or ["shared"],  # the stock server refuses to start without
            signal_handlers=False,  # Twisted's complain about a second Ctrl-C; see `run`
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
            websocket_timeout=-1,
            websocket_max_message_size=MAX_MESSAGE_BYTES,
            websocket_max_frame_size=MAX_MESSAGE_BYTES,
            ready_callable=self._before_the_first_connection,
        )
        self.max_body_bytes = max_body_bytes
        self.check_large_body = check_large_body
        self._listening = listening
        self._hand_over = hand_over
        if listening is not None:
            self.endpoints: list[str] = []
        self._on_started = on_started
        self._on_closing = on_closing
        self._on_ended = on_ended
        self._ports: list[Any] = []
        self._failure: str | None = None
        self._drain_s = drain_s
        self._on_draining = on_draining
        self._is_draining = False
        self._no_streams = asyncio.Event()
        """Set while it drains."""
        self._is_ending = False
        self._none_open = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self) -> None:
        """Serve until an interrupt, SIGTERM or `stop`; StartFailed if it could not begin."""
        for number in interrupts():
            twisted_loop.add_signal_handler(number, self.stop)
        twisted_loop.add_signal_handler(signal.SIGTERM, self.drain)
        reactor.callWhenRunning(self._begin)
        super().run()
        self._settle()
        if self._failure is not None:
            raise StartFailed(self._failure)

    def drain(self) -> None:
        """End the server when its streams have ended, or their time is over; twice: at once."""
        if self._is_draining or self._on_draining is None or not (self._drain_s and self.streams):
            self.stop()
            return
        self._is_draining = True
        self._spawn(self._drain(self._on_draining))

    async def _drain(self, on_draining: Callable[[float], Awaitable[None]]) -> None:
        await self._attempt(lambda: on_draining(self._drain_s))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._no_streams.wait(), self._drain_s)
        self.stop()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = twisted_loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """End the server; once is enough."""
        if not self._is_ending:
            self._is_ending = True
            super().stop()

    def fail(self, reason: str) -> None:
        """End the server; `run` raises StartFailed with this reason."""
        self._failure = reason
        self.stop()

    @property
    def streams(self) -> int:
        """How many WebSocket connections are open."""
        return sum(isinstance(protocol, StreamProtocol) for protocol in self._open())

    def listen_success(self, port: Any) -> None:
        super().listen_success(port)
        self._ports.append(port)

    def listen_error(self, failure: Any) -> None:
        error = failure.value
        if isinstance(error, CannotListenError) and isinstance(error.socketError, OSError):
            self.fail(cannot_listen(error.interface, error.port, error.socketError))
        else:
            self.fail(failure.getErrorMessage())

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        if isinstance(protocol, StreamProtocol):
            scope["extensions"] = {TRANSPORT_EXTENSION: protocol.write_side}
            scope[_READER] = protocol.read_side.counting
        elif isinstance(protocol, request_body.BodyRequest) and protocol.large_body is not None:
            scope[_READER] = partial(request_body.BodyReader, protocol.large_body)
        return super().create_application(protocol, scope)

    def protocol_disconnected(self, protocol: Any) -> None:
        super().protocol_disconnected(protocol)
        if self._is_ending and not self._open():
            self._none_open.set()
        if self._is_draining and not self.streams:
            self._no_streams.set()

    def kill_all_applications(self) -> Any:
        """Return what Twisted waits for before it shuts down."""
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._end(), loop=twisted_loop))

    def hands_over(self, request: Any) -> bool:
        """Whether the request was given to another process; if so, nothing is left to do."""
        if self._hand_over is None or request.is_placed or not handover.is_stream(request):
            return False
        descriptor = handover.descriptor_of(request)
        if descriptor is None or not self._hand_over(
            descriptor, handover.head_of(request), handover.session_of(request)
        ):
            return False
        handover.release(request)
        return True

    def adopt(self, descriptor: int, head: bytes, on_answered: Callable[[], None]) -> None:
        """Serve a connection that another process handed over."""
        handover.adopt(
            descriptor,
            head,
            on_answered,
            factory=self.http_factory,
            request_class=request_body.AdoptedRequest,
        )

    def _before_the_first_connection(self) -> None:
        # Daphne throws away what Twisted has to say, unhandled exceptions included.
        globalLogPublisher.addObserver(STDLibLogObserver("twisted"))
        request_body.use_for(self.http_factory)
        self.ws_factory.protocol = StreamProtocol
        self.ws_factory.setProtocolOptions(failByDrop=False, allowNullOrigin=True)
        if self._listening is not None:
            shared = self._listening
            self.listen_success(
                reactor.adoptStreamPort(shared.fileno(), shared.family, self.http_factory)
            )

    def _begin(self) -> None:
        async def begin() -> None:
            try:
                await self._on_started()
            except Exception as error:
                log.debug("start failed", exc_info=True)
                self.fail(str(error) or repr(error))

        self._spawn(begin())

    def _open(self) -> list[Any]:
        return [p for p, details in self.connections.items() if "disconnected" not in details]

    async def _end(self) -> None:
        """Stop listening, say goodbye, give everybody a moment, cancel the rest."""
        for port in self._ports:
            await defer.maybeDeferred(port.stopListening).asFuture(twisted_loop)
        await self._attempt(self._on_closing)
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
        if running:
            await asyncio.wait(running, timeout=CANCEL_S)
        await self._attempt(self._on_ended)

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
        if left:
            twisted_loop.run_until_complete(asyncio.wait(left, timeout=CANCEL_S))
        twisted_loop.run_until_complete(twisted_loop.shutdown_asyncgens())
        twisted_loop.run_until_complete(twisted_loop.shutdown_default_executor())
        twisted_loop.close()
