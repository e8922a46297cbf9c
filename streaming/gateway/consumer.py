"""The adapter between a `Session`, its WebSocket and the channel layers.

Theory of operation
-------------------
The session decides, this carries out. Three things drive it: the messages of the client and those
of workers elsewhere, which Channels dispatches one at a time, and one task, the time keeper, which
waits for the session's next deadline and for a worker of this process. Effects for the client are
carried out at once, in the order in which the session made them. Effects for workers and other
gateways are the business of `layer_effects`.

No session ends silently: an exception is logged with its traceback, and the client gets
INTERNAL_ERROR and close code 4500.

Claims go over the layer that keeps them until a worker reads; all else goes over the media layer,
where this consumer's own channel is.
"""

import asyncio
import contextlib
import logging
import math
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from channels.exceptions import StopConsumer
from django.conf import settings
from django.utils import timezone

from avatars_app.access.principal import Principal
from avatars_app.selectors import AvatarNotReady
from inference.errors import MessageInvalid
from inference.local_link import link
from inference.messages import MEDIA_LAYER, LayerMessage, from_layer
from streaming.gateway import admission, relays, takeover
from streaming.gateway.avatar_look_up import look_up
from streaming.gateway.connection_log import ConnectionLog
from streaming.gateway.layer_effects import LayerEffects
from streaming.gateway.operator_limits import operator_limits
from streaming.gateway.prompt_consumer import PromptConsumer
from streaming.gateway.registry import Connection, registry
from streaming.gateway.resume_tokens import ResumeClaim, SignedTokens, check_token, refused
from streaming.gateway.transport import transport_of
from streaming.gateway.turns import turn
from streaming.gateway.watch_tokens import SignedWatchTokens
from streaming.gateway.watching import watch
from streaming.protocol import binary
from streaming.protocol.client_messages import InitFields
from streaming.protocol.codec import dump
from streaming.protocol.errors import ClosingError, HolderFull, ProtocolError, SessionIdTaken
from streaming.protocol.server_messages import ActionFrame, Error, ServerMessage, VideoFrame
from streaming.session.effects import (
    CloseConnection,
    Effect,
    FlushSpeech,
    OpenSession,
    ResumeSession,
    SendClaim,
    SendPayload,
    SendToClient,
    SendToWorker,
    WatchSession,
)
from streaming.session.resumption import ClientState, check_last_frame
from streaming.session.session import Session
from streaming.session.watcher import Watcher

log = logging.getLogger(__name__)

CLOSED_ON_PURPOSE = {1000, 1001}
"""Close codes of a client that does not come back."""


