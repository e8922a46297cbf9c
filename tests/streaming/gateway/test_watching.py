"""Watching over the wire: tokens, the owner's path, and connections that end."""

import asyncio
import base64
import contextlib

import pytest
from django.core import signing
from django.utils import timezone

from inference.messages import SessionAccepted
from streaming.gateway.resume_tokens import SignedTokens
from streaming.gateway.watch_tokens import VALID_S, SignedWatchTokens
from streaming.session.watcher import Watcher
from tests.streaming.fakes import SESSION_ID, USER, chunk, numbered
from tests.streaming.gateway.connections import SOON_S, LayerWorker, connected

pytestmark = pytest.mark.usefixtures("registry")

OTHER_ID = "6ba7b810-9dad-41d1-80b4-00c04fd430c9"


@contextlib.asynccontextmanager
async def watched_conversation(**options):
    """An owner that allows watchers, the worker that has its session, and the token."""
    async with connected(**options) as owner:
        assert await owner.connect(SOON_S) == (True, None)
        await owner.send_message("INIT", user_id=USER, protocol_version="1.2", allow_watchers=True)
        worker = await LayerWorker().claim_session()
        [opened] = await owner.receive_types("INIT_SUCCESS")
        assert isinstance(await worker.read(), SessionAccepted)
        yield owner, worker, opened["data"]["watch"]["token"]


async def watch(client, token, session_id=SESSION_ID, **data):
    assert (await client.connect(SOON_S))[0]
    fields = {"user_id": client.user_id, "role": "watch", "watch_token": token, **data}
    await client.send_message("INIT", session_id, **fields)


async def test_watchers_see_and_hear_what_the_owner_does():
    async with watched_conversation() as (owner, worker, token), connected() as one:
        await watch(one, token)
        [opened] = await one.receive_types("INIT_SUCCESS")
        assert opened["session_id"] == SESSION_ID
        await owner.send_message("GENERATE", audio_chunk=chunk(numbered(0, 640)), utterance_id="a")
        await worker.read()
        await worker.show(0, is_idr=True, position=0, samples=640)
        started, shown = await one.receive_types("SPEECH_STARTED", "VIDEO_FRAME")
        assert started["data"]["utterance_id"] == "a"
        assert base64.b64decode(shown["data"]["audio"]["data"]) == numbered(0, 640)
        _, own = await owner.receive_types("SPEECH_STARTED", "VIDEO_FRAME")
        assert "audio" not in own["data"]
        assert own["data"]["frame_data"] == shown["data"]["frame_data"]


async def test_a_watcher_is_not_the_newer_connection(registry):
    async with watched_conversation() as (owner, worker, token), connected() as one:
        await watch(one, token)
        await one.receive_types("INIT_SUCCESS")
        assert registry.connection_of(SESSION_ID).session.state.name == "OPEN"
        await one.send_message("INTERRUPT")
        [error] = await one.receive_types("ERROR")
        assert error["data"]["code"] == "INVALID_SESSION"
        await worker.show(0)
        await owner.receive_types("VIDEO_FRAME")
        await one.receive_types("VIDEO_FRAME")
        await one.send_message("CLOSE")
        [ack] = await one.receive_types("CLOSE_ACK")
        assert ack["data"] == {"reason": "client_request"}
        assert await one.closing() == 1000
        await worker.show(1)
        await owner.receive_types("VIDEO_FRAME")


async def test_a_watcher_that_vanishes_is_forgotten(registry):
    async with watched_conversation() as (_, _, token), connected() as one:
        await watch(one, token)
        await one.receive_types("INIT_SUCCESS")
        audience = registry.connection_of(SESSION_ID).session.audience
        assert (len(audience), len(registry)) == (1, 2)
        await one.disconnect(code=1006, timeout=SOON_S)
        assert (len(audience), len(registry)) == (0, 1)


