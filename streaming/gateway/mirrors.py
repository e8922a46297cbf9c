"""The watchers' side of watching a session of another machine: an audience like the owner's.

The first watcher of a session that is not on this machine makes a mirror: it asks the session's
group on the media layer, and the gateway that has the session answers and relays what its audience
is shown. Further watchers join the mirror, which admits them by itself. It asks again every ten
seconds, so a session that was resumed at another gateway is found there, and ends when nobody
watches, when the session is over, or when nothing came for longer than a session waits for its
owner.
"""

import asyncio
import logging

from channels.layers import BaseChannelLayer, get_channel_layer
from django.conf import settings

from inference.errors import MessageInvalid
from inference.messages import MEDIA_LAYER
from streaming.gateway import takeover
from streaming.gateway.mirror_messages import (
    EventRelayed,
    FrameRelayed,
    IdrRequired,
    MirrorMessage,
    OwnerAway,
    SessionOver,
    WatchDropped,
    WatchGranted,
    WatchRefused,
    WatchRequested,
    from_layer,
    load_event,
    load_fields,
)
from streaming.gateway.resume_tokens import SignedTokens
from streaming.gateway.watch_tokens import SignedWatchTokens
from streaming.session.audience import Audience, refused
from streaming.session.effects import WatchSession

log = logging.getLogger(__name__)

ANSWER_WITHIN_S = 2.0
RENEW_EVERY_S = 10.0
SILENCE_S = 15.0
"""Beyond the time that a session waits for its owner."""


class Mirror:
    """The audience of a session of another machine, as far as it is on this one."""

    def __init__(self, layer: BaseChannelLayer, session_id: str, user_id: str, token: str) -> None:
        """Prepare.

        Args:
            layer: The media layer.
            session_id: The session.
            user_id: The owner's.
            token: The first watcher's.
        """
        self.audience = Audience()
        self.user_id = user_id
        self.is_over = False
        self._layer = layer
        self._session_id = session_id
        self._token = token
        self._channel = ""
        self._relay = ""
        """The one that answered last."""
        self._answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._heard_s = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> bool:
        """Ask for the session; whether it was granted."""
        self._channel = await self._layer.new_channel()
        self._tasks.append(asyncio.create_task(self._receive(), name="mirror of watchers"))
        await self._send(self._request())
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                is_granted = await self._answer
        except TimeoutError:
            is_granted = False
        if is_granted:
            self._tasks.append(asyncio.create_task(self._renew(), name="mirror renewal"))
        else:
            self.stop()
        return is_granted

    def _request(self) -> WatchRequested:
        return WatchRequested(user_id=self.user_id, token=self._token, channel=self._channel)

    async def _send(self, message: MirrorMessage) -> None:
        group = takeover.group_of(self._session_id)
        try:
            await self._layer.group_send(group, message.to_layer())
        except Exception as error:  # noqa: BLE001 - a layer raises what its client library does
            takeover.log_failure("session %s: %s: %r", self._session_id, message.type, error)

    async def _receive(self) -> None:
        loop = asyncio.get_running_loop()
        while not self.is_over:
            received = await self._layer.receive(self._channel)
            try:
                message = from_layer(received)
                if not isinstance(message, WatchRefused):  # which shows nothing
                    self._heard_s = loop.time()
                self._take(message)
            except MessageInvalid as error:
                log.warning("a relayed message was ignored: %s", error)

    def _take(self, message: MirrorMessage) -> None:
        match message:
            case WatchGranted():
                self._granted(message)
            case WatchRefused():
                self._answered(is_granted=False)
            case FrameRelayed():
                self.audience.show(*message.parts())
            case EventRelayed(event=event):
                self.audience.tell(load_event(event))
            case IdrRequired():
                self.audience.require_idr()
            case OwnerAway(in_ms=in_ms):
                self.audience.owner_away(in_ms)
            case SessionOver(relay=relay) if relay == self._relay:
                self._end()
            case _:
                pass

    def _granted(self, grant: WatchGranted) -> None:
        tokens = SignedWatchTokens(SignedTokens(grant.owner, grant.opened_at))
        self._relay = grant.relay
        # The watcher's own runs out within an hour, and a gateway where the session is resumed
        # must be shown one that has not.
        self._token = tokens.issue(self._session_id)
        self.audience.open(self._session_id, tokens, grant.max_watchers)
        if grant.init_success is not None:
            self.audience.session_opened(load_fields(grant.init_success))
        self._answered(is_granted=True)

    def _answered(self, *, is_granted: bool) -> None:
        if not self._answer.done():
            self._answer.set_result(is_granted)

    async def _renew(self) -> None:
        """Ask again every ten seconds, until nobody watches or nothing is received."""
        loop = asyncio.get_running_loop()
        while not self.is_over:
            await asyncio.sleep(RENEW_EVERY_S)
            if not len(self.audience):
                self.is_over = True  # who comes now needs another mirror
                await self._send(WatchDropped(channel=self._channel))
                self._end()
            elif loop.time() - self._heard_s > settings.RESUME_S + SILENCE_S:
                log.warning("session %s: its gateway is silent", self._session_id)
                self._end()
            else:
                await self._send(self._request())

    def _end(self) -> None:
        self.audience.end(is_shutdown=False)
        self.stop()

    def stop(self) -> None:
        """Ask and receive no more."""
        self.is_over = True
        own = asyncio.current_task()
        for task in self._tasks:
            if task is not own:
                task.cancel()


class Mirrors:
    """The mirrors of this process."""

    def __init__(self) -> None:
        self._mirrors: dict[str, Mirror] = {}
        self._opening: dict[str, asyncio.Lock] = {}

    async def find(self, request: WatchSession, user_id: str) -> Audience:
        """Return the audience of a session of another machine.

        Args:
            request: What the watcher sent.
            user_id: By the watcher's path: the owner's.

        Raises:
            ProtocolError: There is none for this token.
        """
        token, key = request.init.watch_token, takeover.key_of(request.session_id)
        layer = get_channel_layer(MEDIA_LAYER)
        if token is None or layer is None or not settings.CHANNEL_REDIS_URL:
            raise refused()
        async with self._opening.setdefault(key, asyncio.Lock()):
            mirror = self._mirrors.get(key)
            if mirror is None or mirror.is_over:
                mirror = Mirror(layer, request.session_id, user_id, token)
                if not await mirror.open():
                    self._opening.pop(key, None)
                    raise refused()
                self._forget_those_over()
                self._mirrors[key] = mirror
        if mirror.user_id != user_id or not mirror.audience.admits(token):
            raise refused()
        return mirror.audience

    def _forget_those_over(self) -> None:
        for key in [key for key, mirror in self._mirrors.items() if mirror.is_over]:
            del self._mirrors[key]
            self._opening.pop(key, None)

    def close(self) -> None:
        """Stop all of them: the server shuts down."""
        for mirror in self._mirrors.values():
            mirror.stop()
        self._mirrors.clear()


mirrors = Mirrors()
"""Of this process."""
