import asyncio
import logging
import threading
import time
from unittest.mock import AsyncMock, Mock

import pytest
from channels.exceptions import ChannelFull
from channels.layers import get_channel_layer
from django.db import OperationalError

from avatars_app.access.principal import CredentialUnchecked, Principal
from avatars_app.selectors import AvatarNotReady
from inference.messages import (
    CLAIM_LAYER,
    MEDIA_LAYER,
    AudioChunk,
    SessionAccepted,
    SessionStop,
    SpeechFailed,
    SpeechInterrupt,
    SpeechInterrupted,
)
from streaming.gateway import admission, avatar_look_up, layer_effects, takeover, transport
from streaming.gateway import registry as live
from streaming.session import claims
from tests.streaming.fakes import SESSION_ID, chunk, numbered
from tests.streaming.gateway.connections import AVATAR, SOON_S, LayerWorker, connected, conversation

pytestmark = pytest.mark.usefixtures("registry")


async def test_a_session():
    async with conversation() as (client, worker):
        await worker.show(0, 1)
        first, second = await client.receive_types("VIDEO_FRAME", "VIDEO_FRAME")
        assert [m["data"]["frame_timestamp"] for m in (first, second)] == [0, 40]
        await client.send_message("GENERATE", audio_chunk=chunk(numbered(0, 640)))
        audio = await worker.read()
        assert isinstance(audio, AudioChunk)
        assert (audio.pcm, audio.position) == (numbered(0, 640), 0)
        await client.send_message("INTERRUPT")
        interrupt = await worker.read()
        assert isinstance(interrupt, SpeechInterrupt)
        await worker.send(SpeechInterrupted(claim_id=interrupt.claim_id, generation=1, position=0))
        [interrupted] = await client.receive_types("INTERRUPTED")
        assert interrupted["data"] == {"dropped_ms": 40}
        await client.send_message("CLOSE")
        [ack] = await client.receive_types("CLOSE_ACK")
        assert ack["data"] == {"reason": "client_request"}
        assert await client.closing() == 1000
        assert isinstance(await worker.read(), SessionStop)


async def test_a_connection_that_breaks_frees_the_worker(registry):
    async with conversation() as (client, worker):
        assert len(registry) == 1
        await client.disconnect(code=1006, timeout=SOON_S)
        assert isinstance(await worker.read(), SessionStop)
        assert len(registry) == 0


async def test_a_cancelled_application_frees_the_worker(registry):
    async with conversation() as (client, worker):
        client.future.cancel()
        await asyncio.wait([client.future])
        assert isinstance(await worker.read(), SessionStop)
        assert len(registry) == 0


async def test_timers_ring(monkeypatch):
    monkeypatch.setattr(claims, "NO_WORKER_S", 0.05)
    async with connected() as client:
        await client.open()
        [error] = await client.receive_types("ERROR")
        assert error["data"]["details"]["reason"] == "no_worker"
        worker = await LayerWorker().claim_session()
        await client.receive_types("INIT_SUCCESS")
        await worker.show(0)
        await client.receive_types("VIDEO_FRAME")


async def test_what_is_no_text_is_answered():
    async with connected() as client:
        assert await client.connect(SOON_S) == (True, None)
        await client.send_to(bytes_data=b"\x00")
        await client.send_input({"type": "websocket.receive", "text": ""})
        errors = await client.receive_types("ERROR", "ERROR")
        assert {m["data"]["code"] for m in errors} == {"INVALID_MESSAGE"}


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/musetalk/v1/ws/",
        "/musetalk/v1/ws/ada/",
        "/musetalk/v1/ws/ada\n",
        "//musetalk/v1/ws/ada",
        "/musetalk/v1/ws/../ada",
        "/musetalk/v1/ws/é",
        "/musetalk/v1/ws/" + "a" * 65,
        "/musetalk/v2/ws/ada",
    ],
)
async def test_any_other_path_is_refused_before_a_session_exists(path, registry):
    async with connected(path=path) as client:
        assert (await client.connect(SOON_S))[0] is False
    assert registry.connections_ever == 0


async def test_a_user_id_may_be_long():
    async with connected(user_id="A-z_0" * 12 + "0123") as client:
        await client.open()
        assert (await LayerWorker().next_claim()).session_id == SESSION_ID


