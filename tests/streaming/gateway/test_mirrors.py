"""Watching a session of another machine: relays at its gateway, mirrors at the watchers'."""

import asyncio
import base64
import contextlib
import time

import msgspec
import pytest
from channels.layers import get_channel_layer

from inference.messages import MEDIA_LAYER
from streaming.gateway import mirrors as mirroring
from streaming.gateway import relays
from streaming.gateway.mirror_messages import SessionOver
from streaming.gateway.mirrors import Mirrors
from streaming.protocol.client_messages import InitFields
from streaming.protocol.errors import ProtocolError
from streaming.session.effects import WatchSession
from tests.streaming.fakes import SESSION_ID, USER, chunk, numbered
from tests.streaming.gateway.connections import SOON_S
from tests.streaming.gateway.test_watching import watched_conversation
from tests.streaming.session.test_watching import FakeWatcher

pytestmark = pytest.mark.usefixtures("registry")


@pytest.fixture
async def elsewhere(settings):
    """The mirrors of another machine."""
    settings.CHANNEL_REDIS_URL = "redis://of-both"
    found = Mirrors()
    yield found
    found.close()


def request(token, session_id=SESSION_ID):
    fields = {"user_id": USER, "role": "watch", "watch_token": token}
    return WatchSession(session_id, msgspec.convert(fields, InitFields))


async def soon(condition):
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    pytest.fail("it did not come to be")


async def test_watchers_of_another_machine_see_and_hear_what_the_owner_s_do(elsewhere):
    async with watched_conversation() as (owner, worker, token):
        audience = await elsewhere.find(request(token), USER)
        one, other = FakeWatcher(audience), FakeWatcher(audience)
        await owner.send_message("GENERATE", audio_chunk=chunk(numbered(0, 640)), utterance_id="a")
        await worker.read()
        await worker.show(0, is_idr=True, position=0, samples=640)
        await owner.receive_types("SPEECH_STARTED", "VIDEO_FRAME")
        for watcher in (one, other):
            await soon(lambda watcher=watcher: "VIDEO_FRAME" in watcher.read().types)
            assert watcher.types == ["INIT_SUCCESS", "SPEECH_STARTED", "VIDEO_FRAME"]
            sound = watcher.received[-1]["data"]["audio"]["data"]
            assert base64.b64decode(sound) == numbered(0, 640)


async def test_each_machine_is_sent_a_frame_once(elsewhere, registry):
    async with watched_conversation() as (_, _, token):
        for _ in range(5):
            FakeWatcher(await elsewhere.find(request(token), USER))
        assert len(registry.connection_of(SESSION_ID).session.audience.relays) == 1


async def test_the_end_of_the_session_reaches_them(elsewhere):
    async with watched_conversation() as (owner, _, token):
        audience = await elsewhere.find(request(token), USER)
        watcher = FakeWatcher(audience)
        await owner.send_message("CLOSE")
        await soon(lambda: "CLOSE_ACK" in watcher.read().types)
        assert watcher.received[-1]["data"] == {"reason": "session_ended"}
        with pytest.raises(ProtocolError, match="does not fit"):
            await elsewhere.find(request(token), USER)


async def test_an_owner_that_lost_its_connection_is_reported(elsewhere, settings):
    settings.RESUME_S = 0.5
    async with watched_conversation() as (owner, _, token):
        watcher = FakeWatcher(await elsewhere.find(request(token), USER))
        await owner.disconnect(code=1006, timeout=SOON_S)
        await soon(lambda: "WARNING" in watcher.read().types)
        assert watcher.received[-1]["data"] == {"reason": "owner_away", "in_ms": 500}
        await soon(lambda: "CLOSE_ACK" in watcher.read().types)


async def test_a_session_that_was_resumed_elsewhere_does_not_end_with_its_old_gateway(elsewhere):
    async with watched_conversation() as (_, worker, token):
        watcher = FakeWatcher(await elsewhere.find(request(token), USER))
        (mirror,) = elsewhere._mirrors.values()
        layer = get_channel_layer(MEDIA_LAYER)
        await layer.send(mirror._channel, SessionOver(relay="an older one").to_layer())
        await worker.show(0, is_idr=True)
        await soon(lambda: "VIDEO_FRAME" in watcher.read().types)
        assert watcher.closed is None


