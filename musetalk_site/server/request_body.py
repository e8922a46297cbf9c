"""Request bodies that do not fit into memory, and those that are refused.

The stock server receives all of a body before it calls the application, parses a form in the event
loop, with several times its size in memory, for nothing, and then puts all of it into a queue in
memory at once. Here a body that is too large, or that is not accepted from its sender, is refused
as soon as that is known: by its announced length, or else when it grows too long. A large one that
is accepted stays in the temporary file that Twisted made, and is read from there piece by piece, in
a thread, as fast as the application takes it: an upload stalls no stream.
"""

import asyncio
import io
import json
import logging
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any

from channels.db import database_sync_to_async
from daphne.http_protocol import WebRequest
from twisted.internet import reactor

from avatars_app.uploads.body_limits import SMALL_BODY_BYTES, BodyRefused, has_room
from musetalk_site.server.slow_requests import TimedChannel

log = logging.getLogger(__name__)

KEPT_IN_MEMORY_BYTES = SMALL_BODY_BYTES
LOOK_EVERY_BYTES = 8_000_000
"""So often the room on the disk is looked at while a body grows."""
PIECE_BYTES = 256 * 1024
# Threads of their own: nothing waits for them at the end of the process.
_threads = ThreadPoolExecutor(4, thread_name_prefix="upload-admission")
LINGER_S = 3.0
"""How long a client that still sends has to read the refusal."""


class BodyRequest(WebRequest):  # type: ignore[misc]  # daphne has no types
    """A request whose body has a limit, and may be larger than memory."""

    is_placed = False
    """A stream on this connection is served here, whatever its session."""
    large_body: Any = None
    """The temporary file, once all of it is there; then `content` is empty."""
    content: Any
    _received_bytes = 0
    _is_refused = False
    _is_admitted = False
    _admission: asyncio.Task[None] | None = None
    """Decides whether the body is read; until then the connection is not."""
    _is_whole = False
    """All of the body came before that was decided."""
    _is_encouraged = False
    """The client waits for ``100 Continue``."""
    _next_look_bytes = 0
    """Of the body, until the disk is looked at again."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, parsePOSTFormSubmission=False, **kwargs)

    def gotLength(self, length: int | None) -> None:  # noqa: N802  named by Twisted
        super().gotLength(length)
        if length is None:
            return
        if length > self._limit_bytes:
            self._refuse_size()
        elif length > KEPT_IN_MEMORY_BYTES:
            self._admit(length)

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802  named by Twisted
        if self._is_refused:
            return
        self._received_bytes += len(data)
        if self._received_bytes > self._limit_bytes:
            self._refuse_size()
            return
        if self._received_bytes > KEPT_IN_MEMORY_BYTES and not self._may_grow():
            return
        try:
            super().handleContentChunk(data)
        except OSError:
            self._refuse_for_want_of_room()

    def process(self) -> Any:
        if self._admission is not None:
            self._is_whole = True
            return None
        if self._is_refused or self.server.hands_over(self):
            return None
        if self._received_bytes and not self.requestHeaders.hasHeader(b"content-length"):
            # It came in chunks; what reads the form wants to know.
            self.requestHeaders.setRawHeaders(b"content-length", [b"%d" % self._received_bytes])
        if self._received_bytes > KEPT_IN_MEMORY_BYTES:
            self.large_body, self.content = self.content, io.BytesIO()
        return super().process()

    def connectionLost(self, reason: Any) -> None:  # noqa: N802  named by Twisted
        super().connectionLost(reason)
        if self._admission is not None:
            self._admission.cancel()
        if self.large_body is not None:
            self.large_body.close()

    @property
    def _limit_bytes(self) -> int:
        return int(self.server.max_body_bytes)

    def _admit(self, size_bytes: int) -> None:
        """Find out whether the sender may send so large a body here."""
        headers = {
            name.decode("latin-1").lower(): b",".join(values).decode("latin-1")
            for name, values in self.requestHeaders.getAllRawHeaders()
        }
        version = self.channel._version.decode("latin-1").removeprefix("HTTP/")
        peer = getattr(self.channel.transport.getPeer(), "host", "")
        try:
            ask = self.server.check_large_body(
                self.channel._command.decode("latin-1"),
                self.channel._path.decode("latin-1"),
                headers,
                peer,
                version,
            )
        except BodyRefused as refused:
            self._refuse(refused.status, refused.detail)
            return
        if not has_room(Path(tempfile.gettempdir()), size_bytes):
            self._refuse_for_want_of_room()
        elif ask is None:
            self._is_admitted = True
        else:
            channel = self.channel
            channel.transport.pauseProducing()
            proceed, channel._send100Continue = channel._send100Continue, self._wait_to_proceed
            self._admission = asyncio.ensure_future(self._ask(ask, proceed))

    def _wait_to_proceed(self) -> None:
        """Instead of encouraging a client that may be refused."""
        self._is_encouraged = True

    async def _ask(self, ask: Callable[[], None], proceed: Callable[[], None]) -> None:
        try:
            await database_sync_to_async(ask, thread_sensitive=False, executor=_threads)()
        except BodyRefused as refused:
            self._refuse(refused.status, refused.detail)
        except Exception:
            log.exception("a large body could not be decided on")
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "The server made a mistake.")
        else:
            self._is_admitted = True
            self.channel._send100Continue = proceed
            if self._is_encouraged:
                proceed()
        self._admission = None
        self.channel.transport.resumeProducing()
        if self._is_whole:
            self.process()

    def _may_grow(self) -> bool:
        """Whether more of a large body is stored; otherwise it is refused."""
        if not self._is_admitted and self._admission is None:
            self._admit(self._received_bytes)
        if self._received_bytes >= self._next_look_bytes:  # others may be filling the disk, too
            self._next_look_bytes = self._received_bytes + LOOK_EVERY_BYTES
            if not has_room(Path(tempfile.gettempdir()), LOOK_EVERY_BYTES):
                self._refuse_for_want_of_room()
        return not self._is_refused

    def _refuse_size(self) -> None:
        limit_mb = self._limit_bytes // 1_000_000
        self._refuse(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"More than {limit_mb} MB cannot be taken."
        )

    def _refuse_for_want_of_room(self) -> None:
        self._refuse(HTTPStatus.INSUFFICIENT_STORAGE, "The server has no room left for this.")

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answer now and listen no longer; what still comes is thrown away unread."""
        self._is_refused = True
        title = status.phrase
        about = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        body = json.dumps(about).encode()
        head = (
            f"HTTP/1.1 {status} {title}\r\nContent-Type: application/problem+json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n"
            "Access-Control-Allow-Origin: *\r\n\r\n"  # a page may know why it was refused
        )
        channel = self.channel
        channel.transport.write(head.encode() + body)
        channel.setTimeout(None)
        # Closing at once would reset the connection, and the answer could be lost with it.
        channel.dataReceived = _throw_away
        channel._send100Continue = _stay_silent
        reactor.callLater(LINGER_S, channel.loseConnection)