@pytest.mark.parametrize("reason", ["preparing", "failed"])
async def test_an_avatar_that_is_not_ready(monkeypatch, reason):
    def not_ready(user_id):
        raise AvatarNotReady(reason, 40)

    monkeypatch.setattr(avatar_look_up, "avatar_for", not_ready)
    async with connected() as client:
        await client.open()
        error, _ = await client.receive_types("ERROR", "CLOSE_ACK")
        assert error["data"]["code"] == "MODEL_NOT_FOUND"
        assert error["data"]["details"] == {"reason": reason, "percent": 40}
        assert await client.closing() == 4404


AWAY = {"reason": "database_unavailable", "retry_after_ms": 3_000}


async def test_an_unreachable_database_ends_the_session_with_a_line_in_the_log(
    monkeypatch, caplog, registry
):
    failures: list[Exception] = []
    registry.observer = Mock(database_failed=failures.append)

    def look_up(user_id):
        raise OperationalError("could not connect")

    monkeypatch.setattr(avatar_look_up, "avatar_for", look_up)
    async with connected() as client:
        await client.open()
        error, _ = await client.receive_types("ERROR", "CLOSE_ACK")
        assert error["data"]["code"] == "PROCESSING_ERROR"
        assert error["data"]["details"] == AWAY
        assert await client.closing() == 4500
    [line] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "could not connect" in line.getMessage()
    assert line.exc_info is None
    assert list(map(str, failures)) == ["could not connect"]


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (OperationalError("disk full"), "database_unavailable"),
        (CredentialUnchecked("no route"), "identity_provider_unavailable"),
    ],
)
async def test_a_credential_that_cannot_be_checked_is_no_wrong_one(
    monkeypatch, settings, registry, failure, reason
):
    settings.AUTH = True
    registry.observer = Mock()
    monkeypatch.setattr(admission, "principal_of", Mock(side_effect=failure))
    async with connected() as client:
        assert await client.connect(SOON_S) == (True, None)
        await client.send_message("INIT", user_id=client.user_id, auth_token="anything")
        error, _ = await client.receive_types("ERROR", "CLOSE_ACK")
        assert error["data"]["details"]["reason"] == reason
        assert await client.closing() == 4500, "4401 would be final: the credential may be good"
    is_database = reason == "database_unavailable"
    assert registry.observer.database_failed.called == is_database


async def test_a_credential_that_ends_a_session_ends_it_on_a_later_connection_too(
    monkeypatch, settings
):
    settings.RESUME_S = 30
    ends_at = time.time() + 3_600
    admit = AsyncMock(return_value=Principal("ann", session_exp=ends_at))
    monkeypatch.setattr(admission, "admit", admit)
    known = {"protocol_version": "1.2"}
    async with connected() as client:
        assert await client.connect(SOON_S) == (True, None)
        await client.send_message("INIT", user_id=client.user_id, **known)
        await LayerWorker().claim_session()
        [init] = await client.receive_types("INIT_SUCCESS")
        await client.disconnect(code=1006, timeout=SOON_S)
    admit.return_value = Principal("ann", session_exp=time.time() + 0.5)
    async with connected() as client:
        assert await client.connect(SOON_S) == (True, None)
        known["resume_token"] = init["data"]["resume"]["token"]
        await client.send_message("INIT", user_id=client.user_id, **known)
        await client.receive_types("INIT_SUCCESS")
        warning, error, _ = await client.receive_types("WARNING", "ERROR", "CLOSE_ACK")
        assert warning["data"]["reason"] == "token"
        assert error["data"]["code"] == "UNAUTHORIZED"
        assert await client.closing() == 4401


async def test_a_slow_look_up_holds_up_nobody_else(monkeypatch):
    found = threading.Event()

    def look_up(user_id):
        assert user_id != "slow" or found.wait(SOON_S)
        return AVATAR

    monkeypatch.setattr(avatar_look_up, "avatar_for", look_up)
    async with connected(user_id="slow") as slow:
        await slow.open(session_id=None)
        async with conversation() as (client, worker):
            await worker.show(0)
            await client.receive_types("VIDEO_FRAME")
        assert await slow.receive_nothing()
        found.set()
        await LayerWorker().claim_session()
        await slow.receive_types("INIT_SUCCESS")


async def test_the_newer_connection_of_a_user_wins():
    async with conversation() as (older, worker), connected() as newer:
        await newer.open()
        error, _ = await older.receive_types("ERROR", "CLOSE_ACK")
        assert error["data"]["code"] == "INVALID_SESSION"
        assert await older.closing() == 4409
        assert isinstance(await worker.read(), SessionStop)
        await older.disconnect(timeout=SOON_S)
        await LayerWorker().claim_session()
        await newer.receive_types("INIT_SUCCESS")


