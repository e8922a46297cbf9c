"""Streams of a server that asks who opens them."""

import asyncio
import base64
import json
import os
import time
import urllib.request
import wave
from pathlib import Path
from typing import Any

import jwt
import pytest
import websockets
from django.utils import timezone

from avatars_app.access.api_keys import make_key
from avatars_app.models import ApiKey
from talking_avatar import AvatarClient, SessionRefused
from tests.e2e.conftest import DatabaseOf, Serve, Start
from tests.e2e.talking import ONE_AND_TWO_PROCESSES, Server, Stream

SECRET = "a secret of thirty-two bytes or more"


@pytest.fixture
def server(share: Serve) -> Server:
    return share(AUTH="true", AUTH_SECRET=SECRET)


def token(sub: str = "ann", **claims: Any) -> str:
    payload = {"sub": sub, "exp": int(time.time()) + 60, **claims}
    return jwt.encode(payload, SECRET, algorithm="HS256")


async def opened(
    server: Server, user_id: str, credential: str | None = None, **options: Any
) -> tuple[Stream, dict[str, Any]]:
    """A stream and the server's first answer to its INIT."""
    uri = f"{server.address}/musetalk/v1/ws/{user_id}"
    stream = Stream(await websockets.connect(uri, max_size=None, **options))
    fields = {} if credential is None else {"auth_token": credential}
    await stream.send("INIT", user_id=user_id, protocol_version="1.2", **fields)
    return stream, await asyncio.wait_for(stream.next(), 10)


async def refused(stream: Stream, answer: dict[str, Any]) -> str:
    assert answer["data"]["code"] == "UNAUTHORIZED", answer
    _, code = await stream.end()
    assert code == 4401
    return str(answer["data"]["message"])


@pytest.mark.parametrize(
    ("more", "status", "says"),
    [(["--token", token()], 0, "frames per second"), ([], 1, "UNAUTHORIZED")],
    ids=["with a token", "without"],
)
def test_a_person_at_the_command_line_may_have_a_token(
    server: Server, start: Start, tmp_path: Path, more: list[str], status: int, says: str
) -> None:
    path = tmp_path / "hum.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(16_000))
    process = start(
        *("manage.py", "talk", "--server", server.address, "--user-id", "ann"),
        *("--audio-file", str(path), "--fast", *more),
    )
    assert process.wait(30) == status, process.output
    assert says in process.output


async def test_nobody_and_strangers_get_no_stream(server: Server) -> None:
    for credential, words in (
        (None, "asks who you are"),
        ("nonsense", "not valid"),
        (token("bob"), "not for streams of ann"),
        (token(exp=1), "expired"),
        (jwt.encode({"sub": "ann", "exp": 2**31}, "x" * 32, "HS256"), "not valid"),
    ):
        assert words in await refused(*await opened(server, "ann", credential))


async def test_every_way_to_bring_a_token(server: Server) -> None:
    good = token()
    for credential, options in (
        (good, {}),
        (None, {"additional_headers": {"Authorization": f"Bearer {good}"}}),
        (None, {"subprotocols": [f"bearer.{good}", "musetalk.v1.json"]}),
    ):
        stream, answer = await opened(server, "ann", credential, **options)
        assert answer["type"] == "INIT_SUCCESS", answer
        assert stream.socket.subprotocol in (None, "musetalk.v1.json")
        await stream.socket.close()
    stream, answer = await opened(server, "ann", None, subprotocols=["bearer.nonsense"])
    await refused(stream, answer)


async def test_a_session_is_its_subject_s_own(server: Server) -> None:
    ann, answer = await opened(server, "ann", token())
    resume = answer["data"]["resume"]["token"]
    other = token("eve", avatars=["ann"])
    for extra in ({}, {"resume_token": resume}):
        stream, _ = await opened(server, "ann")
        await stream.socket.close()
        uri = f"{server.address}/musetalk/v1/ws/ann"
        stream = Stream(await websockets.connect(uri, max_size=None))
        stream.session_id = ann.session_id
        await stream.send("INIT", user_id="ann", protocol_version="1.2", auth_token=other, **extra)
        answer = await asyncio.wait_for(stream.next(), 10)
        assert answer["data"]["code"] == "INVALID_SESSION", answer
        await stream.socket.close()
    await ann.frames(5)
    await ann.socket.close()


async def test_a_token_may_say_when_its_session_ends(server: Server) -> None:
    stream, answer = await opened(server, "ann", token(session_exp=time.time() + 4))
    assert answer["type"] == "INIT_SUCCESS"
    messages, code = await asyncio.wait_for(stream.end(), 10)
    assert code == 4401
    warnings = [m["data"] for m in messages if m["type"] == "WARNING"]
    assert [w["reason"] for w in warnings] == ["token"]
    assert [m["data"]["code"] for m in messages if m["type"] == "ERROR"] == ["UNAUTHORIZED"]


def new_key(server: Server, database_of: DatabaseOf) -> str:
    key, prefix, digest = make_key()
    with database_of(server) as database:
        ApiKey.objects.using(database).create(name="test", prefix=prefix, digest=digest)
    return key