async def test_one_that_reads_nothing_disturbs_nobody():
    async with (
        watched_conversation() as (owner, worker, token),
        connected() as slow,
        connected() as fast,
    ):
        for one in (slow, fast):
            await watch(one, token)
            await one.receive_types("INIT_SUCCESS")
        slow.transport.set(True)
        await worker.show(*range(26))
        for one in (owner, fast):
            numbers = [
                m["data"]["frame_timestamp"] // 40
                for m in await one.receive_types(*["VIDEO_FRAME"] * 26)
            ]
            assert numbers == list(range(26))
        assert await slow.receive_nothing()
        slow.transport.set(False)
        await worker.show(*range(26, 51))
        [first] = await slow.receive_types("VIDEO_FRAME")
        assert first["data"]["frame_timestamp"] == 50 * 40


async def test_a_fault_ends_one_watcher_alone(monkeypatch, caplog):
    async with (
        watched_conversation() as (owner, worker, token),
        connected() as one,
        connected() as other,
    ):
        for watcher in (one, other):
            await watch(watcher, token)
            await watcher.receive_types("INIT_SUCCESS")
        take, faults = Watcher.take, [RuntimeError("boom")]

        def failing(self):
            if faults:
                raise faults.pop()
            return take(self)

        monkeypatch.setattr(Watcher, "take", failing)
        await worker.show(0, 1)
        await owner.receive_types("VIDEO_FRAME", "VIDEO_FRAME")
        said = [await watcher.receive_message() for watcher in (one, other)]
        assert sorted(message["type"] for message in said) == ["ERROR", "VIDEO_FRAME"]
        assert "RuntimeError: boom" in caplog.text


@pytest.mark.parametrize(
    ("session_id", "user_id", "alter"),
    [
        (SESSION_ID, USER, lambda token: token[:-1] + ("a" if token[-1] != "a" else "b")),
        (SESSION_ID, USER, lambda token: "nonsense"),
        (SESSION_ID, USER, lambda token: ""),
        (OTHER_ID, USER, lambda token: token),
        (SESSION_ID, "mallory", lambda token: token),
        (SESSION_ID, USER, lambda token: signing.Signer(salt="streaming.resume").sign_object([1])),
        (SESSION_ID, USER, lambda token: signing.TimestampSigner(salt="x").sign_object([1])),
        (SESSION_ID, USER, lambda token: _older_session().issue(SESSION_ID)),
        (None, USER, lambda token: token),
    ],
)
async def test_what_does_not_fit_is_refused_and_another_init_may_follow(session_id, user_id, alter):
    async with watched_conversation() as (_, _, token), connected(user_id=user_id) as one:
        await watch(one, alter(token), session_id)
        [error] = await one.receive_types("ERROR")
        assert error["data"]["code"] == "INVALID_SESSION"
        await one.send_message("INIT", None, user_id=user_id)
        await LayerWorker().claim_session()
        await one.receive_types("INIT_SUCCESS")


def _older_session():
    """The tokens of a session of the same id that was opened earlier, and is over."""
    return SignedWatchTokens(SignedTokens(USER, timezone.now().timestamp() - 60))


def test_a_token_is_valid_for_an_hour(monkeypatch):
    tokens = SignedWatchTokens(SignedTokens(USER, 1_000.0))
    token = tokens.issue(SESSION_ID)
    assert tokens.admits(token, SESSION_ID.upper())
    now_s = signing.time.time()
    monkeypatch.setattr(signing.time, "time", lambda: now_s + VALID_S - 10)
    assert tokens.admits(token, SESSION_ID)
    monkeypatch.setattr(signing.time, "time", lambda: now_s + VALID_S + 10)
    assert not tokens.admits(token, SESSION_ID)


async def test_the_end_of_the_session_closes_its_watchers():
    async with watched_conversation() as (owner, _, token), connected() as one:
        await watch(one, token)
        await one.receive_types("INIT_SUCCESS")
        await owner.send_message("CLOSE")
        [ack] = await one.receive_types("CLOSE_ACK")
        assert ack["data"] == {"reason": "session_ended"}
        assert await one.closing() == 1000
        async with connected() as late:
            await watch(late, token)
            [error] = await late.receive_types("ERROR")
            assert error["data"]["code"] == "INVALID_SESSION"