async def test_after_hours_too_a_session_that_was_resumed_elsewhere_is_found(
    elsewhere, registry, monkeypatch
):
    """The first watcher's token is too old by then; the other gateway knows no mirror."""
    monkeypatch.setattr(mirroring, "RENEW_EVERY_S", 0.05)
    began = time.time()
    async with watched_conversation() as (_, worker, token):
        watcher = FakeWatcher(await elsewhere.find(request(token), USER))
        own = registry.connection_of(SESSION_ID).session.audience
        for half_hour in range(1, 4):
            monkeypatch.setattr(time, "time", lambda n=half_hour: began + 1_800 * n)
            await asyncio.sleep(0.2)
        for relay in own.relays:
            own.remove_relay(relay)
            relay.stop()
        await soon(lambda: own.relays)
        await worker.show(0, is_idr=True)
        await soon(lambda: "VIDEO_FRAME" in watcher.read().types)


async def test_a_mirror_that_is_only_refused_ends(elsewhere, registry, monkeypatch, settings):
    settings.RESUME_S = 0
    monkeypatch.setattr(mirroring, "RENEW_EVERY_S", 0.05)
    monkeypatch.setattr(mirroring, "SILENCE_S", 0.3)
    async with watched_conversation() as (_, _, token):
        watcher = FakeWatcher(await elsewhere.find(request(token), USER))
        own = registry.connection_of(SESSION_ID).session.audience
        monkeypatch.setattr(type(own), "admits", lambda *_: False)  # another session of this id
        for relay in own.relays:
            own.remove_relay(relay)
            relay.stop()
        await soon(lambda: "CLOSE_ACK" in watcher.read().types)


async def test_the_end_of_a_server_is_no_end_of_the_session(elsewhere, registry, settings):
    settings.RESUME_S = 30
    async with watched_conversation() as (_, _, token):
        watcher = FakeWatcher(await elsewhere.find(request(token), USER))
        await registry.close_all()
        await soon(lambda: "WARNING" in watcher.read().types)
        assert watcher.received[-1]["data"] == {"reason": "owner_away", "in_ms": 30_000}


@pytest.mark.parametrize(
    ("session_id", "user_id", "alter"),
    [
        (SESSION_ID, USER, lambda token: token[:-1] + ("a" if token[-1] != "a" else "b")),
        (SESSION_ID, "mallory", lambda token: token),
    ],
)
async def test_a_token_that_does_not_fit_is_refused(elsewhere, session_id, user_id, alter):
    async with watched_conversation() as (_, _, token):
        for _ in range(2):  # by the owner's gateway, and by the mirror that then exists
            with pytest.raises(ProtocolError, match="does not fit"):
                await elsewhere.find(request(alter(token), session_id), user_id)
            await elsewhere.find(request(token), USER)


async def test_where_nobody_answers_it_is_refused_soon(elsewhere, monkeypatch):
    monkeypatch.setattr(mirroring, "ANSWER_WITHIN_S", 0.1)
    with pytest.raises(ProtocolError, match="does not fit"):
        await elsewhere.find(request("token"), USER)


async def test_a_mirror_that_nobody_watches_is_dropped(elsewhere, registry, monkeypatch):
    monkeypatch.setattr(mirroring, "RENEW_EVERY_S", 0.05)
    async with watched_conversation() as (_, _, token):
        audience = await elsewhere.find(request(token), USER)
        watcher = FakeWatcher(audience)
        own = registry.connection_of(SESSION_ID).session.audience
        await asyncio.sleep(0.2)
        assert len(own.relays) == 1, "it is renewed"
        audience.leave(watcher.watcher)
        await soon(lambda: not own.relays)
        assert (await elsewhere.find(request(token), USER)) is not audience


async def test_a_mirror_that_vanished_is_forgotten(elsewhere, registry, monkeypatch):
    async with watched_conversation() as (_, worker, token):
        await elsewhere.find(request(token), USER)
        own = registry.connection_of(SESSION_ID).session.audience
        monkeypatch.setattr(relays, "FORGOTTEN_AFTER_S", 0.0)
        await worker.show(0, is_idr=True)
        await soon(lambda: not own.relays)


async def test_a_layer_that_does_not_answer_costs_frames_only(elsewhere, registry, monkeypatch):
    async with watched_conversation() as (owner, worker, token):
        await elsewhere.find(request(token), USER)
        own = registry.connection_of(SESSION_ID).session.audience
        (relay,) = own.relays
        hangs = asyncio.Event()
        monkeypatch.setattr(relays, "send", lambda *_: hangs.wait())
        for number in range(relays.MAX_QUEUED + 20):
            await worker.show(number)
            await owner.receive_types("VIDEO_FRAME")
        assert relay._queue.qsize() <= relays.MAX_QUEUED
        hangs.set()
    with contextlib.suppress(ProtocolError):
        await elsewhere.find(request(token), USER)
