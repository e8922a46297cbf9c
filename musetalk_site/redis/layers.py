"""The channel layers over Redis, made to outlive the loss of their server.

The stock layers of channels_redis trust the connections they hold. A server that vanishes without
closing them leaves calls that never return, and once the kernel reports ETIMEDOUT the stock receive
loop spins without ever suspending. Here

* every call has a deadline of `CALL_WITHIN_S` and raises `LayerUnavailable` when it passes;
* during a known outage sending fails at once, so that nothing queues up behind a dead server;
* a subscription made during an outage is recorded, and carried out on reconnection;
* each connection is checked: the media layer publishes a heartbeat to itself, the claim layer waits
  for claims in short rounds;
* a lost connection is replaced, with a growing pause between attempts.

The layers of a process share one `Availability`, which logs one line when an outage begins and one
when it ends.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import (
    RedisPubSubChannelLayer,
    RedisPubSubLoopLayer,
    RedisSingleShardConnection,
)
from channels_redis.utils import _wrap_close, create_pool, decode_hosts
from redis import asyncio as aioredis
from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from musetalk_site.redis.availability import (
    CALL_WITHIN_S,
    LayerUnavailable,
    availability,
    pauses,
    probe,
    reason_of,
    takes_no_writes,
)
from musetalk_site.redis.publisher import Publisher

T = TypeVar("T")

HEARTBEAT_EVERY_S = 2.0
SILENCE_S = 4.0
"""A subscriber that received nothing for so long, heartbeats included, has lost its server."""

POLL_S = 0.5
CLAIM_ROUND_S = 1.0
CLOSE_WITHIN_S = 0.5


async def _close(*what: aioredis.Redis | PubSub) -> None:
    """Close connections that may be dead already."""
    for one in what:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE_WITHIN_S):
                if isinstance(one, PubSub):
                    await one.aclose()  # type: ignore[no-untyped-call]
                else:
                    await one.aclose(close_connection_pool=True)


class MediaConnection(RedisSingleShardConnection):  # type: ignore[misc]  # it has no types
    """Publishes to one server, and receives from it on one connection.

    ``_subscribed_to`` holds the channels that are wanted, ``_asked_for`` those that the present
    connection has been asked for.
    """

    _redis: Any
    _pubsub: Any
    _receive_task: asyncio.Task[None] | None
    _subscribed_to: set[str]

    def __init__(self, host: dict[str, Any], channel_layer: Any) -> None:
        super().__init__(host, channel_layer)
        self._heartbeat = f"{channel_layer.prefix}heartbeat.{uuid.uuid4().hex}"
        self._publisher: Publisher | None = None
        self._asked_for: set[str] = set()
        self._loss: str | None = None
        self._is_up = False
        self._settled = asyncio.Event()
        """Set once the first attempt to connect has succeeded or failed."""

    async def publish(self, channel: str, message: bytes) -> None:
        await self._settle()
        self._raise_if_lost()
        publisher = self._publisher
        assert publisher is not None, "it is up"
        try:
            async with asyncio.timeout(CALL_WITHIN_S):
                await publisher.publish(channel, message)
        except ResponseError:
            raise
        except (OSError, RedisError) as error:
            if publisher is self._publisher:
                self._lose(reason_of(error))
            raise LayerUnavailable(f"Redis cannot be reached: {reason_of(error)}") from error

    async def subscribe(self, channel: str) -> None:
        self._subscribed_to.add(channel)
        await self._settle()
        await self._reconcile_if_up()

    async def unsubscribe(self, channel: str) -> None:
        self._subscribed_to.discard(channel)
        # The layer calls this for a receiver that is cancelled, and raises that itself. A second
        # cancellation is nothing to report; the next change tells the server.
        with contextlib.suppress(asyncio.CancelledError):
            await self._reconcile_if_up()

    async def flush(self) -> None:
        if self._receive_task is not None:
            self._receive_task.cancel()
            await asyncio.gather(self._receive_task, return_exceptions=True)
            self._receive_task = None
        await self._disconnect()
        self._subscribed_to = set()
        self._loss = None
        self._settled.clear()
        availability.forget(self)

    def connect(self) -> None:
        """Begin to connect, if that has not begun."""
        if self._receive_task is None:
            self._receive_task = asyncio.create_task(self._do_receiving(), name="redis receiver")

    async def _settle(self) -> None:
        self.connect()
        if not self._settled.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CALL_WITHIN_S):
                    await self._settled.wait()

    def _raise_if_lost(self) -> None:
        if not self._is_up:
            raise LayerUnavailable(f"Redis cannot be reached: {self._loss or 'not connected yet'}")

    def _lose(self, reason: str) -> None:
        """Give up the receiver's connections: it replaces both."""
        self._is_up = False
        self._loss = reason
        self._settled.set()
        availability.lost(self, reason)

    async def _do_receiving(self) -> None:
        waits = pauses()
        while True:
            try:
                await self._connect()
                waits = pauses()
                await self._receive()
            except Exception as error:  # noqa: BLE001 - whatever it is, a new connection is the answer
                if self._loss is None:
                    self._lose(reason_of(error))
            await self._disconnect()
            await asyncio.sleep(next(waits))

    async def _connect(self) -> None:
        """Both connections, each after an answer of the server: that it accepts proves nothing."""
        self._redis = aioredis.Redis(connection_pool=create_pool(self.host))
        self._pubsub = self._redis.pubsub()
        self._asked_for = set()
        async with asyncio.timeout(CALL_WITHIN_S):
            await self._reconcile()
            if await self._pubsub.get_message(timeout=CALL_WITHIN_S) is None:
                raise RedisConnectionError("a subscription was not confirmed")
            await self._redis.publish(self._heartbeat, b"")
        self._publisher = Publisher(self._redis)
        self._is_up = True
        self._loss = None
        self._settled.set()
        availability.found(self)
        await self._reconcile_if_up()  # what was added during the connect

    async def _disconnect(self) -> None:
        self._is_up = False
        if self._publisher is not None:
            self._publisher.stop()
            self._publisher = None
        old = [one for one in (self._pubsub, self._redis) if one is not None]
        self._pubsub = self._redis = None
        await _close(*old)

    async def _reconcile_if_up(self) -> None:
        if not self._is_up:
            return
        pubsub = self._pubsub
        try:
            async with asyncio.timeout(CALL_WITHIN_S), self._lock:
                if pubsub is self._pubsub:
                    await self._reconcile()
        except (OSError, RedisError) as error:
            if pubsub is self._pubsub:
                self._lose(reason_of(error))

    async def _reconcile(self) -> None:
        """Ask the server for the channels that are wanted, and for no others."""
        wanted = self._subscribed_to | {self._heartbeat}
        if missing := wanted - self._asked_for:
            self._asked_for |= missing
            await self._pubsub.subscribe(*missing)
        if unwanted := self._asked_for - wanted:
            self._asked_for -= unwanted
            await self._pubsub.unsubscribe(*unwanted)

    async def _receive(self) -> None:
        """Hand messages over until the connection is lost, which raises."""
        loop = asyncio.get_running_loop()
        heard_s = beat_s = loop.time()
        while True:
            if loop.time() - beat_s >= HEARTBEAT_EVERY_S:
                beat_s = loop.time()
                await self.publish(self._heartbeat, b"")
            began_s = loop.time()
            message = await self._pubsub.get_message(timeout=POLL_S)
            self._raise_if_lost()
            now_s = loop.time()
            if message is not None:
                heard_s = now_s
                if message["type"] == "message":
                    self._receive_message(message)
            elif now_s - began_s < POLL_S / 2:
                # The client library takes ETIMEDOUT of the socket for "nothing came", and the
                # stream reports it again at once, each time.
                raise RedisConnectionError("the connection timed out")
            elif now_s - began_s > 2 * POLL_S:
                heard_s = now_s  # this process itself was held up; what came is still to be read
            elif now_s - heard_s > SILENCE_S:
                raise RedisConnectionError(f"nothing was heard for {SILENCE_S:g} s")


