"""The connection to an avatar: opened, lost and found again.

One task reads the socket as long as the client lives, so utterances end and pings are answered
whether anybody looks at the frames or not. Frames wait for `AvatarClient.events` in a queue of ten
seconds; a program that does not take them in time loses the oldest, up to the next keyframe.
"""

import asyncio
import contextlib
import random
import uuid
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from talking_avatar.events import (
    AvatarError,
    Closed,
    ConnectionLost,
    Event,
    Frame,
    Interrupted,
    Reopened,
    Resumed,
    ServerError,
    SessionRefused,
    SpeechFinished,
    SpeechRefused,
    SpeechStarted,
)
from talking_avatar.session import BINARY_SUBPROTOCOL, JSON_SUBPROTOCOL, SessionState
from talking_avatar.utterance import Utterance

OPEN_WITHIN_S = 10.0
FAREWELL_S = 2.0
CHUNK_S = 0.2
AHEAD_MS = 10_000
"""How far sending runs ahead of what was shown; the server keeps a minute."""
MAX_EVENTS = 250
FIRST_RETRY_S, MAX_RETRY_S = 0.1, 5.0
FINAL_CODES = frozenset({1000, 1001, 4401, 4404, 4408, 4409, 4429})
"""Close codes after which a session does not continue."""

Audio = bytes | bytearray | memoryview | Any
"""s16le, or an array of int16."""


def stream_address(server: str, user_id: str, session_id: str | None = None) -> str:
    """The address of a user's stream.

    Args:
        server: ``ws://HOST:PORT``, or with wss, http or https; a path before the stream's is kept.
        user_id: Whose avatar.
        session_id: The session to continue with, or to watch.
    """
    parts = urlsplit(server if "://" in server else f"ws://{server}")
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss") or not parts.netloc:
        raise ValueError(f"{server!r} is no server's address: write ws://HOST:PORT.")
    query = "" if session_id is None else f"?session={session_id}"
    path = parts.path.rstrip("/")
    return f"{scheme}://{parts.netloc}{path}/musetalk/v1/ws/{quote(user_id, safe='')}{query}"


