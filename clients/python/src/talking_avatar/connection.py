"""The way to a session: opened, lost and found again.

One task reads the socket as long as the client lives, so utterances end and pings are answered
whether a program takes the frames or not.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from talking_avatar.close_codes import in_words
from talking_avatar.errors import AvatarError, ConnectionLost, SessionRefused
from talking_avatar.events import Closed, Event, Reopened, Resumed, ServerError
from talking_avatar.liveness import Liveness
from talking_avatar.opening import open_socket, stream_address
from talking_avatar.session import SessionState
from talking_avatar.wire import BINARY_SUBPROTOCOL

FAREWELL_S = 2.0
SILENCE_S = 8.0
"""A connection from which nothing comes for so long is lost."""
FIRST_RETRY_S, MAX_RETRY_S = 0.1, 5.0
FINAL_CODES = frozenset({1000, 1001, 4401, 4404, 4408, 4409, 4429})
"""Close codes after which a session does not continue."""


class Connection:
    """A session's connection, which is replaced by another one when it is lost."""

    def __init__(
        self,
        state: SessionState,
        server: str,
        *,
        headers: Mapping[str, str],
        is_binary: bool,
        reconnects: bool,
        open_within_s: float,
        on_event: Callable[[Event], None],
        on_resumed: Callable[[], list[str]],
        on_forgotten: Callable[[list[str]], None],
        on_end: Callable[[Closed], None],
    ) -> None:
        """Prepare to connect.

        Args:
            state: The session.
            server: ``ws://HOST:PORT``, or with wss.
            headers: Of the request.
            is_binary: Use binary frames where the server offers them.
            reconnects: Resume the session, or open another, when the connection is lost.
            open_within_s: Seconds that opening may take.
            on_event: Called with everything that comes, but `Closed`.
            on_resumed: Called when a session is resumed; returns what to send before its speech.
            on_forgotten: Called with the utterances that are lost with a session.
            on_end: Called once, when the session is over.
        """
        self.init_sent_s = 0.0
        """When the newest INIT was sent, on the monotonic clock."""
        self._state = state
        self._server = server
        self._headers = headers
        self._is_binary = is_binary
        self._reconnects = reconnects
        self._open_within_s = open_within_s
        self._on_event = on_event
        self._on_resumed = on_resumed
        self._on_forgotten = on_forgotten
        self._on_end = on_end
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._is_connected = asyncio.Event()
        self._end: Closed | None = None
        self._is_closing = False
        self.has_session = False
        """Whether the server has a session of this client, or keeps the one that was lost."""
        self._count = 0
        """Connections so far."""

    @property
    def end(self) -> Closed | None:
        """How the session ended; None while it lasts."""
        return self._end

    async def open(self) -> None:
        """Connect, open the session, and read from now on.

        Raises:
            ServerUnreachable: Nothing answers there.
            SessionRefused: The server opens no session.
            ConnectionLost: The server ended the connection instead.
        """
        await self._open()
        self._reader = asyncio.create_task(self._read(), name="avatar reader")

    async def close(self) -> None:
        """Send CLOSE, and wait a moment for the server to end the connection."""
        self._is_closing = True
        reader = self._reader
        if reader is not None:
            with contextlib.suppress(ConnectionClosed, TimeoutError, AvatarError):
                async with asyncio.timeout(FAREWELL_S):
                    await self.send(self._state.simple("CLOSE"))
                    await asyncio.wait({reader})
            reader.cancel()
            await asyncio.wait({reader})
        if self._socket is not None:
            await self._socket.close()
        self._finish(Closed("closed", self._close_code))
        if reader is not None and not reader.cancelled() and (fault := reader.exception()):
            raise fault

    def abort(self) -> None:
        """End the connection without CLOSE, as a network does that fails."""
        if self._socket is not None:
            self._socket.transport.abort()

    @property
    def _close_code(self) -> int | None:
        return self._socket.close_code if self._socket is not None else None

    # Opening.

    async def _open(self) -> bool:
        """Connect and send INIT; returns whether the session was resumed."""
        state = self._state
        is_known = state.resume_token is not None or state.watch_token is not None
        address = stream_address(
            self._server, state.user_id, state.session_id if is_known else None
        )
        socket = await open_socket(
            address,
            headers=self._headers,
            is_binary=self._is_binary,
            within_s=self._open_within_s,
        )
        state.is_binary = socket.subprotocol == BINARY_SUBPROTOCOL
        self._socket = socket
        try:
            async with asyncio.timeout(self._open_within_s):
                self.init_sent_s = time.monotonic()
                await socket.send(state.init())
                return await self._await_init(socket)
        except TimeoutError:
            await socket.close()
            raise ConnectionLost(
                f"The server at {address} took the connection but opened no session within "
                f"{self._open_within_s:g} s."
            ) from None
        except ConnectionClosed:
            raise ConnectionLost(
                f"The server at {address} opened no session: {in_words(socket.close_code)}."
            ) from None
        except BaseException:
            await socket.close()
            raise

    async def _await_init(self, socket: ClientConnection) -> bool:
        while True:
            type_, data, event = self._state.text(await socket.recv(decode=True), time.monotonic())
            if type_ == "INIT_SUCCESS":
                again = self._state.opened(data)
                self._count += 1
                self.has_session = True
                first = self._on_resumed() if data.get("resumed") else []
                for message in [*first, *again]:
                    await socket.send(message)
                if data.get("resumed"):
                    for finished in self._state.take_settled():
                        self._on_event(finished)
                self._is_connected.set()
                return bool(data.get("resumed"))
            if isinstance(event, ServerError) and event.details.get("reason") != "no_worker":
                raise SessionRefused(event.code, event.message, event.details)

    # Reading.

    async def _read(self) -> None:
        """Read until the session is over, over lost connections."""
        closed = Closed("connection lost")
        try:
            while True:
                closed = await self._read_connection()
                is_final = closed.code in FINAL_CODES
                if is_final or self._is_closing or not self._reconnects:
                    break
                await self._reconnect()
        except AvatarError as error:
            closed = Closed("connection lost", self._close_code, error)
        finally:
            self._finish(closed)

    async def _read_connection(self) -> Closed:
        """Read until the connection ends; returns how it did."""
        socket = self._socket
        assert socket is not None, "it is connected"
        reason = "connection lost"
        liveness = Liveness(socket, SILENCE_S)
        watching = asyncio.create_task(liveness.watch(), name="avatar liveness")
        try:
            async for message in socket:
                received_s = time.monotonic()
                liveness.heard()
                if isinstance(message, bytes):
                    event: Event | None = self._state.binary(message, received_s)
                else:
                    type_, _, event = self._state.text(message, received_s)
                    if type_ == "PING":
                        await socket.send(self._state.simple("PONG"))
                if isinstance(event, Closed):
                    reason = event.reason
                elif event is not None:
                    self._on_event(event)
        except ConnectionClosed:
            pass
        finally:
            watching.cancel()
            self._is_connected.clear()
        return Closed(reason, socket.close_code)

    def _finish(self, closed: Closed) -> None:
        if self._end is None:
            self._end = closed
            self._on_end(closed)

    # Reconnecting.

    async def _reconnect(self) -> None:
        """Resume the session, or open another one."""
        loop = asyncio.get_running_loop()
        pause_s = FIRST_RETRY_S
        until_s = loop.time() + self._state.resume_window_s
        while self._state.resume_token is not None and loop.time() < until_s:
            try:
                if await self._open():
                    self._on_event(Resumed())
                    return
                break  # it was opened again
            except SessionRefused as refusal:
                if refusal.code in {"UNAUTHORIZED", "MODEL_NOT_FOUND"}:
                    raise
                retry_after_ms = refusal.details.get("retry_after_ms")
                if retry_after_ms is None:
                    break
                await asyncio.sleep(retry_after_ms / 1_000)
            except ConnectionLost:
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311
                pause_s = min(2 * pause_s, MAX_RETRY_S)
        await self._open_another(pause_s)

    async def _open_another(self, pause_s: float) -> None:
        self.has_session = False
        self._on_forgotten(self._state.forget())
        while True:
            try:
                await self._open()
            except SessionRefused as refusal:
                retry_after_ms = refusal.details.get("retry_after_ms")
                if retry_after_ms is None:
                    raise
                await asyncio.sleep(retry_after_ms / 1_000)
            except ConnectionLost:
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311
                pause_s = min(2 * pause_s, MAX_RETRY_S)
            else:
                self._on_event(Reopened() if self._state.watch_token is None else Resumed())
                return

    # Sending.

    async def send(self, message: str | bytes) -> None:
        """Send now, or as soon as the connection is there again.

        Raises:
            ConnectionLost: The session is over.
        """
        while True:
            self.check_open()
            if not self._is_connected.is_set():
                await self._wait_for_connection()
                continue
            assert self._socket is not None, "it is connected"
            try:
                await self._socket.send(message)
            except ConnectionClosed:
                self._is_connected.clear()
            else:
                return

    async def send_speech(
        self, message: str | bytes, *, unless: "asyncio.Future[Any] | None" = None
    ) -> None:
        """Send speech or its end; if the connection is lost, the next one sends it again.

        Args:
            message: What to send.
            unless: Once this is done it need not be sent any more.

        Raises:
            ConnectionLost: The session is over.
        """
        self.check_open()
        count = self._count
        if not self._is_connected.is_set():
            await self._wait_for_connection(unless)
        if count != self._count or (unless is not None and unless.done()):
            return
        assert self._socket is not None, "it is connected"
        with contextlib.suppress(ConnectionClosed):
            await self._socket.send(message)

    async def _wait_for_connection(self, unless: "asyncio.Future[Any] | None" = None) -> None:
        waiting = asyncio.create_task(self._is_connected.wait())
        assert self._reader is not None, "it was opened"
        ends = {waiting, self._reader} | ({unless} if unless is not None else set())
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        self.check_open()

    def check_open(self) -> None:
        """Raise ConnectionLost if the session is over, or was not opened."""
        if self._end is not None:
            code = "" if self._end.code is None else f" (code {self._end.code})"
            raise ConnectionLost(f"There is no session: {self._end.reason}{code}.")
        if self._reader is None:
            raise ConnectionLost("Not connected: use `async with AvatarClient(...)`.")