def revoke_keys(server: Server, database_of: DatabaseOf) -> None:
    with database_of(server) as database:
        ApiKey.objects.using(database).update(revoked_at=timezone.now())


def token_for_ann(server: Server, key: str) -> str:
    """What a back end would hand to its user's page."""
    request = urllib.request.Request(
        f"{server.origin}/tokens",
        data=b"user_id=ann",
        headers={"Authorization": f"Bearer {key}"},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        return str(json.loads(answer.read())["token"])


@pytest.mark.parametrize("processes", ONE_AND_TWO_PROCESSES)
async def test_a_revoked_key_ends_its_sessions(
    share: Serve, database_of: DatabaseOf, processes: str
) -> None:
    server = share(AUTH="true", AUTH_SECRET=SECRET, PROCESSES=processes)
    key = await asyncio.to_thread(new_key, server, database_of)
    handed = await asyncio.to_thread(token_for_ann, server, key)
    streams = [await opened(server, "ann", credential) for credential in (key, handed)]
    assert [answer["type"] for _, answer in streams] == ["INIT_SUCCESS"] * 2
    await asyncio.to_thread(revoke_keys, server, database_of)
    revoked_s = time.monotonic()
    # Both are read at once: one that nobody reads would be disconnected for that.
    ends = await asyncio.gather(*(asyncio.wait_for(s.end(), 10) for s, _ in streams))
    for messages, code in ends:
        assert code == 4401, messages[-3:]
    assert time.monotonic() - revoked_s < 5
    for credential in (key, handed):
        assert "revoked" in await refused(*await opened(server, "ann", credential))


async def too_many(stream: Stream, answer: dict[str, Any]) -> dict[str, Any]:
    """The details of a refusal by a limit."""
    assert answer["data"]["code"] == "RATE_LIMIT_EXCEEDED", answer
    _, code = await stream.end()
    assert code == 4429
    return dict(answer["data"]["details"])


@pytest.mark.parametrize("processes", ONE_AND_TWO_PROCESSES)
async def test_sessions_of_one_subject_are_bounded(serve: Serve, processes: str) -> None:
    server = serve(
        AUTH="true",
        AUTH_SECRET=SECRET,
        MAX_SESSIONS_PER_SUBJECT="3",
        MAX_CONNECTIONS_PER_SUBJECT="6",
        PROCESSES=processes,
    )
    server.wait_until_it_takes_sessions()
    anns = [await opened(server, "ann", token()) for _ in range(3)]
    assert [answer["type"] for _, answer in anns] == ["INIT_SUCCESS"] * 3
    details = await too_many(*await opened(server, "ann", token()))
    assert details == {"reason": "sessions_per_subject", "retry_after_ms": 5_000}
    bob, answer = await opened(server, "bob", token("bob"))
    assert answer["type"] == "INIT_SUCCESS"
    await anns.pop()[0].socket.close()
    again, answer = await opened(server, "ann", token())
    assert answer["type"] == "INIT_SUCCESS"
    await too_many(*await opened(server, "ann", token()))
    details = await too_many(*await opened(server, "ann", token()))
    assert details["reason"] == "connections_per_subject"
    assert 0 < details["retry_after_ms"] <= 60_000
    for stream in (bob, again, *(each for each, _ in anns)):
        await stream.socket.close()


@pytest.mark.parametrize("processes", ONE_AND_TWO_PROCESSES)
async def test_speech_of_one_subject_is_bounded(serve: Serve, processes: str) -> None:
    server = serve(
        AUTH="true",
        AUTH_SECRET=SECRET,
        MAX_QUEUED_SPEECH_PER_SUBJECT_S="40",
        PROCESSES=processes,
    )
    server.wait_until_it_takes_sessions()
    ten_s = base64.b64encode(bytes(10 * 32_000)).decode()
    chunk = {"format": "pcm_s16le", "sample_rate": 16_000, "channels": 1, "data": ten_s}
    one, two = [(await opened(server, "ann", token()))[0] for _ in range(2)]
    sessions = json.loads((await asyncio.to_thread(server.get, "/sessions"))[1])["active_sessions"]
    workers = {sessions[stream.session_id]["worker"] for stream in (one, two)}
    assert len(workers) == int(processes)
    for _ in range(3):
        await one.send("GENERATE", audio_chunk=chunk)
    await one.wait_for("SPEECH_STARTED")
    one.socket.transport.abort()  # it waits to be resumed, and so does its speech
    await asyncio.sleep(1.5)  # a process tells the others each second
    for _ in range(6):
        await two.send("GENERATE", audio_chunk=chunk)
    refusals = []
    async with asyncio.timeout(10):
        while len(refusals) < 5:  # alone it might have four of them
            if (message := await two.next())["type"] == "ERROR":
                refusals.append(message["data"]["details"]["reason"])
    assert refusals == ["speech_per_subject"] * 5
    two.socket.transport.abort()


@pytest.mark.lasting
async def test_sessions_of_one_subject_are_bounded_over_all_machines(
    start: Start, serve: Serve, redis_url: str
) -> None:
    shared = {"CHANNEL_REDIS_URL": redis_url, "SECRET_KEY": "one of all machines"}
    start("manage.py", "runworker", "inference", **shared).wait_for("takes sessions")
    limits = {"AUTH": "true", "AUTH_SECRET": SECRET, "MAX_SESSIONS_PER_SUBJECT": "2"}
    here, there = (serve("--no-worker", **shared, **limits) for _ in range(2))
    ann = token(f"ann-{os.getpid()}", avatars=["ann"])
    one, answer = await opened(here, "ann", ann)
    assert answer["type"] == "INIT_SUCCESS"
    two, answer = await opened(there, "ann", ann)
    assert answer["type"] == "INIT_SUCCESS"
    for server in (here, there):
        details = await too_many(*await opened(server, "ann", ann))
        assert details == {"reason": "sessions_per_subject", "retry_after_ms": 5_000}
    await one.send("CLOSE")
    await one.end()
    async with asyncio.timeout(20):  # the other machine learns of it beside
        while (three := await opened(there, "ann", ann))[1]["type"] != "INIT_SUCCESS":
            await too_many(*three)
    await too_many(*await opened(here, "ann", ann))
    for stream in (one, two, three[0]):
        await stream.socket.close()
    for server in (here, there):
        assert await asyncio.to_thread(server.process.end) == 0
        assert "Traceback" not in server.process.output, server.process.output[-3_000:]


async def test_an_address_is_bounded_if_the_settings_say_so(serve: Serve) -> None:
    server = serve(TRUSTED_PROXIES="127.0.0.1", MAX_SESSIONS_PER_ADDRESS="1")
    server.wait_until_it_takes_sessions()
    elsewhere: dict[str, Any] = {"additional_headers": {"X-Forwarded-For": "203.0.113.9"}}
    first, answer = await opened(server, "ann", **elsewhere)
    assert answer["type"] == "INIT_SUCCESS"
    details = await too_many(*await opened(server, "bob", **elsewhere))
    assert details["reason"] == "sessions_per_address"
    unnamed = [await opened(server, "bob") for _ in range(2)]
    assert [answer["type"] for _, answer in unnamed] == ["INIT_SUCCESS"] * 2
    for stream in (first, *(each for each, _ in unnamed)):
        await stream.socket.close()


async def test_a_watch_token_needs_no_other_credential(server: Server) -> None:
    uri = f"{server.address}/musetalk/v1/ws/ann"
    owner = Stream(await websockets.connect(uri, max_size=None))
    await owner.send(
        "INIT",
        user_id="ann",
        protocol_version="1.2",
        auth_token=token(),
        allow_watchers=True,
        receive=["events"],
    )
    answer = await asyncio.wait_for(owner.next(), 10)
    watch_token = answer["data"]["watch"]["token"]
    watcher = Stream(await websockets.connect(f"{uri}?session={owner.session_id}", max_size=None))
    watcher.session_id = owner.session_id
    for given, expected in ((watch_token[:-1] + "~", "ERROR"), (watch_token, "INIT_SUCCESS")):
        await watcher.send("INIT", user_id="ann", role="watch", watch_token=given)
        assert (await asyncio.wait_for(watcher.next(), 10))["type"] == expected
    assert len(await asyncio.wait_for(watcher.frames(5), 10)) == 5
    await watcher.send("INTERRUPT")
    while (message := await watcher.next())["type"] == "VIDEO_FRAME":
        pass
    assert message["data"]["code"] == "INVALID_SESSION"
    await owner.socket.close()
    messages, code = await watcher.end()
    assert (messages[-1]["data"], code) == ({"reason": "session_ended"}, 1000)


@pytest.mark.parametrize("processes", ONE_AND_TWO_PROCESSES)
async def test_the_owner_gets_more_watch_tokens(share: Serve, processes: str) -> None:
    server = share(AUTH="true", AUTH_SECRET=SECRET, PROCESSES=processes)
    address, own = server.address, token()
    async with (
        AvatarClient(address, "ann", token=own, allow_watchers=True) as owner,
        AvatarClient(address, "ann", token=own) as unwatched,
        AvatarClient(address, "ann", token=token("eve", avatars=["ann"])) as eve,
    ):
        first = await owner.new_watch_token()
        owner.abort()  # a token of a session that was resumed fits it, too
        async with asyncio.timeout(10):
            async for event in owner.events():
                if type(event).__name__ == "Resumed":
                    break
        for watch_token in (first, await owner.new_watch_token(), owner.watch_token):
            async with AvatarClient.watch(address, "ann", owner.session_id, watch_token) as watcher:
                async with asyncio.timeout(10):
                    assert (await anext(watcher.frames())).is_keyframe
        with pytest.raises(SessionRefused, match="allow_watchers"):
            await unwatched.new_watch_token()
        eve._state.session_id = owner.session_id
        with pytest.raises(SessionRefused, match="HTTP 404"):
            await eve.new_watch_token()
        eve._state.auth_token = None
        with pytest.raises(SessionRefused, match="HTTP 401"):
            await eve.new_watch_token()