class AdoptedRequest(BodyRequest):
    """A request on a connection that another process handed over."""

    is_placed = True


def _throw_away(data: bytes) -> None:
    """Instead of a channel's `dataReceived`."""


def _stay_silent() -> None:
    """Instead of encouraging a client to send what was refused."""


def use_for(factory: Any) -> None:
    """Let this `daphne.http_protocol.HTTPFactory` make connections and requests of ours."""
    factory.protocol = TimedChannel
    build = factory.buildProtocol

    def build_protocol(address: Any) -> Any:
        protocol = build(address)
        protocol.requestFactory = BodyRequest
        return protocol

    factory.buildProtocol = build_protocol


class BodyReader:
    """ASGI's ``receive`` for a request whose body is in a file."""

    def __init__(self, file: Any, receive: Any) -> None:
        self._file = file
        self._receive = receive
        self._is_read = False

    async def __call__(self) -> dict[str, Any]:
        if self._is_read:
            return await self._after_the_body()
        try:
            piece = await asyncio.to_thread(self._file.read, PIECE_BYTES)
        except ValueError:  # closed, because the client is gone
            return {"type": "http.disconnect"}
        self._is_read = len(piece) < PIECE_BYTES
        if self._is_read:
            self._file.close()
        return {"type": "http.request", "body": piece, "more_body": not self._is_read}

    async def _after_the_body(self) -> dict[str, Any]:
        while True:
            message: dict[str, Any] = await self._receive()
            if message["type"] != "http.request":  # the server's own account of the body: none
                return message
