"""The owner's side of watching from other machines: their gateways get what an audience is shown.

Each gateway with watchers gets every frame once, whatever their number. A relay has a queue and a
task of its own: a layer that does not answer costs its watchers frames, and nobody else anything.
"""

import asyncio
import logging
import time
import uuid
from typing import Any

from channels.layers import BaseChannelLayer
from django.conf import settings

from inference.messages import VideoFrame
from streaming.gateway import takeover
from streaming.gateway.mirror_messages import (
    TO_OWNER,
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
    dump_event,
    dump_fields,
    from_layer,
)
from streaming.protocol.server_messages import (
    FrameSound,
    InitSuccessFields,
    SpeechFinished,
    SpeechStarted,
)
from streaming.session.session import Session

log = logging.getLogger(__name__)

REQUESTS = frozenset(message.type for message in TO_OWNER)
"""Types of what mirrors send to a session's group."""
MAX_QUEUED = 50
"""Messages that wait for the layer: two seconds of frames. Beyond it frames are left out."""
FORGOTTEN_AFTER_S = 30.0
"""A mirror that has not asked for so long is gone."""


class Relay:
    """Sends what an audience is shown to one mirror; implements `AudienceRelay`."""

    def __init__(self, layer: BaseChannelLayer, session: Session, owner: str, channel: str) -> None:
        """Start.

        Args:
            layer: The media layer.
            session: The session that is watched.
            owner: Whose it is.
            channel: The mirror's.
        """
        self.channel = channel
        self.renewed_s = time.monotonic()
        """When the mirror asked last."""
        self._layer = layer
        self._session = session
        self._owner = owner
        self._name = uuid.uuid4().hex
        self._queue: asyncio.Queue[MirrorMessage | None] = asyncio.Queue()
        """None ends it."""
        self._task = asyncio.create_task(self._run(), name="relay to watchers")

    def grant(self) -> None:
        """Answer a request, with what the mirror must know."""
        audience = self._session.audience
        opened_at = audience.watchable_since
        assert opened_at is not None, "the token was admitted"
        fields = audience.init_fields
        self._queue.put_nowait(
            WatchGranted(
                owner=self._owner,
                opened_at=opened_at,
                max_watchers=audience.max_watchers,
                relay=self._name,
                init_success=None if fields is None else dump_fields(fields),
            )
        )

    # From the audience.

    def opened(self, fields: InitSuccessFields) -> None:
        self.grant()

    def show(self, frame: VideoFrame, sound: FrameSound | None) -> None:
        if time.monotonic() - self.renewed_s > FORGOTTEN_AFTER_S:
            self._session.audience.remove_relay(self)
            self._task.cancel()
        elif self._queue.qsize() < MAX_QUEUED:
            self._queue.put_nowait(FrameRelayed.of(frame, sound))

    def tell(self, event: SpeechStarted | SpeechFinished) -> None:
        self._queue.put_nowait(EventRelayed(event=dump_event(event)))

    def require_idr(self) -> None:
        self._queue.put_nowait(IdrRequired())

    def owner_away(self, in_ms: int) -> None:
        self._queue.put_nowait(OwnerAway(in_ms=in_ms))

    def end(self, *, is_shutdown: bool) -> None:
        # When the server ends, the owner may resume the session at another one.
        in_ms = int(settings.RESUME_S * 1_000)
        over = OwnerAway(in_ms=in_ms) if is_shutdown else SessionOver(relay=self._name)
        self._queue.put_nowait(over)
        self._queue.put_nowait(None)

    def stop(self) -> None:
        """Stop: the mirror needs nothing any more."""
        self._task.cancel()

    async def _run(self) -> None:
        while (message := await self._queue.get()) is not None:
            await send(self._layer, self.channel, message)


async def send(layer: BaseChannelLayer, channel: str, message: MirrorMessage) -> None:
    """Send a message to a mirror; one that is lost is a gap, or is asked for again."""
    try:
        await layer.send(channel, message.to_layer())
    except Exception as error:  # noqa: BLE001 - a layer raises what its client library does
        takeover.log_failure("%s was not sent: %r", message.type, error)


async def take(
    layer: BaseChannelLayer, message: dict[str, Any], session: Session, owner: str
) -> None:
    """Take a message that a mirror sent to the group of this session.

    Args:
        layer: The media layer.
        message: What it sent.
        session: The session.
        owner: Whose it is.

    Raises:
        MessageInvalid: It is no message of this version.
    """
    audience = session.audience
    request = from_layer(message)
    known = {relay.channel: relay for relay in audience.relays if isinstance(relay, Relay)}
    match request:
        case WatchDropped(channel=channel) if channel in known:
            audience.remove_relay(known[channel])
            known[channel].stop()
        case WatchRequested(user_id=user_id, token=token, channel=channel):
            if user_id != session.user_id or not (channel in known or audience.admits(token)):
                await send(layer, channel, WatchRefused())
                return
            relay = known.get(channel) or Relay(layer, session, owner, channel)
            relay.renewed_s = time.monotonic()
            relay.grant()
            audience.add_relay(relay)
        case _:
            pass
