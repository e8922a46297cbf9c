"""One WebSocket to one avatar.

The object is a context manager and an asynchronous iterator. Entering it connects and opens the
session; leaving it takes leave. Events are stamped when they are taken from the socket, so whoever
measures must keep iterating; whoever does not iterate makes the server drop pictures, which is its
way with slow clients, and leaves its pings unanswered.
"""

import asyncio
import contextlib
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from inference.timing import BYTES_PER_SAMPLE
from streaming.client import wire
from streaming.client.errors import (
    ConnectionLost,
    ProtocolBroken,
    ServerUnreachable,
    SessionRefused,
)
from streaming.client.events import Closing, Event, Ping, Ready, ServerError
from streaming.client.sound import SentSpeech, chunks_of, sending_time_s

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
MAX_CHUNK_BYTES = 32_000
"""A second of speech, which every version takes in one message."""
GOODBYE_S = 2.0


def stream_address(server: str, user_id: str) -> str:
    """``ws://host:port`` and a user's name → the address of the stream.

    ServerUnreachable if ``server`` is no address at all.
    """
    parts = urlsplit(server if "://" in server else f"ws://{server}")
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss") or not parts.hostname:
        raise ServerUnreachable(f"{server!r} is no server's address: write ws://HOST:PORT.")
    path = parts.path.rstrip("/")
    return f"{scheme}://{parts.netloc}{path}/musetalk/v1/ws/{quote(user_id, safe='')}"