async def test_an_owner_that_vanishes_is_waited_for(settings):
    settings.RESUME_S = 0.5
    async with watched_conversation() as (owner, _, token), connected() as one:
        await watch(one, token)
        await one.receive_types("INIT_SUCCESS")
        await owner.disconnect(code=1006, timeout=SOON_S)
        [warning] = await one.receive_types("WARNING")
        assert warning["data"] == {"reason": "owner_away", "in_ms": 500}
        await asyncio.sleep(0.5)
        [ack] = await one.receive_types("CLOSE_ACK")
        assert ack["data"] == {"reason": "session_ended"}
        assert await one.closing() == 1000


async def test_a_resumed_session_is_still_watched():
    async with connected() as newer, connected() as one:
        async with connected() as owner:
            await owner.connect(SOON_S)
            await owner.send_message(
                "INIT", user_id=USER, protocol_version="1.2", allow_watchers=True
            )
            worker = await LayerWorker().claim_session()
            [opened] = await owner.receive_types("INIT_SUCCESS")
            await watch(one, opened["data"]["watch"]["token"])
            await one.receive_types("INIT_SUCCESS")
            await worker.show(0, 1)
            await one.receive_types("VIDEO_FRAME", "VIDEO_FRAME")
            await owner.disconnect(code=1006, timeout=SOON_S)
        await one.receive_types("WARNING")
        await newer.connect(SOON_S)
        resume = {"protocol_version": "1.2", "resume_token": opened["data"]["resume"]["token"]}
        await newer.send_message("INIT", user_id=USER, **resume)
        second = await LayerWorker().claim_session()
        [resumed] = await newer.receive_types("INIT_SUCCESS")
        number = (await second.read()).next_frame
        await second.show(number, is_idr=True)
        await newer.receive_types("VIDEO_FRAME")
        [shown] = await one.receive_types("VIDEO_FRAME")
        assert shown["data"]["frame_timestamp"] == number * 40
        async with connected() as another:
            await watch(another, resumed["data"]["watch"]["token"])
            await another.receive_types("INIT_SUCCESS")


class FakeLeases:
    """Those of all machines, of which a test knows the answer."""

    def __init__(self):
        self.full = None
        self.taken = {}
        self.on_take = lambda: None

    async def take(self, member, limits):
        self.on_take()
        if self.full is None:
            self.taken[member] = dict(limits)
        return self.full

    def give_back(self, member):
        self.taken.pop(member, None)


async def test_watchers_are_counted_with_those_of_other_machines(registry):
    registry.leases = leases = FakeLeases()
    async with watched_conversation() as (_, _, token), connected() as one, connected() as two:
        session = dict(leases.taken)
        await watch(one, token)
        await one.receive_types("INIT_SUCCESS")
        [holders] = [taken for name, taken in leases.taken.items() if name not in session]
        assert holders == {f"watchers:{SESSION_ID.replace('-', '')}": 100}
        leases.full = "watchers"
        await watch(two, token)
        [error] = await two.receive_types("ERROR")
        assert error["data"]["details"]["reason"] == "watchers"
        await one.send_message("CLOSE")
        await one.receive_types("CLOSE_ACK")
        assert leases.taken.keys() == session.keys()


async def test_a_watcher_that_is_refused_after_all_is_not_counted(registry):
    registry.leases = leases = FakeLeases()
    async with watched_conversation() as (_, _, token), connected() as one:
        before = set(leases.taken)
        audience = registry.connection_of(SESSION_ID).session.audience
        leases.on_take = lambda: audience.end(is_shutdown=False)
        await watch(one, token)
        [error] = await one.receive_types("ERROR")
        assert error["data"]["code"] == "INVALID_SESSION"
        assert set(leases.taken) == before