async def test_another_users_live_session_is_not_given_away():
    async with conversation() as (client, worker), connected(user_id="mallory") as thief:
        await thief.open()
        [error] = await thief.receive_types("ERROR")
        assert error["data"]["code"] == "INVALID_SESSION"
        await worker.show(0)
        await client.receive_types("VIDEO_FRAME")


@pytest.mark.parametrize("opens", ["before the answer", "after it, at once"])
async def test_who_is_refused_by_another_gateway_does_not_keep_the_id_from_its_user(
    registry, opens
):
    registry.has_other_machines = True
    layer = get_channel_layer(MEDIA_LAYER)
    owners = await layer.new_channel()  # its gateway is elsewhere
    await layer.group_add(takeover.group_of(SESSION_ID), owners)
    async with connected(user_id="mallory") as thief, connected() as owner:
        await thief.open()
        await LayerWorker().next_claim()
        opened = await asyncio.wait_for(layer.receive(owners), SOON_S)
        assert opened["user_id"] == "mallory"
        if opens == "before the answer":
            await owner.open()  # which has to wait
        answer = {"type": takeover.ID_TAKEN, "session": takeover.key_of(SESSION_ID)}
        await layer.send(opened["channel"], answer)
        await thief.receive_types("ERROR", "CLOSE_ACK")
        assert await thief.closing() == 4409  # and its connection stays as it is
        if opens == "after it, at once":
            await owner.open()
        opened = await asyncio.wait_for(layer.receive(owners), SOON_S)
        assert opened["user_id"] == owner.user_id
        worker = await LayerWorker().claim_session()
        await owner.receive_types("INIT_SUCCESS")
        await worker.show(0)
        await owner.receive_types("VIDEO_FRAME")


async def test_an_id_is_free_again_when_its_session_is_over():
    async with conversation() as (client, _):
        await client.disconnect(timeout=SOON_S)
    async with connected(user_id="bob") as client:
        await client.open()
        await LayerWorker().claim_session()
        await client.receive_types("INIT_SUCCESS")


async def test_the_server_says_goodbye(registry):
    async with conversation() as (client, worker), connected() as early:
        await early.connect(SOON_S)
        await live.close_all()
        for one in (client, early):
            [ack] = await one.receive_types("CLOSE_ACK")
            assert ack["data"] == {"reason": "server_shutdown"}
            assert await one.closing() == 4012
        assert isinstance(await worker.read(), SessionStop)
        async with connected() as late:
            assert (await late.connect(SOON_S))[0] is False


@pytest.mark.parametrize("where", ["text", "from_worker", "timer"])
async def test_a_fault_of_ours_is_logged_and_told(monkeypatch, caplog, where):
    async with conversation() as (client, worker):

        def boom(*_):
            raise RuntimeError("boom")

        with caplog.at_level(logging.ERROR):
            monkeypatch.setattr(f"streaming.session.session.Session.{where}", boom)
            if where == "text":
                await client.send_message("PONG")
            elif where == "from_worker":
                await worker.show(0)
            error, _ = await client.receive_types("ERROR", "CLOSE_ACK")
        assert error["data"]["code"] == "INTERNAL_ERROR"
        assert await client.closing() == 4500
        assert "RuntimeError: boom" in caplog.text


async def test_a_layer_that_fails_is_reported(monkeypatch):
    layer = get_channel_layer(MEDIA_LAYER)
    broken = asyncio.Event()
    receive = layer.receive

    async def failing(channel):
        if channel.startswith("specific."):
            await broken.wait()
            raise OSError("gone")
        return await receive(channel)

    monkeypatch.setattr(layer, "receive", failing)
    async with connected() as client:
        await client.connect(SOON_S)
        broken.set()
        error, _ = await client.receive_types("ERROR", "CLOSE_ACK")
        assert error["data"]["code"] == "INTERNAL_ERROR"
        assert await client.closing() == 4500


async def test_a_message_of_another_version_is_ignored():
    async with conversation() as (client, worker):
        await worker.media.send(worker.start.reply_channel, {"type": "video.frame", "frame": "x"})
        await worker.media.send(worker.start.reply_channel, {"type": "weather.report"})
        await worker.show(0)
        await client.receive_types("VIDEO_FRAME")


