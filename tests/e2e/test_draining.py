"""`DRAIN_S`: after SIGTERM sessions continue for a while, and nobody new is sent here."""

import asyncio
import signal
import time

import pytest
import websockets

from tests.e2e.talking import Stream

pytestmark = pytest.mark.slow


@pytest.mark.lasting
@pytest.mark.parametrize("processes", ["1", "2"])
async def test_sessions_continue_until_their_time_is_over(serve, processes: str) -> None:
    server = serve(PROCESSES=processes, DRAIN_S="4")
    server.wait_until_it_takes_sessions()
    async with server.stream("ann") as old:
        await old.wait_for("INIT_SUCCESS")
        uri = f"{server.address}/musetalk/v1/ws/bob"
        async with websockets.connect(uri, max_size=None) as socket:
            stream = Stream(socket)
            await stream.send("INIT", user_id="bob", protocol_version="1.2")
            await stream.wait_for("INIT_SUCCESS")
            server.process.send(signal.SIGTERM)
            began_s = time.monotonic()
            warning = await asyncio.wait_for(stream.wait_for("WARNING"), 5)
            assert warning == {"reason": "draining", "in_ms": 4_000}
            await asyncio.wait_for(stream.frames(25), 5)
            assert (await asyncio.to_thread(server.get, "/readyz"))[0] == 503
            (_, code), (messages, other) = await asyncio.gather(stream.end(), old.end())
            assert (code, other) == (4012, 4012)
            assert all(message["type"] != "WARNING" for message in messages), "it is of 1.1"
    assert await asyncio.to_thread(server.process.wait, 10) == 0, server.process.output
    assert 3.5 < time.monotonic() - began_s < 12


@pytest.mark.lasting
async def test_it_ends_with_the_last_stream(serve) -> None:
    server = serve(DRAIN_S="60")
    server.wait_until_it_takes_sessions()
    async with server.stream("ann") as stream:
        await stream.wait_for("INIT_SUCCESS")
        server.process.send(signal.SIGTERM)
        await asyncio.sleep(1)
        await stream.frames(5)
        await stream.send("CLOSE")
        await stream.end()
    assert await asyncio.to_thread(server.process.wait, 10) == 0, server.process.output


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize(
    "signals",
    [(signal.SIGTERM, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT), (signal.SIGINT,)],
    ids=["SIGTERM twice", "SIGTERM and SIGINT", "SIGINT"],
)
async def test_a_second_signal_or_an_interrupt_ends_it_at_once(
    serve, processes: str, signals: tuple[signal.Signals, ...]
) -> None:
    server = serve(PROCESSES=processes, DRAIN_S="60")
    server.wait_until_it_takes_sessions()
    async with server.stream("ann") as stream:
        await stream.wait_for("INIT_SUCCESS")
        for number in signals[:-1]:
            server.process.send(number)
            await asyncio.sleep(0.5)
        server.process.send(signals[-1])
        _, code = await asyncio.wait_for(stream.end(), 5)
        assert code == 4012
    assert await asyncio.to_thread(server.process.wait, 10) == 0, server.process.output
