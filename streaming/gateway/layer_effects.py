"""A session's effects for its worker and for other gateways, carried out in order.

They have a queue and a task of their own, so that a layer which does not answer holds up neither
the client's messages nor what the client is sent. A worker of this process needs neither: it is
handed its messages at once.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from channels.layers import BaseChannelLayer, get_channel_layer

from inference.local_link import link
from inference.messages import CLAIM_LAYER, INFERENCE_CHANNEL, LayerMessage, SessionStart
from streaming.gateway import takeover
from streaming.gateway.waiting_effects import LayerEffect, WaitingEffects
from streaming.gateway.workers import directory
from streaming.session.effects import (
    Effect,
    FlushSpeech,
    OpenSession,
    SendClaim,
    SendToWorker,
)
from streaming.session.session import Session

log = logging.getLogger(__name__)

LEAVE_WITHIN_S = 2.5
"""How long a closed connection may take to tell its worker and other processes."""


class LayerEffects:
    """Of one connection, from its beginning to `leave`."""

    def __init__(
        self,
        layer: BaseChannelLayer,
        channel: str,
        *,
        session: Callable[[], Session],
        carry_out: Callable[[list[Effect]], Awaitable[None]],
        fail: Callable[[], Awaitable[None]],
    ) -> None:
        """Start.

        Args:
            layer: The media layer.
            channel: The connection's own on it.
            session: The connection's session, which may be another one later.
            carry_out: Takes the effects of what happens here.
            fail: Ends the session after a fault.
        """
        self._layer = layer
        self._channel = channel
        self._session = session
        self._carry_out = carry_out
        self._fail = fail
        self._waiting = WaitingEffects()
        self._placed: set[str] = set()
        """Sessions of which a claim was sent."""
        self._task = asyncio.create_task(self._run(), name="session layers")

    def put(self, effect: LayerEffect) -> None:
        """Carry an effect out, at once or as soon as those before it are."""
        match effect:
            case SendToWorker(channel, message) if link.send(channel, message):
                return
            case FlushSpeech(claim_id) if self._flush_locally(claim_id):
                return
        self._waiting.put(effect)

    def _flush_locally(self, claim_id: str) -> bool:
        """Whether the session's worker is in this process, and was handed its speech."""
        session_link = self._session().link
        worker = None if session_link is None else session_link.worker
        if worker is None or not link.has(worker.worker_channel):
            return False
        now_s = asyncio.get_running_loop().time()
        while (sending := self._session().next_for_worker(claim_id, now_s)) is not None:
            link.send(sending.channel, sending.message)
        return True

    async def leave(self) -> None:
        """Carry out what is left, within `LEAVE_WITHIN_S`, and end."""
        self._waiting.close()
        session_id = self._session().session_id
        try:
            async with asyncio.timeout(LEAVE_WITHIN_S):
                await self._task
                if session_id:
                    await takeover.let_go(self._layer, session_id, self._channel)
        except TimeoutError:
            log.debug("session %s: the layers took too long", session_id)

    async def _run(self) -> None:
        while (effect := await self._waiting.take()) is not None:
            try:
                await self._carry_out_one(effect)
            except Exception:
                log.exception("an effect could not be carried out: %s", type(effect).__name__)
                await self._fail()

    async def _carry_out_one(self, effect: LayerEffect) -> None:
        match effect:
            case FlushSpeech(claim_id):
                await self._flush_speech(claim_id)
            case SendToWorker(channel, message):
                await self._send_to_worker(channel, message)
            case SendClaim(message):
                await self._claim(message)
            case OpenSession(session_id, user_id):
                await takeover.take_over(
                    self._layer, session_id, user_id=user_id, channel=self._channel
                )

    async def _flush_speech(self, claim_id: str) -> None:
        now_s = asyncio.get_running_loop().time()
        while (sending := self._session().next_for_worker(claim_id, now_s)) is not None:
            if not await self._send_to_worker(sending.channel, sending.message):
                return

    async def _send_to_worker(self, channel: str, message: LayerMessage) -> bool:
        """Send a message to a worker; False if that failed."""
        try:
            await self._layer.send(channel, message.to_layer())
        except Exception as error:  # noqa: BLE001 - a layer raises what its client library does
            session = self._session()
            takeover.log_failure("session %s: %s: %r", session.session_id, message.type, error)
            await self._carry_out(session.undelivered(message, asyncio.get_running_loop().time()))
            return False
        return True

    async def _claim(self, claim: SessionStart) -> None:
        """Send a claim to the worker with the least load, or to whichever takes it first.

        Only the first claim of a session is placed: a worker that was just lost, or does not
        answer, may still be listed.
        """
        channel = None
        if claim.session_id not in self._placed:
            self._placed.add(claim.session_id)
            channel = directory.place(asyncio.get_running_loop().time())
        if channel is not None and await self._send_claim_to(channel, claim):
            return
        layer = get_channel_layer(CLAIM_LAYER)
        assert layer is not None, "the settings define it"
        try:
            await layer.send(INFERENCE_CHANNEL, claim.to_layer())
        except Exception as error:  # noqa: BLE001 - as above; the session claims again by itself
            takeover.log_failure("session %s: claim: %r", claim.session_id, error)

    async def _send_claim_to(self, channel: str, claim: SessionStart) -> bool:
        try:
            await self._layer.send(channel, claim.to_layer())
        except Exception as error:  # noqa: BLE001 - as above; the claim goes to all, then
            takeover.log_failure("session %s: placed claim: %r", claim.session_id, error)
            return False
        return True
