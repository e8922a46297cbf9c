"""A session with an avatar: what a program does with it, and what comes back.

Frames wait for `AvatarClient.events` in a queue of ten seconds; utterances end and pings are
answered whether a program takes the frames or not.
"""

import asyncio
import contextlib
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from talking_avatar.audio import Audio, chunks, or_dry
from talking_avatar.connection import Connection
from talking_avatar.errors import AvatarError, ConnectionLost, SpeechRefused
from talking_avatar.event_queue import EventQueue
from talking_avatar.events import (
    Closed,
    Event,
    Frame,
    Interrupted,
    ServerError,
    SessionInfo,
    SpeechFinished,
    SpeechStarted,
)
from talking_avatar.opening import stream_address
from talking_avatar.session import FRAME_MS, SessionState
from talking_avatar.utterance import Utterance, take_note
from talking_avatar.watch_tokens import request_watch_token

OPEN_WITHIN_S = 10.0
CHUNK_S = 0.2
AHEAD_MS = 10_000
"""How far sending runs ahead of what was shown; the server keeps a minute."""


@dataclass(frozen=True, slots=True)
class _Interrupt:
    """An interrupt that was sent."""

    message: str
    answer: "asyncio.Future[int]"
    speaking: list[Utterance]
    """What was being said then."""
    parts: list[str]
    """What the server had not said to be over."""


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
        open_within_s: float = OPEN_WITHIN_S,
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
            open_within_s: Seconds that connecting may take, and that opening the session may.
        """
        self._server = server
        self._headers = dict(headers or {})
        self._state = SessionState(
            user_id,
            auth_token=token,
            receive=None if receive is None else tuple(receive),
            late_audio=late_audio,
            allow_watchers=allow_watchers,
        )
        self._connection = Connection(
            self._state,
            server,
            headers=self._headers,
            is_binary=is_binary,
            reconnects=reconnects,
            open_within_s=open_within_s,
            on_event=self._react,
            on_resumed=self._interrupt_again,
            on_forgotten=self._lose,
            on_end=self._finish,
        )
        self._queue = EventQueue()
        self._parts: dict[str, Utterance] = {}
        """Whose parts the utterances of the wire are, by their ids; those that are not over."""
        self._speaking: list[Utterance] = []
        """Those that are being sent."""
        self._interrupts: deque[_Interrupt] = deque()
        """Those that the server has not answered."""
        self._progress = asyncio.Event()

    @classmethod
    def watch(
        cls, server: str, user_id: str, session_id: str, watch_token: str, **options: Any
    ) -> "AvatarClient":
        """Return a client that sees and hears another one's session.

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
    def address(self) -> str:
        """Of the stream.

        Raises:
            ValueError: The server's address is none.
        """
        return stream_address(self._server, self._state.user_id)

    @property
    def info(self) -> SessionInfo:
        """The avatar's clips, the engine, how the pictures are coded, and limits.

        Raises:
            ConnectionLost: No session was opened yet.
        """
        if self._state.info is None:
            raise ConnectionLost("Not connected: use `async with AvatarClient(...)`.")
        return self._state.info

    @property
    def watch_token(self) -> str | None:
        """Lets others watch the session; None if that was not asked for, or is not offered."""
        return self._state.offered_watch_token

    async def new_watch_token(self) -> str:
        """Another token by which others watch, from a server that asks for credentials.

        A token admits for an hour; a session that lasts longer needs another.

        Raises:
            SessionRefused: The server gives none; says why.
            ServerUnreachable: Nothing answers there.
        """
        return await request_watch_token(
            self._server,
            self.session_id,
            token=self._state.auth_token,
            headers=self._headers,
        )

    @property
    def unshown_ms(self) -> int:
        """Speech that was sent and not shown."""
        return self._state.unshown_ms(time.monotonic())

    @property
    def init_sent_s(self) -> float:
        """When the session was asked for, on the monotonic clock of `Frame.received_s`."""
        return self._connection.init_sent_s

    @property
    def closed(self) -> Closed | None:
        """How the session ended; None while it lasts."""
        return self._connection.end

    async def __aenter__(self) -> Self:
        await self._connection.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the session, and the connection."""
        await self._connection.close()

    def abort(self) -> None:
        """End the connection without CLOSE, as a network does that fails.

        A client that reconnects does so; a test of yours can see what that does to a program.
        """
        self._connection.abort()

    # Speaking.

    async def speak(
        self,
        audio: Audio,
        *,
        sample_rate: int = 16_000,
        channels: int = 1,
        clip: str | None = None,
    ) -> Utterance:
        """Say something.

        Args:
            audio: s16le bytes, an array of int16, or an (async) iterator of such pieces, as a
                synthesizer gives them. Sending runs ahead of the picture by up to ten seconds.
            sample_rate: 8000, 16000, 22050, 24000, 32000, 44100 or 48000 Hz.
            channels: 1, or 2, which are mixed down.
            clip: The clip to run under it, such as ``speaking_3``; None: the server picks.

        Returns:
            The utterance, once all of it was sent; await it to know when it was shown.

        Raises:
            SpeechRefused: The server has no place to speak, or the format is not taken.
            ConnectionLost: The session is gone.
            ValueError: The audio is not whole 16-bit samples.
        """
        self._connection.check_open()
        utterance = Utterance(uuid.uuid4().hex)
        self._speaking.append(utterance)
        try:
            size = max(1, int(sample_rate * CHUNK_S)) * channels * 2
            part: str | None = None
            async for chunk in or_dry(chunks(audio, size, channels), self._is_dry):
                if chunk is None:
                    await self._end_part(part)
                    part = None
                    continue
                await self._wait_for_room(utterance)
                if utterance.is_over:
                    await utterance  # raises what refused it
                    return utterance
                if part is None or part not in self._parts:
                    part = utterance.next_part()
                    self._parts[part] = utterance
                    self._state.begin_utterance(part, sample_rate, channels, clip)
                message = self._state.speech(part, chunk, time.monotonic())
                await self._connection.send_speech(message)
            await self._end_part(part)
        finally:
            self._speaking.remove(utterance)
            if finished := utterance.sent():
                self._queue.publish(finished)
        return utterance

    async def _end_part(self, part: str | None) -> None:
        ending = None if part is None else self._state.end_utterance(part)
        if ending is not None:
            await self._connection.send_speech(ending)

    async def _wait_for_room(self, utterance: Utterance) -> None:
        while self.unshown_ms > AHEAD_MS and not utterance.is_over and self.closed is None:
            self._progress.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHUNK_S):
                    await self._progress.wait()
        self._connection.check_open()

    def _is_dry(self) -> bool:
        return self.unshown_ms <= FRAME_MS

    async def interrupt(self) -> int:
        """Drop all speech that was not shown.

        Returns:
            How much was dropped, ms.
        """
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(take_note)
        message = self._state.interrupt()
        self._interrupts.append(
            _Interrupt(message, answer, list(self._speaking), list(self._parts))
        )
        if not self._connection.has_session:
            self._answer_interrupts()
        await self._connection.send_speech(message, unless=answer)
        return await answer

    # The picture.

    async def change_state(self, state: str, clip: str | None = None) -> None:
        """Change the base clip: ``idle``, ``speaking`` or ``action``, and a clip's name or None."""
        await self._connection.send(self._state.change_state(state, clip))

    async def start_action(self, index: int, *, with_progress: bool = False) -> None:
        """Insert an action clip once.

        Args:
            index: 1 or 2.
            with_progress: Its frames say how far it has come (`Frame.action_progress`).
        """
        await self._connection.send(self._state.action(index, with_progress=with_progress))

    async def user_speaking(self, *, is_active: bool) -> None:
        """Tell the avatar that the user began or stopped speaking: while idle it listens."""
        await self._connection.send(self._state.simple("USER_SPEAKING", active=is_active))

    # What comes.

    def events(self) -> AsyncIterator[Event]:
        """Everything that comes, from now on, until the session is over: `Closed` is the last."""
        return self._queue.events()

    async def frames(self) -> AsyncIterator[Frame]:
        """Yield the frames alone."""
        async for event in self.events():
            if isinstance(event, Frame):
                yield event

    def _react(self, event: Event) -> None:
        match event:
            case SpeechStarted(part) if part in self._parts:
                self._state.speech_started(part, time.monotonic())
                utterance = self._parts[part]
                if not utterance.started.is_set():
                    utterance.started.set()
                    self._queue.publish(SpeechStarted(utterance.id))
            case SpeechFinished(part) if part in self._parts:
                if finished := self._parts.pop(part).part_over(event):
                    self._queue.publish(finished)
            case Interrupted(dropped_ms):
                if self._interrupts:
                    self._drop(self._interrupts.popleft(), dropped_ms)
                self._queue.publish(event)
            case ServerError(details=details):
                self._refuse(event, details)
                self._queue.publish(event)
            case _:
                self._queue.publish(event)
        self._progress.set()

    def _drop(self, interrupt: _Interrupt, dropped_ms: int) -> None:
        """Forget what was to be said before an interrupt, also by its speakers.

        The server has said by now what is over; it knows nothing of the others.
        """
        for part in interrupt.parts:
            if utterance := self._parts.pop(part, None):
                self._state.forget_utterance(part)
                if finished := utterance.part_over(SpeechFinished(part, 0, interrupted=True)):
                    self._queue.publish(finished)
        for utterance in interrupt.speaking:
            if finished := utterance.interrupted():
                self._queue.publish(finished)
        if not interrupt.answer.done():
            interrupt.answer.set_result(dropped_ms)

    def _refuse(self, error: ServerError, details: Mapping[str, Any]) -> None:
        part = str(details.get("utterance_id"))
        utterance = self._parts.get(part)
        if utterance is None:
            return
        if details.get("reason") != "utterance_over":
            utterance.fail(SpeechRefused(error.message, details.get("retry_after_ms")))
        if not self._state.has_utterance(part):
            del self._parts[part]

    def _interrupt_again(self) -> list[str]:
        """Interrupts without an answer: it was lost, or they were themselves."""
        return [interrupt.message for interrupt in self._interrupts]

    def _answer_interrupts(self) -> None:
        """Answer them here: the server has nothing that could be dropped."""
        while self._interrupts:
            self._drop(self._interrupts.popleft(), 0)

    def _lose(self, utterance_ids: Iterable[str]) -> None:
        self._answer_interrupts()
        for part in utterance_ids:
            if utterance := self._parts.pop(part, None):
                utterance.fail(ConnectionLost("The session was lost, and what was said with it."))

    def _finish(self, closed: Closed) -> None:
        """End the session: nothing waits any longer."""
        error: AvatarError = closed.error or ConnectionLost(f"The session is over: {closed}.")
        for utterance in (*self._parts.values(), *self._speaking):
            utterance.fail(error)
        self._parts.clear()
        while self._interrupts:
            answer = self._interrupts.popleft().answer
            if not answer.done():
                answer.set_exception(error)
        self._progress.set()
        self._queue.end(closed)