class MediaLoopLayer(RedisPubSubLoopLayer):  # type: ignore[misc]  # as above
    """The media layer on one event loop."""

    def __init__(self, hosts: Any = None, **options: Any) -> None:
        super().__init__(hosts=hosts, **options)
        self._shards = [MediaConnection(host, self) for host in decode_hosts(hosts)]


class RedisMediaLayer(RedisPubSubChannelLayer):  # type: ignore[misc]  # as above
    """Sound and pictures, by publish and subscribe."""

    @property
    def outage(self) -> str:
        """Why Redis cannot be reached; empty while it can."""
        return availability.outage

    def connect(self) -> None:
        """Begin to connect now, not with the first message: so that an outage is known."""
        for shard in self._get_layer()._shards:
            shard.connect()

    def _get_layer(self) -> MediaLoopLayer:
        loop = asyncio.get_running_loop()
        if loop not in self._layers:
            self._layers[loop] = MediaLoopLayer(*self._args, **self._kwargs, channel_layer=self)
            _wrap_close(self, loop)
        layer: MediaLoopLayer = self._layers[loop]
        return layer


class RedisClaimLayer(RedisChannelLayer):  # type: ignore[misc]  # as above
    """Claims, each kept until one worker reads it.

    `receive` waits through an outage; all other calls raise `LayerUnavailable`.
    """

    brpop_timeout = CLAIM_ROUND_S

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._losses_seen = availability.losses
        self._recovery: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def outage(self) -> str:
        """Why Redis cannot be reached; empty while it can."""
        return availability.outage

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        await self._call(lambda: super(RedisClaimLayer, self).send(channel, message))

    async def receive(self, channel: str) -> dict[str, Any]:
        while True:
            try:
                message: dict[str, Any] = await super().receive(channel)
                return message
            except LayerUnavailable:
                if self._recovery is not None:
                    await asyncio.shield(self._recovery)

    async def group_add(self, group: str, channel: str) -> None:
        await self._call(lambda: super(RedisClaimLayer, self).group_add(group, channel))

    async def group_discard(self, group: str, channel: str) -> None:
        await self._call(lambda: super(RedisClaimLayer, self).group_discard(group, channel))

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await self._call(lambda: super(RedisClaimLayer, self).group_send(group, message))

    async def _brpop_with_clean(
        self,
        index: int,
        channel: str,
        timeout: float,  # noqa: ASYNC109 - of the stock method
    ) -> bytes | None:
        return await self._call(
            lambda: super(RedisClaimLayer, self)._brpop_with_clean(index, channel, timeout),
            within_s=timeout + CALL_WITHIN_S,
        )

    async def _clean_receive_backup(self, index: int, channel: str) -> None:
        # What is not cleaned up is delivered twice, which the claim protocol allows.
        with contextlib.suppress(LayerUnavailable):
            await self._call(
                lambda: super(RedisClaimLayer, self)._clean_receive_backup(index, channel)
            )

    async def _call(
        self, call: Callable[[], Awaitable[T]], *, within_s: float = CALL_WITHIN_S
    ) -> T:
        if self._is_recovering:
            raise LayerUnavailable(f"Redis cannot be reached: {availability.outage}")
        if self._losses_seen != availability.losses:
            self._replace_connections()
        losses = self._losses_seen
        try:
            async with asyncio.timeout(within_s):
                return await call()
        except (OSError, RedisError) as error:
            if isinstance(error, ResponseError) and not takes_no_writes(error):
                raise
            reason = reason_of(error)
            # Connections that were replaced while this call waited say nothing of the present ones.
            if losses == self._losses_seen and not self._is_recovering:
                availability.lost(self, reason)
                self._recovery = asyncio.create_task(self._recover(), name="redis recovery")
            raise LayerUnavailable(f"Redis cannot be reached: {reason}") from error

    @property
    def _is_recovering(self) -> bool:
        return self._recovery is not None and not self._recovery.done()

    async def _recover(self) -> None:
        for pause_s in pauses():
            self._replace_connections()
            await asyncio.sleep(pause_s)
            with contextlib.suppress(OSError, RedisError):
                async with asyncio.timeout(CALL_WITHIN_S):
                    for index in range(self.ring_size):
                        await probe(self.connection(index), self.prefix)
                availability.found(self)
                return

    def _replace_connections(self) -> None:
        self._losses_seen = availability.losses
        layer = self._layers.get(asyncio.get_running_loop())
        if layer is not None and layer._connections:
            old, layer._connections = layer._connections, {}
            closing = asyncio.create_task(_close(*old.values()))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