class AvatarClient:
    """A session with one avatar, as an async context manager."""

    def __init__(
        self,
        server: str,
        user_id: str,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        receive: Iterable[str] | None = None,
        late_audio: str | None = None,
        allow_watchers: bool = False,
        is_binary: bool = True,
        reconnects: bool = True,
    ) -> None:
        """Prepare to connect.

        Args:
            server: ``ws://HOST:PORT``, or with wss.
            user_id: Whose avatar.
            token: An API key or a token, where the server asks for one.
            headers: Of the request, for proxies before the server.
            receive: Of ``video``, ``audio``, ``events``; a back end that only speaks leaves
                ``video`` out.
            late_audio: ``drop`` for live microphones: after a gap late sound is skipped.
            allow_watchers: Ask for `watch_token`, by which others watch.
            is_binary: Use binary frames where the server offers them.
            reconnects: Resume the session, or open another, when the connection is lost.
        """
        self._server = server
        self._headers = dict(headers or {})
        self._is_binary = is_binary
        self._reconnects = reconnects
        self._state = SessionState(
            user_id,
            auth_token=token,
            receive=None if receive is None else tuple(receive),
            late_audio=late_audio,
            allow_watchers=allow_watchers,
        )
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._utterances: dict[str, Utterance] = {}
        self._events: deque[Event] = deque()
        self._has_events = asyncio.Event()
        self._is_observed = False
        self._skips_to_keyframe = False
        self._progress = asyncio.Event()
        self._is_connected = asyncio.Event()
        self._interrupts: deque[asyncio.Future[int]] = deque()
        self._end: Closed | None = None
        self._is_closing = False
        self._connections = 0
        self._resumed_audio: list[str | bytes] = []

    @classmethod
    def watch(
        cls, server: str, user_id: str, session_id: str, watch_token: str, **options: Any
    ) -> "AvatarClient":
        """A client that sees and hears another one's session.

        Args:
            server: As for the owner.
            user_id: The owner's.
            session_id: The owner's.
            watch_token: The owner's `watch_token`.
            options: As for `AvatarClient`.
        """
        client = cls(server, user_id, **{"reconnects": False, **options})
        client._state.session_id = session_id
        client._state.watch_token = watch_token
        return client

    @property
    def session_id(self) -> str:
        """Of the session; another one after `Reopened`."""
        return self._state.session_id

    @property
    def watch_token(self) -> str | None:
        """Lets others watch the session; None if that was not asked for, or is not offered."""
        return self._state.offered_watch_token

    async def __aenter__(self) -> Self:
        await self._open(names_session=self._state.watch_token is not None)
        self._reader = asyncio.create_task(self._read(), name="avatar reader")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Take leave of the server."""
        self._is_closing = True
        if self._reader is not None and not self._reader.done():
            with contextlib.suppress(ConnectionClosed, TimeoutError, AvatarError):
                async with asyncio.timeout(FAREWELL_S):
                    await self._send(self._state.simple("CLOSE"))
                    await asyncio.wait({self._reader})
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        if self._socket is not None:
            await self._socket.close()
        self._finish(ConnectionLost("The client was closed."))

    # Speaking.

    async def speak(
        self, audio: Audio, *, sample_rate: int = 16_000, channels: int = 1
    ) -> Utterance:
        """Say something.

        Args:
            audio: s16le bytes, an array of int16, or an (async) iterator of such pieces, as a
                synthesizer gives them. Sending runs ahead of the picture by up to ten seconds.
            sample_rate: 8000, 16000, 22050, 24000, 32000, 44100 or 48000 Hz.
            channels: 1, or 2, which are mixed down.

        Returns:
            The utterance, once all of it was sent; await it to know when it was shown.

        Raises:
            SpeechRefused: The server has no place to speak, or the format is not taken.
            ConnectionLost: The session is gone.
        """
        utterance = Utterance(uuid.uuid4().hex)
        self._utterances[utterance.id] = utterance
        self._state.begin_utterance(utterance.id, sample_rate, channels)
        size = max(1, int(sample_rate * CHUNK_S)) * channels * 2
        async for chunk in _chunks(audio, size, channels):
            await self._wait_for_room(utterance)
            if utterance.is_over:
                await utterance  # raises what refused it
                return utterance
            message = self._state.speech(utterance.id, chunk)
            await self._send_speech(message)
        ending = self._state.end_utterance(utterance.id)
        if ending is not None:
            await self._send_speech(ending)
        return utterance

    async def _wait_for_room(self, utterance: Utterance) -> None:
        while self._state.unshown_ms > AHEAD_MS and not utterance.is_over and self._end is None:
            self._progress.clear()
            await self._progress.wait()
        self._check_open()

    async def interrupt(self) -> int:
        """Drop all speech that was not shown.

        Returns:
            How much was dropped, ms.
        """
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._interrupts.append(answer)
        await self._send_speech(self._state.interrupt())
        return await answer

    # The picture.

    async def change_state(self, state: str, clip: str | None = None) -> None:
        """Change the base clip: ``idle``, ``speaking`` or ``action``, and a clip's name or None."""
        await self._send(self._state.change_state(state, clip))

    async def start_action(self, index: int) -> None:
        """Insert an action clip once."""
        await self._send(self._state.simple("ACTION", action_index=index))

    async def user_speaking(self, *, is_active: bool) -> None:
        """The user began or stopped speaking: the idle avatar listens."""
        await self._send(self._state.simple("USER_SPEAKING", active=is_active))

    # What comes.

    async def events(self) -> AsyncIterator[Event]:
        """Everything that comes, from now on, until the session is over."""
        self._is_observed = True
        while True:
            while self._events:
                yield self._events.popleft()
            if self._end is not None:
                return
            self._has_events.clear()
            await self._has_events.wait()

    async def frames(self) -> AsyncIterator[Frame]:
        """The frames alone."""
        async for event in self.events():
            if isinstance(event, Frame):
                yield event

    def _publish(self, event: Event) -> None:
        if not self._is_observed:
            # The first frame that is read is a keyframe, at most a second old.
            if isinstance(event, Frame) and event.is_keyframe:
                self._events.clear()
            elif not self._events:
                return
        elif isinstance(event, Frame):
            if len(self._events) >= MAX_EVENTS:
                self._skips_to_keyframe = True
                self._events = deque(e for e in self._events if not isinstance(e, Frame))
            if self._skips_to_keyframe and not event.is_keyframe:
                return
            self._skips_to_keyframe = False
        self._events.append(event)
        self._has_events.set()

    # The connection.

    async def _open(self, *, names_session: bool = False) -> bool:
        """Connect and send INIT; returns whether the session was resumed."""
        address = stream_address(
            self._server, self._state.user_id, self.session_id if names_session else None
        )
        subprotocols = [JSON_SUBPROTOCOL]
        if self._is_binary:
            subprotocols.insert(0, BINARY_SUBPROTOCOL)
        try:
            socket = await connect(
                address,
                subprotocols=subprotocols,  # type: ignore[arg-type]  # texts
                additional_headers=self._headers,
                compression=None,
                max_size=None,
                open_timeout=OPEN_WITHIN_S,
                ping_interval=None,  # frames come 25 times a second, and the server pings
            )
        except InvalidStatus as refusal:
            raise SessionRefused(
                "HTTP", f"{address} was refused ({refusal.response.status_code}).", {}
            ) from None
        except (OSError, InvalidHandshake, TimeoutError, EOFError) as error:
            raise ConnectionLost(f"{address} cannot be reached: {error or repr(error)}") from None
        self._state.is_binary = socket.subprotocol == BINARY_SUBPROTOCOL
        self._socket = socket
        try:
            async with asyncio.timeout(OPEN_WITHIN_S):
                await socket.send(self._state.init())
                return await self._await_init(socket)
        except BaseException as error:
            await socket.close()
            if isinstance(error, ConnectionClosed | TimeoutError):
                raise ConnectionLost(f"{address} opened no session: {error!r}") from None
            raise

    async def _await_init(self, socket: ClientConnection) -> bool:
        while True:
            type_, data, event = self._state.text(await socket.recv(decode=True))
            if type_ == "INIT_SUCCESS":
                again = self._state.opened(data)
                self._connections += 1
                if data.get("resumed"):
                    for _ in self._interrupts:  # their answers were lost, or they themselves
                        await socket.send(self._state.simple("INTERRUPT"))
                for message in again:
                    await socket.send(message)
                if data.get("resumed"):
                    for finished in self._state.take_settled():
                        self._react(finished)
                self._is_connected.set()
                return bool(data.get("resumed"))
            if isinstance(event, ServerError) and event.details.get("reason") != "no_worker":
                raise SessionRefused(event.code, event.message, event.details)

    async def _read(self) -> None:
        """Read until the session is over, over lost connections."""
        try:
            while True:
                await self._read_connection()
                if self._is_closing or not self._reconnects or self._end is not None:
                    break
                await self._reconnect()
        except AvatarError as error:
            self._finish(error)
        finally:
            self._finish(ConnectionLost("The session is over."))

    async def _read_connection(self) -> None:
        socket = self._socket
        assert socket is not None, "it is connected"
        ended: Closed | None = None
        try:
            async for message in socket:
                if isinstance(message, bytes):
                    event: Event | None = self._state.binary(message)
                else:
                    type_, _, event = self._state.text(message)
                    if type_ == "PING":
                        await socket.send(self._state.simple("PONG"))
                if isinstance(event, Closed):
                    ended = event
                elif event is not None:
                    self._react(event)
        except ConnectionClosed:
            pass
        finally:
            self._is_connected.clear()
        if socket.close_code in FINAL_CODES:
            self._end = ended or Closed("closed")
            self._publish(self._end)

    def _react(self, event: Event) -> None:
        match event:
            case SpeechStarted(utterance_id) if utterance := self._utterances.get(utterance_id):
                utterance.started.set()
            case SpeechFinished(utterance_id):
                if utterance := self._utterances.pop(utterance_id, None):
                    utterance.finish(event)
            case Interrupted(dropped_ms):
                if self._interrupts and not (answer := self._interrupts.popleft()).done():
                    answer.set_result(dropped_ms)
            case ServerError(details=details):
                self._refuse(event, details)
            case _:
                pass
        self._progress.set()
        self._publish(event)

    def _refuse(self, error: ServerError, details: Mapping[str, Any]) -> None:
        utterance = self._utterances.get(str(details.get("utterance_id")))
        if utterance is not None and details.get("reason") != "utterance_over":
            utterance.fail(SpeechRefused(error.message, details.get("retry_after_ms")))

    async def _reconnect(self) -> None:
        """Resume the session, or open another one."""
        loop = asyncio.get_running_loop()
        pause_s = FIRST_RETRY_S
        until_s = loop.time() + self._state.resume_window_s
        while self._state.resume_token is not None and loop.time() < until_s:
            try:
                if await self._open(names_session=True):
                    self._publish(Resumed())
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
        while self._interrupts:  # nothing is left to be dropped
            self._interrupts.popleft().set_result(0)
        for utterance_id in self._state.forget():
            if utterance := self._utterances.pop(utterance_id, None):
                utterance.fail(ConnectionLost("The session was lost, and what was said with it."))
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
                self._publish(Reopened())
                return

    async def _send(self, message: str | bytes) -> None:
        """Send now, or as soon as the connection is there again."""
        while True:
            self._check_open()
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

    async def _send_speech(self, message: str | bytes) -> None:
        """Send speech or its end; if the connection is lost, the resumption sends it again."""
        self._check_open()
        connection = self._connections
        if not self._is_connected.is_set():
            await self._wait_for_connection()
        if connection != self._connections:
            return  # the resumption sent it
        assert self._socket is not None, "it is connected"
        with contextlib.suppress(ConnectionClosed):
            await self._socket.send(message)

    async def _wait_for_connection(self) -> None:
        waiting = asyncio.create_task(self._is_connected.wait())
        assert self._reader is not None, "it was opened"
        await asyncio.wait({waiting, self._reader}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        self._check_open()

    def _check_open(self) -> None:
        if self._end is not None or self._reader is None or self._reader.done():
            reason = "the client was closed" if self._end is None else self._end.reason
            raise ConnectionLost(f"There is no session: {reason}.")

    def _finish(self, error: AvatarError) -> None:
        """The session is over: nothing waits any longer."""
        if self._end is None:
            self._end = Closed("connection lost")
            self._publish(self._end)
        for utterance in self._utterances.values():
            utterance.fail(error)
        self._utterances.clear()
        while self._interrupts:
            answer = self._interrupts.popleft()
            if not answer.done():
                answer.set_exception(error)
        self._progress.set()
        self._has_events.set()


async def _chunks(audio: Audio, size: int, channels: int) -> AsyncIterator[bytes]:
    """The pieces to send: whole samples of all channels, at most ``size`` bytes."""
    rest = b""
    async for piece in _pieces(audio):
        data = rest + piece
        whole = len(data) // (2 * channels) * (2 * channels)
        for at in range(0, whole, size):
            yield data[at : min(at + size, whole)]
        rest = data[whole:]
    if rest:
        raise ValueError(f"{len(rest)} bytes are left over: audio must be whole 16-bit samples.")


async def _pieces(audio: Audio) -> AsyncIterator[bytes]:
    if isinstance(audio, bytes | bytearray | memoryview) or hasattr(audio, "tobytes"):
        yield _bytes_of(audio)
    elif hasattr(audio, "__aiter__"):
        async for piece in audio:
            yield _bytes_of(piece)
    else:
        for piece in audio:
            yield _bytes_of(piece)


def _bytes_of(piece: Audio) -> bytes:
    dtype = getattr(piece, "dtype", None)
    if dtype is not None and str(dtype) not in {"int16", "<i2"}:
        raise ValueError(f"Arrays of audio must be int16, not {dtype}.")
    raw: Any = piece
    return bytes(raw) if dtype is None else bytes(raw.tobytes())