class AvatarClient:
    """A session with one avatar.

    ``session_id`` is proposed to the server (a fresh UUID unless given). ``sent`` knows when which
    sample was sent. Raises ServerUnreachable, SessionRefused on entering, ConnectionLost from any
    sending method once the connection is gone.
    """

    def __init__(
        self,
        server: str,
        user_id: str,
        *,
        session_id: str | None = None,
        auth_token: str | None = None,
        open_timeout_s: float = 10.0,
    ) -> None:
        self.address = stream_address(server, user_id)
        self.user_id = user_id
        self.session_id = session_id or str(uuid.uuid4())
        self.sent = SentSpeech()
        self.ready: Ready | None = None
        self.init_sent_s = 0.0
        self._auth_token = auth_token
        self._open_timeout_s = open_timeout_s
        self._socket: ClientConnection | None = None
        self._early: deque[Event] = deque()

    # ---- opening and closing

    async def __aenter__(self) -> Self:
        await self._connect()
        try:
            async with asyncio.timeout(self._open_timeout_s):
                await self._open_session()
        except TimeoutError:
            await self._abandon()
            raise ServerUnreachable(
                f"The server at {self.address} took the connection but did not open a session "
                f"within {self._open_timeout_s:g} s."
            ) from None
        except BaseException:
            await self._abandon()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(ConnectionLost):
            await self.close()

    async def close(self) -> None:
        """Take leave: CLOSE, and wait a moment for the server to end the connection.

        Pictures still on their way are thrown away. Harmless when the connection is gone already.
        """
        socket = self._socket
        if socket is None:
            return
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await socket.send(wire.close(self.session_id))
                async for _ in socket:
                    pass
        await socket.close()

    def vanish(self) -> None:
        """End the connection without a word, as a machine that loses its network; for tests."""
        if self._socket is not None:
            self._socket.transport.abort()

    @property
    def close_code(self) -> int | None:
        """The WebSocket's close code; None while the connection is open."""
        return self._socket.close_code if self._socket else None

    # ---- speaking

    async def send_audio(self, pcm: bytes, *, clip: str | None = None) -> None:
        """Queue speech: s16le, 16 kHz, mono, any even number of bytes, sent at once.

        ``clip``: the clip to run under this utterance. What no single message may carry is cut.
        """
        if len(pcm) % BYTES_PER_SAMPLE:
            raise ValueError(f"{len(pcm)} bytes are no whole number of 16-bit samples")
        for start in range(0, len(pcm), MAX_CHUNK_BYTES):
            part = pcm[start : start + MAX_CHUNK_BYTES]
            await self._send(wire.generate(self.session_id, part, clip))
            self.sent.add(len(part) // BYTES_PER_SAMPLE, time.monotonic())

    async def speak(self, pcm: bytes, *, ahead_s: float = 0.0, clip: str | None = None) -> None:
        """Send a whole utterance in chunks of 40 ms as a microphone would, by absolute deadlines.

        ``ahead_s``: how far sending may run ahead of real time; a voice that is synthesised faster
        than it is spoken arrives so. Returns when the last chunk was sent.
        """
        started_s = time.monotonic()
        for index, chunk in enumerate(chunks_of(pcm)):
            wait_s = sending_time_s(started_s, index, ahead_s) - time.monotonic()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            await self.send_audio(chunk, clip=clip)

    async def interrupt(self) -> None:
        """Barge in: drop all speech that is queued. `Interrupted` answers."""
        await self._send(wire.interrupt(self.session_id))

    # ---- the picture

    async def change_state(self, state: str, clip: str | None = None) -> None:
        """Ask for another base clip. `StateChanged` or `ServerError` answers."""
        await self._send(wire.state_change(self.session_id, state, clip))

    async def start_action(self, index: int, *, is_v1_0: bool = False) -> None:
        """Insert an action once. `ActionTriggered` or `ServerError` answers.

        Asked for in the form of protocol 1.0, its frames say how far it has come.
        """
        await self._send(wire.action(self.session_id, index, is_v1_0=is_v1_0))

    # ---- listening

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Events in order, until the connection ends. Pings are answered, not reported."""
        while self._early:
            yield self._early.popleft()
        while (event := await self._receive()) is not None:
            if not isinstance(event, Ping):
                yield event

    async def _receive(self) -> Event | None:
        socket = self._connected()
        try:
            text = await socket.recv(decode=False)
            event = wire.parse(text, time.monotonic())
            if isinstance(event, Ping):
                await socket.send(wire.pong(self.session_id))
        except ConnectionClosed:
            return None
        return event

    async def _send(self, text: str) -> None:
        try:
            await self._connected().send(text)
        except ConnectionClosed:
            raise ConnectionLost(
                f"The connection to {self.address} is closed (code {self.close_code}).",
                self.close_code,
            ) from None

    def _connected(self) -> ClientConnection:
        if self._socket is None:
            raise ConnectionLost("Not connected: use the client as `async with AvatarClient(...)`.")
        return self._socket

    # ---- how a session begins

    async def _connect(self) -> None:
        try:
            self._socket = await connect(
                self.address,
                compression=None,  # coded pictures do not shrink, and it costs a millisecond each
                max_size=MAX_MESSAGE_BYTES,
                open_timeout=self._open_timeout_s,
                # Pictures come 25 times a second; a silent connection shows soon enough.
                ping_interval=None,
                proxy=None,
            )
        except InvalidStatus as refusal:
            raise SessionRefused(
                f"The server refused {self.address} (HTTP {refusal.response.status_code}): a "
                "user's name has 1 to 64 letters, digits, hyphens and underscores."
            ) from None
        except (InvalidHandshake, InvalidURI, EOFError) as error:
            raise ServerUnreachable(
                f"What answers at {self.address} does not speak WebSocket: {error}"
            ) from None
        except TimeoutError:
            plain = " A server without TLS is asked by ws://, not wss://."
            raise ServerUnreachable(
                f"No answer from {self.address} within {self._open_timeout_s:g} s."
                f"{plain if self.address.startswith('wss:') else ''}"
            ) from None
        except OSError as error:
            raise ServerUnreachable(
                f"Nobody answers at {self.address}: is the server running? "
                f"({error.strerror or error})"
            ) from None

    async def _open_session(self) -> None:
        self.init_sent_s = time.monotonic()
        await self._send(wire.init(self.session_id, self.user_id, self._auth_token))
        refusal: ServerError | None = None
        while (event := await self._receive()) is not None:
            match event:
                case Ready():
                    self.ready = event
                    self.session_id = event.session_id or self.session_id
                    return
                case ServerError():
                    refusal = event
                    self._early.append(event)
                case Closing() | Ping():
                    pass
                case _:
                    raise ProtocolBroken(f"The server sent {type(event).__name__} before Ready.")
        raise SessionRefused(
            f"The server refused the session: {refusal}"
            if refusal
            else f"The server ended the connection (code {self.close_code}) instead of a session.",
            refusal.code if refusal else None,
            self.close_code,
        )

    async def _abandon(self) -> None:
        if self._socket is not None:
            await self._socket.close()
