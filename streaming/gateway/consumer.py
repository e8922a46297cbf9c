"""The adapter between a `Session`, its WebSocket and the channel layers.

Theory of operation
-------------------
The session decides, this carries out. Three things drive it: the messages of the client and those
of workers, which Channels dispatches one at a time, and one task that waits for the session's next
deadline. Effects for the client are carried out at once, in the order in which the session made
them. Effects for the channel layers have a queue and a task of their own, in order as well: a layer
that does not answer holds up neither the client's messages nor what the client is sent.

Nothing here ends a session without a word: an exception is logged with its traceback, and the
client gets INTERNAL_ERROR and close code 4500.

Claims go over the layer that keeps them until a worker reads; all else goes over the media layer,
where this consumer's own channel is.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from channels.db import database_sync_to_async
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from avatars_app.selectors import AvatarNotReady, AvatarRef, avatar_for
from inference.errors import MessageInvalid
from inference.messages import (
    CLAIM_LAYER,
    INFERENCE_CHANNEL,
    MEDIA_LAYER,
    LayerMessage,
    SessionStart,
    from_layer,
)
from streaming.gateway import takeover
from streaming.gateway.registry import registry
from streaming.protocol.codec import dump
from streaming.protocol.errors import SessionIdTaken
from streaming.session.effects import (
    CloseConnection,
    Effect,
    FlushSpeech,
    OpenSession,
    SendClaim,
    SendToClient,
    SendToWorker,
)
from streaming.session.session import Session, SessionLimits

log = logging.getLogger(__name__)

TRANSPORT_EXTENSION = "musetalk.transport"
LOOK_UP_WITHIN_S = 10.0
LEAVE_WITHIN_S = 2.5
"""How long a connection that is gone may take to say so to its worker and to other processes."""

# Threads of their own: the one that Django's code usually shares may be busy with a slow page.
_look_ups = ThreadPoolExecutor(4, thread_name_prefix="avatar-look-up")
_missing_transport_told = False


class StreamConsumer(AsyncWebsocketConsumer):
    """One connection."""

    channel_layer_alias = MEDIA_LAYER

    session: Session
    opened_at: datetime
    last_message_at: datetime

    def __init__(self) -> None:
        super().__init__()
        self._todo: deque[Effect] = deque()
        self._is_carrying_out = False
        self._deadline_s: float | None = None
        self._deadline_moved = asyncio.Event()
        self._time_keeper: asyncio.Task[None] | None = None
        self._for_layers: asyncio.Queue[Effect | None] = asyncio.Queue()
        """None is the last."""
        self._layer_sender: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        except Exception:
            if self._time_keeper is None:
                raise
            log.exception("the channel layer failed")
            await self._fail()
        finally:
            await self._leave()

    async def dispatch(self, message: dict[str, Any]) -> None:
        """To the handler of a WebSocket event, or to the session.

        Not the stock one: it hops through a thread that all consumers share to look after database
        connections, so that one slow query would hold up every stream.
        """
        try:
            if message["type"].startswith("websocket."):
                await getattr(self, message["type"].replace(".", "_"))(message)
            elif message["type"] == takeover.OPENED_ELSEWHERE:
                await self._opened_elsewhere(message)
            else:
                await self._carry_out(self.session.from_worker(from_layer(message), self._now_s()))
        except StopConsumer:
            raise
        except MessageInvalid as error:
            log.warning("a worker's message was ignored: %s", error)
        except Exception:
            if self._time_keeper is None:
                raise
            log.exception("this could not be worked on: %s", message["type"])
            await self._fail()

    # ---- the WebSocket

    async def connect(self) -> None:
        if registry.is_closing:
            await self.close()
            return
        self._loop = asyncio.get_running_loop()
        self.opened_at = self.last_message_at = timezone.now()
        self.session = Session(
            user_id=self.scope["url_route"]["kwargs"]["user_id"],
            reply_channel=self.channel_name,
            now_s=self._now_s(),
            rules=SessionLimits(
                max_queued_speech_s=settings.MAX_QUEUED_SPEECH_S, idle_s=settings.SESSION_IDLE_S
            ),
        )
        self._watch_transport()
        await self.accept()
        registry.enter(self)
        self._layer_sender = asyncio.create_task(self._send_to_layers(), name="session layers")
        self._time_keeper = asyncio.create_task(self._keep_time(), name="session timers")

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.last_message_at = timezone.now()
        now_s = self._now_s()
        if text_data is not None:
            await self._carry_out(self.session.text(text_data, now_s))
        elif bytes_data is not None:
            await self._carry_out(self.session.binary(bytes_data, now_s))

    async def websocket_disconnect(self, message: Any) -> None:
        # The stock one ends with the hop that `dispatch` avoids; `_leave` does the rest.
        raise StopConsumer

    def _watch_transport(self) -> None:
        """Let the session know when the client reads too slowly."""
        global _missing_transport_told
        extensions: dict[str, Any] = self.scope.get("extensions") or {}
        transport = extensions.get(TRANSPORT_EXTENSION)
        if transport is not None:
            self.session.set_paused(transport.paused)
            transport.on_change(self.session.set_paused)
        elif not _missing_transport_told:
            _missing_transport_told = True
            log.warning(
                "this server does not tell when a client reads too slowly: pictures for it will "
                "pile up in memory; `manage.py serve` does tell"
            )

    # ---- the registry's wishes, and those of other doors

    async def supersede(self) -> None:
        await self._guarded(self.session.supersede)

    async def _opened_elsewhere(self, message: dict[str, Any]) -> None:
        if takeover.is_taken_over(message, user_id=self.session.user_id, channel=self.channel_name):
            await self.supersede()

    async def shut_down(self) -> None:
        await self._guarded(self.session.shut_down)

    def terminate_soon(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and so is the connection
            self._loop.call_soon_threadsafe(self._terminate)

    def _terminate(self) -> None:
        self._terminating = asyncio.create_task(self._guarded(self.session.terminate))

    async def _guarded(self, end: Callable[[], list[Effect]]) -> None:
        """End the session; no fault of it may reach whoever asks for that."""
        try:
            await self._carry_out(end())
        except Exception:
            log.exception("a session could not be ended")

    # ---- time

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()

    async def _keep_time(self) -> None:
        """Call the session's timer whenever its deadline has come."""
        while True:
            self._deadline_moved.clear()
            self._deadline_s = self.session.next_deadline_s
            try:
                async with asyncio.timeout_at(self._deadline_s):
                    await self._deadline_moved.wait()
            except TimeoutError:
                try:
                    await self._carry_out(self.session.timer(self._now_s()))
                except Exception:
                    log.exception("a timer of a session failed")
                    await self._fail()

    def _watch_deadline(self) -> None:
        """A deadline that moved away is found out when the old one comes; an earlier one is not."""
        next_s = self.session.next_deadline_s
        if next_s is not None and (self._deadline_s is None or next_s < self._deadline_s):
            self._deadline_moved.set()

    # ---- effects

    async def _carry_out(self, effects: list[Effect]) -> None:
        self._todo.extend(effects)
        if self._is_carrying_out:
            return  # whoever does it comes to these too
        self._is_carrying_out = True
        try:
            while self._todo:
                await self._carry_out_one(self._todo.popleft())
        finally:
            self._is_carrying_out = False
        self._watch_deadline()

    async def _carry_out_one(self, effect: Effect) -> None:
        match effect:
            case SendToClient(message):
                await self.send(text_data=dump(message))
            case OpenSession(session_id):
                await self._open(effect, session_id)
            case CloseConnection(code):
                await self.close(code=int(code))
            case FlushSpeech() | SendToWorker() | SendClaim():
                self._for_layers.put_nowait(effect)

    async def _open(self, effect: OpenSession, session_id: str) -> None:
        try:
            older = registry.reserve(session_id, self)
        except SessionIdTaken:
            self._todo.extend(self.session.id_taken(self._now_s()))
            return
        if older is not None and older is not self:
            await older.supersede()
        self._for_layers.put_nowait(effect)
        try:
            avatar = await _look_up(self.session.user_id)
        except AvatarNotReady as missing:
            self._todo.extend(self.session.avatar_missing(missing.reason, missing.percent))
        except (DatabaseError, TimeoutError) as error:
            log.error("session %s: no avatar could be looked up: %r", session_id, error)
            self._todo.extend(self.session.fail())
        else:
            self._todo.extend(self.session.opened(avatar, self._now_s()))

    # ---- effects for the layers

    async def _send_to_layers(self) -> None:
        """Carry out what concerns the layers, however long each takes."""
        while (effect := await self._for_layers.get()) is not None:
            try:
                await self._send_to_layer(effect)
            except Exception:
                log.exception("an effect could not be carried out: %s", type(effect).__name__)
                await self._guarded(self.session.fail)

    async def _send_to_layer(self, effect: Effect) -> None:
        match effect:
            case FlushSpeech(claim_id):
                await self._flush_speech(claim_id)
            case SendToWorker(channel, message):
                await self._tell(channel, message)
            case SendClaim(message):
                await self._claim(message)
            case OpenSession(session_id):
                await takeover.take_over(
                    self.channel_layer,
                    session_id,
                    user_id=self.session.user_id,
                    channel=self.channel_name,
                )

    async def _flush_speech(self, claim_id: str) -> None:
        while (sending := self.session.next_for_worker(claim_id)) is not None:
            if not await self._tell(sending.channel, sending.message):
                return

    async def _tell(self, channel: str, message: LayerMessage) -> bool:
        """Whether the worker could be told."""
        try:
            await self.channel_layer.send(channel, message.to_layer())
        except Exception as error:  # noqa: BLE001 - a layer raises what its client library does
            takeover.log_failure("session %s: %s: %r", self.session.session_id, message.type, error)
            await self._carry_out(self.session.undelivered(message, self._now_s()))
            return False
        return True

    async def _claim(self, claim: SessionStart) -> None:
        layer = get_channel_layer(CLAIM_LAYER)
        assert layer is not None, "the settings define it"
        try:
            await layer.send(INFERENCE_CHANNEL, claim.to_layer())
        except Exception as error:  # noqa: BLE001 - as above; the session claims again by itself
            takeover.log_failure("session %s: claim: %r", self.session.session_id, error)

    # ---- endings

    async def _fail(self) -> None:
        """A fault of ours: what is left to do is to say so."""
        self._todo.clear()
        await self._carry_out(self.session.fail())

    async def _leave(self) -> None:
        """The connection is gone."""
        if self._time_keeper is None:
            return
        self._time_keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._time_keeper
        registry.leave(self)
        await self._guarded(self.session.disconnected)
        await self._leave_layers()

    async def _leave_layers(self) -> None:
        """Send what is still to be sent, if the layers take it in time."""
        assert self._layer_sender is not None, "started with the time keeper"
        self._for_layers.put_nowait(None)
        try:
            async with asyncio.timeout(LEAVE_WITHIN_S):
                await self._layer_sender
                if self.session.session_id:
                    await takeover.let_go(
                        self.channel_layer, self.session.session_id, self.channel_name
                    )
        except TimeoutError:
            log.debug("session %s: the layers took too long", self.session.session_id)


async def _look_up(user_id: str) -> AvatarRef:
    look_up = database_sync_to_async(avatar_for, thread_sensitive=False, executor=_look_ups)
    async with asyncio.timeout(LOOK_UP_WITHIN_S):
        return await look_up(user_id)