async def test_a_full_channel_loses_no_audio(monkeypatch):
    async with conversation() as (client, worker):
        send, refusals = worker.media.send, [ChannelFull, ChannelFull, OSError]

        async def full(channel, message):
            if message["type"] == "audio.chunk" and refusals:
                raise refusals.pop()
            await send(channel, message)

        monkeypatch.setattr(worker.media, "send", full)
        for n in range(3):
            await client.send_message("GENERATE", audio_chunk=chunk(numbered(n * 640, 640)))
        heard = b""
        while len(heard) < 3 * 1_280:
            heard += (await worker.read()).pcm
        assert heard == numbered(0, 3 * 640)


async def test_a_worker_that_cannot_be_reached_is_replaced(monkeypatch):
    async with conversation() as (client, worker):
        send = worker.media.send

        async def full(channel, message):
            if message["type"] == "clip.change":
                raise ChannelFull
            await send(channel, message)

        monkeypatch.setattr(worker.media, "send", full)
        await client.send_message("STATE_CHANGE", target_state="speaking")
        await client.receive_types("STATE_CHANGED")
        again = LayerWorker()
        await again.claim_session()
        told = await again.read()
        assert isinstance(told, SessionAccepted)
        assert told.clip == "speaking_0"


async def test_a_layer_that_does_not_answer_holds_up_nothing_for_the_client(monkeypatch):
    async with conversation() as (client, worker):
        answers = asyncio.Event()
        sent, send = [], worker.media.send

        async def slow(channel, message):
            await answers.wait()
            sent.append(message["type"])
            await send(channel, message)

        monkeypatch.setattr(worker.media, "send", slow)
        await client.send_message("GENERATE", audio_chunk=chunk(numbered(0, 640)))
        await client.send_message("INTERRUPT")
        await client.send_message("NONSENSE")
        await client.send_message("STATE_CHANGE", target_state="speaking")
        await client.receive_types("ERROR", "STATE_CHANGED")
        await client.send_message("CLOSE")
        await client.receive_types("CLOSE_ACK")
        assert await client.closing() == 1000
        answers.set()
        while not isinstance(await worker.read(), SessionStop):
            pass
        assert sent == ["audio.chunk", "clip.change", "session.stop"]


async def test_a_layer_that_never_answers_does_not_keep_a_connection_that_is_gone(
    monkeypatch, registry
):
    monkeypatch.setattr(layer_effects, "LEAVE_WITHIN_S", 0.1)
    async with conversation() as (client, worker):

        async def never(*_):
            await asyncio.Future()

        for method in ("send", "group_discard"):
            monkeypatch.setattr(worker.media, method, never)
        await client.disconnect(timeout=1)
        assert client.future.done()
        assert len(registry) == 0


async def test_a_claim_that_cannot_be_sent_is_sent_again(monkeypatch):
    monkeypatch.setattr(claims, "CLAIM_EVERY_S", 0.05)
    layer = get_channel_layer(CLAIM_LAYER)
    send, refusals = layer.send, [ChannelFull, OSError]

    async def full(channel, message):
        if refusals:
            raise refusals.pop()
        await send(channel, message)

    monkeypatch.setattr(layer, "send", full)
    async with connected() as client:
        await client.open()
        await LayerWorker().claim_session()
        await client.receive_types("INIT_SUCCESS")


async def test_pictures_wait_while_the_client_reads_too_slowly():
    async with conversation() as (client, worker):
        await worker.show(0, 1)
        await client.receive_types("VIDEO_FRAME", "VIDEO_FRAME")
        client.transport.set(True)
        await worker.show(2, *range(25, 30))
        await worker.send(SpeechFailed(claim_id=worker.start.claim_id, reason="none"))
        await client.receive_types("VIDEO_FRAME", "ERROR")
        client.transport.set(False)
        await worker.show(*range(30, 52))
        frames = await client.receive_types("VIDEO_FRAME", "VIDEO_FRAME")
        assert [m["data"]["frame_timestamp"] // 40 for m in frames] == [50, 51]


async def test_a_server_that_reports_no_backpressure_is_a_gateway_too(monkeypatch, caplog):
    monkeypatch.setattr(transport, "_has_warned", False)
    for _ in range(2):
        async with connected() as client:
            del client.scope["extensions"]
            await client.connect(SOON_S)
    assert caplog.text.count("does not report when a client reads too slowly") == 1