class StreamConsumer(PromptConsumer):
    """The consumer of one connection."""

    channel_layer_alias = MEDIA_LAYER

    session: Session
    """Set on connection, as what follows is."""
    owner: str
    principal: Principal | None = None
    """Who it is; None: AUTH is off, or nobody was authenticated yet."""
    session_limits: Mapping[str, int] = {}
    opened_at: datetime
    last_message_at: datetime

    def __init__(self) -> None:
        super().__init__()
        self._todo: deque[Effect] = deque()
        self._is_carrying_out = False
        self._from_worker: deque[LayerMessage] = deque()
        """What a worker of this process sent and the session has not got yet."""
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = math.inf
        """When the timer wakes the time keeper."""
        self._time_keeper: asyncio.Task[None] | None = None
        self._is_binary = False
        self._transport: Any = None
        """Tells when the client reads too slowly, where the server knows."""
        self._is_gone = False
        """Nothing more can be sent to the client; if `_is_lost`, it left without a farewell."""
        self._is_lost = False
        self._watcher: Watcher | None = None
        """Set once the connection watches another one's session; its own is over then."""
        self._log = ConnectionLog(self)
        self._expiry: asyncio.TimerHandle | None = None
        """Set while the session waits for its client to come back on another connection."""

    @property
    def _conversation(self) -> Session | Watcher:
        """What the client talks to."""
        return self._watcher or self.session

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
        """Pass an event to its WebSocket handler, or a worker's message to the session.

        The stock method hops through a thread that all consumers share to clean up database
        connections; with it one slow query would hold up every stream.
        """
        try:
            if message["type"].startswith("websocket."):
                await getattr(self, message["type"].replace(".", "_"))(message)
            elif message["type"] in takeover.MESSAGES:
                effects = await takeover.receive(self.channel_layer, message, self, registry)
                await self._carry_out(effects)
            elif message["type"] in relays.REQUESTS:
                await relays.take(self.channel_layer, message, self.session, self.owner)
            else:
                await self._carry_out(self.session.from_worker(from_layer(message), self._now_s()))
        except StopConsumer:
            raise
        except MessageInvalid as error:
            log.warning("a message of the layer was ignored: %s", error)
        except Exception:
            if self._time_keeper is None:
                raise
            log.exception("failed to handle %s", message["type"])
            await self._fail()

    async def connect(self) -> None:
        if registry.is_closing:
            await self.close()
            return
        self._loop = asyncio.get_running_loop()
        self.opened_at = self.last_message_at = timezone.now()
        subprotocol = binary.choose_subprotocol(list(self.scope.get("subprotocols") or ()))
        self._is_binary = subprotocol == binary.BINARY_SUBPROTOCOL
        user_id = self.scope["url_route"]["kwargs"]["user_id"]
        self.owner = user_id
        self._tokens = SignedTokens(user_id, self.opened_at.timestamp())
        self.session = self._new_session(user_id)
        self._log.bind()
        self._observe_transport()
        await self.accept(subprotocol=subprotocol)
        registry.enter(self)
        self._layers = LayerEffects(
            self.channel_layer,
            self.channel_name,
            session=lambda: self.session,
            carry_out=self._carry_out,
            fail=lambda: self._guarded(self.session.fail),
        )
        link.listen(self.channel_name, self._take_from_worker)
        self._time_keeper = asyncio.create_task(self._keep_time(), name="session timers")

    def _new_session(self, user_id: str) -> Session:
        return Session(
            user_id=user_id,
            reply_channel=self.channel_name,
            now_s=self._now_s(),
            rules=operator_limits(),
            is_binary=self._is_binary,
            tokens=self._tokens,
            watch_tokens=SignedWatchTokens(self._tokens),
            reserve_place=lambda worker: link.reserve_place(worker.worker_channel, worker.claim_id),
        )

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.last_message_at = timezone.now()
        if text_data is not None:
            async with turn(len(text_data)):
                effects = self._conversation.text(text_data, self._now_s())
        elif bytes_data is not None:
            async with turn(len(bytes_data)):
                effects = self._conversation.binary(bytes_data, self._now_s())
        else:
            return
        await self._carry_out(effects)

    async def websocket_disconnect(self, message: Any) -> None:
        self._is_lost = message.get("code") not in CLOSED_ON_PURPOSE
        self._log.closing(message.get("code"))
        # The stock one ends with the hop that `dispatch` avoids; `_leave` does the rest.
        raise StopConsumer

    def _observe_transport(self) -> None:
        """Let the session know when the client reads too slowly."""
        self._transport = transport_of(self.scope)
        if self._transport is not None:
            self.session.set_paused(self._transport.paused)
            self._transport.on_change(lambda is_paused: self._conversation.set_paused(is_paused))

    async def supersede(self) -> None:
        await self._guarded(self._conversation.supersede)

    async def server_ends(self, in_s: float) -> None:
        if self._expiry is None:
            await self._guarded(lambda: self.session.time_limits.server_ends(in_s))

    async def shut_down(self) -> None:
        await self._guarded(self._conversation.shut_down)

    def terminate_soon(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and so is the connection
            self._loop.call_soon_threadsafe(self._terminate)

    def revoke(self) -> None:
        """End it: what its credential stands for was withdrawn."""
        error = admission.unauthorized("The key or the account behind this session was revoked.")
        self._terminating = asyncio.create_task(self._guarded(lambda: self.session.refuse(error)))

    def _terminate(self) -> None:
        self._terminating = asyncio.create_task(self._guarded(self._conversation.terminate))

    async def _guarded(self, end: Callable[[], list[Effect]]) -> None:
        """End the session; a fault of it must not reach the caller."""
        with self._log.bound():  # the caller may be another connection
            try:
                effects = end()
                if self._expiry is not None:
                    self._expiry.cancel()
                    self._expiry = None
                    registry.leave(self)
                else:
                    await self._carry_out(effects)
            except Exception:
                log.exception("a session could not be ended")

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def _take_from_worker(self, message: LayerMessage) -> None:
        """Take a message from a worker of this process."""
        self._from_worker.append(message)
        self._wake.set()

    async def _keep_time(self) -> None:
        """Hand the session what its worker sends, and call its timer at its deadline."""
        while True:
            self._set_timer()
            await self._wake.wait()
            self._wake.clear()
            try:
                while self._from_worker:
                    message = self._from_worker.popleft()
                    await self._carry_out(self.session.from_worker(message, self._now_s()))
                    if self._from_worker:  # after a stall: let the socket take one at a time
                        await asyncio.sleep(0)
                if self._watcher is not None:
                    await self._carry_out(self._watcher.take())
                due_s = self._conversation.next_deadline_s
                if due_s is not None and due_s <= (now_s := self._now_s()):
                    await self._carry_out(self._conversation.timer(now_s))
            except Exception:
                log.exception("session %s: a message or a timer failed", self.session.session_id)
                await self._fail()

    def _set_timer(self) -> None:
        """Have the time keeper woken at the session's deadline.

        A deadline that moved back finds the timer set too early: then nothing is due, and it is set
        again. Most move back with each frame, which costs nothing this way.
        """
        due_s = self._conversation.next_deadline_s
        if due_s is None or due_s >= self._timer_s:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_s = due_s
        self._timer = self._loop.call_at(due_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer, self._timer_s = None, math.inf
        self._wake.set()

    async def _carry_out(self, effects: list[Effect]) -> None:
        self._todo.extend(effects)
        if self._is_carrying_out:
            return  # the first caller drains the queue
        self._is_carrying_out = True
        try:
            while self._todo:
                await self._carry_out_one(self._todo.popleft())
        finally:
            self._is_carrying_out = False
        self._set_timer()

    async def _carry_out_one(self, effect: Effect) -> None:
        match effect:
            case SendToClient(message):
                await self._send_to_client(message)
            case SendPayload(payload):
                await self._send_payload(payload)
            case WatchSession():
                await self._watch(effect)
            case OpenSession(session_id, _, auth_token):
                if await self._admit(auth_token):
                    await self._open(session_id)
            case ResumeSession(session_id, init):
                if await self._admit(init.auth_token):
                    await self._resume(session_id, init)
            case CloseConnection(code):
                self._log.closing(int(code))
                if not self._is_gone:
                    await self.close(code=int(code))
            case FlushSpeech() | SendToWorker() | SendClaim():
                self._layers.put(effect)

    async def _send_to_client(self, message: ServerMessage) -> None:
        if isinstance(message, Error):
            self._log.error_sent(message, self._now_s())
        if self._is_binary and isinstance(message, VideoFrame | ActionFrame):
            await self._send_payload(binary.pack_message(message))
        else:
            await self._send_payload(dump(message))

    async def _send_payload(self, payload: str | bytes) -> None:
        if self._is_gone:
            return
        self.session.metrics.sent_bytes += len(payload)
        kind = "text" if isinstance(payload, str) else "bytes"
        await self.base_send({"type": "websocket.send", kind: payload})  # type: ignore[arg-type]

    async def _watch(self, request: WatchSession) -> None:
        """Watch the session of another connection, if the token allows that."""
        try:
            await admission.count_address(self.scope)
            watcher = await watch(
                registry,
                request,
                self.session,
                is_binary=self._is_binary,
                on_news=self._wake.set,
                now_s=self._now_s(),
            )
        except ProtocolError as error:
            self._todo.extend(self.session.init_refused(error, self._now_s()))
            return
        self.session.disconnected()
        watcher.set_paused(self._transport is not None and self._transport.paused)
        self._watcher = watcher

    async def _admit(self, auth_token: str | None) -> bool:
        """Whether the sender of INIT may have a session; otherwise it ends."""
        user_id = self.session.user_id
        try:
            principal = await admission.admit(self.scope, auth_token, user_id)
        except ClosingError as error:
            self._todo.extend(self.session.init_refused(error, self._now_s()))
            return False
        self.session_limits = admission.session_limits(self.scope, principal)
        if principal is not None:
            self.principal = principal
            self.owner = self._tokens.user_id = takeover.owner_of(user_id, principal.subject)
            self._limit_by_credential()
        return True

    def _limit_by_credential(self) -> None:
        """End the session when the credential of this connection no longer allows it."""
        ends_at = None if self.principal is None else self.principal.session_exp
        if ends_at is not None:
            left_s = max(ends_at - timezone.now().timestamp(), 0.0)
            self.session.time_limits.token_ends(left_s, self._now_s())

    async def _open(
        self, session_id: str, resumed: tuple[InitFields, ResumeClaim] | None = None
    ) -> None:
        """Open the session here, from the start or as its client knows it."""
        try:
            await registry.reserve(session_id, self)
        except SessionIdTaken:
            self._todo.extend(self.session.id_taken(self._now_s()))
            return
        except HolderFull as full:
            self._todo.extend(self.session.refuse(full))
            return
        self._layers.put(OpenSession(session_id, self.owner))
        try:
            avatar = await look_up(self.session.user_id)
        except AvatarNotReady as missing:
            self._todo.extend(self.session.avatar_missing(missing.reason, missing.percent))
        except ClosingError as error:
            self._todo.extend(self.session.refuse(error))
        else:
            known = None
            if resumed is not None:
                init, claim = resumed
                known = ClientState.of(init, avatar, claim.number)
            self._todo.extend(self.session.opened(avatar, self._now_s(), known))
            registry.subject_speech.bound(self.session, self.principal)

    async def _resume(self, session_id: str, init: InitFields) -> None:
        """Continue the session: the one that waits here, or as the client knows it."""
        assert init.resume_token is not None, "it resumes"
        try:
            claim = check_token(init.resume_token, session_id, self.owner)
            older = registry.connection_of(session_id)
            if older is not None:
                await self._take(older, claim, init)
                self._layers.put(OpenSession(session_id, self.owner))
                return
            check_last_frame(init, latest_ms=claim.latest_frame_ms(timezone.now().timestamp()))
        except ProtocolError as error:
            self._todo.extend(self.session.init_refused(error, self._now_s()))
            return
        self._tokens.opened_at = claim.opened_at
        await self._open(session_id, (init, claim))

    async def _take(self, older: Connection, claim: ResumeClaim, init: InitFields) -> None:
        """Continue the session of another connection of this process.

        Raises:
            ProtocolError: The token or the client's account does not fit it.
        """
        if not older.session.can_resume or older.session.number != claim.number:
            raise refused()
        older.session.check_resume(init)
        session = await older.hand_over()
        self.session = session
        self.opened_at = older.opened_at
        registry.move(older, self)
        session.set_paused(self._transport is not None and self._transport.paused)
        self._todo.extend(
            session.resume(
                init,
                reply_channel=self.channel_name,
                is_binary=self._is_binary,
                now_s=self._now_s(),
            )
        )
        self._limit_by_credential()

    async def hand_over(self) -> Session:
        """Give the session up to a newer connection; this one ends."""
        session, self.session = self.session, self._new_session(self.session.user_id)
        self.session.disconnected()
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        else:
            with self._log.bound():
                await self._carry_out(session.detach(is_replaced=True) + session.handed_over())
        return session

    async def _fail(self) -> None:
        """End the session after a fault of the server."""
        self._todo.clear()
        await self._carry_out(self._conversation.fail())

    async def _leave(self) -> None:
        """Leave after the connection is gone."""
        if self._time_keeper is None:
            return
        self._time_keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._time_keeper
        self._is_gone = True
        link.leave(self.channel_name)
        if self._timer is not None:
            self._timer.cancel()
        if self._is_lost and self.session.can_resume and not registry.is_closing:
            await self._guarded(self.session.detach)
            self._expiry = self._loop.call_later(settings.RESUME_S, self._expire)
        else:
            registry.leave(self)
            await self._guarded(self._conversation.disconnected)
        await self._layers.leave()
        self._log.closed()

    def _expire(self) -> None:
        """End a session whose client did not come back."""
        self._expiry = None
        self.session.disconnected()
        registry.leave(self)
