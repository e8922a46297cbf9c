"""The tamed server, as a real process with real sockets."""

import asyncio
import contextlib
import json
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets

from musetalk_site.server.backpressure import MESSAGE_BURST, MESSAGES_PER_S
from tests.processes import Process, free_port

pytestmark = pytest.mark.slow
UPGRADE = (
    b"GET /echo HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SCRIPT = str(Path(__file__).with_name("flooding_server.py"))


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def server(port: int) -> Iterator[Process]:
    process = Process(SCRIPT, str(port))
    process.wait_for("started")
    yield process
    process.kill()


async def report_of(client: websockets.ClientConnection) -> tuple[int, dict[str, Any]]:
    """How many pictures still came, and what the server says of them."""
    await client.send("how much?")
    pictures = 0
    while not (isinstance(message := await client.recv(), str) and message.startswith("{")):
        pictures += isinstance(message, bytes)
    return pictures, json.loads(message)


async def test_a_client_that_reads_nothing_costs_no_memory(server: Process, port: int) -> None:
    # Little is read ahead by the client itself, so that the server feels it at once.
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    uri = f"ws://127.0.0.1:{port}/flood"
    async with websockets.connect(uri, sock=sock, max_queue=1, ping_interval=None) as client:
        before_bytes = server.memory_bytes()
        await asyncio.sleep(2)
        assert server.memory_bytes() - before_bytes < 8_000_000

        received, report = await report_of(client)
    assert report["left_out"] > 0
    assert report["changes"][0] is True
    assert received == report["sent"]


async def test_a_client_that_sends_too_fast_waits_and_loses_nothing(
    server: Process, port: int
) -> None:
    message = "x" * 250_000
    async with websockets.connect(f"ws://127.0.0.1:{port}/slow", ping_interval=None) as client:

        async def send_all() -> None:
            for n in range(400):
                await client.send(f"{n:010}{message}")

        sending = asyncio.create_task(send_all())
        before_bytes = server.memory_bytes()
        largest_bytes = 0
        for n in range(400):
            assert await client.recv() == f"{n:010}"
            largest_bytes = max(largest_bytes, server.memory_bytes())
        await sending
    # 2 MiB wait at most, beside what is on its way; all of them would be 100 MB, 16 of them 4 MB.
    assert largest_bytes - before_bytes < 12_000_000


async def test_a_client_is_read_no_further_while_two_megabytes_of_it_wait(
    server: Process, port: int
) -> None:
    """Beyond it the client's bytes stay in the kernels of both sides, and then with the client."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, UPGRADE.replace(b"/echo", b"/stuck"))
    assert b"101" in await loop.sock_recv(sock, 4_096)
    size_bytes = 1_000_000
    message = struct.pack(">BBQ", 0x81, 0x80 | 127, size_bytes) + bytes(4) + b"x" * size_bytes
    before_bytes = server.memory_bytes()
    taken_bytes = 0
    with contextlib.suppress(TimeoutError):
        while taken_bytes < 50_000_000:  # until a second passes in which nothing is taken
            async with asyncio.timeout(1):
                await loop.sock_sendall(sock, message)
            taken_bytes += len(message)
    sock.close()
    assert taken_bytes > 2_000_000
    assert server.memory_bytes() - before_bytes < 12_000_000


async def test_a_client_that_reads_misses_nothing(server: Process, port: int) -> None:
    async with websockets.connect(f"ws://127.0.0.1:{port}/flood", max_size=None) as client:
        for _ in range(50):
            assert len(await client.recv()) == 50_000
        _, report = await report_of(client)
    assert report["left_out"] < report["sent"]


async def test_a_client_that_continues_reading_nothing_is_dropped(port: int) -> None:
    server = Process(SCRIPT, str(port), "--impatient")
    server.wait_for("started")
    async with websockets.connect(f"ws://127.0.0.1:{port}/flood", ping_interval=None) as client:
        client.transport.pause_reading()
        await asyncio.to_thread(server.wait_for, "dropped a client", 15)
        client.transport.abort()
    assert await asyncio.to_thread(server.end) == 0
    server.kill()


async def test_too_large_a_message_is_reported_with_1009(server: Process, port: int) -> None:
    async with websockets.connect(f"ws://127.0.0.1:{port}/echo", max_size=None) as client:
        await client.send("x" * 1_048_576)
        assert await client.recv() == "x" * 10
        await client.send("x" * 1_048_577)
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await client.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


async def say_and_listen(client: websockets.ClientConnection, parts: Iterator[str]) -> None:
    await client.send(parts)
    await client.recv()


async def test_a_large_message_in_fragments_is_reported_with_1009(
    server: Process, port: int
) -> None:
    async with websockets.connect(f"ws://127.0.0.1:{port}/echo", max_size=None) as client:
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await say_and_listen(client, ("x" * 4_000 for _ in range(300)))
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


@pytest.mark.parametrize("opcode", ["ping", "pong", "fragment"])
async def test_a_flood_of_small_frames_ends_its_own_connection_alone(
    server: Process, port: int, opcode: str
) -> None:
    """Each frame costs its sender 6 bytes, and the server more than that."""
    opcodes = {"ping": b"\x89", "pong": b"\x8a", "fragment": b"\x00"}
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(UPGRADE)
    assert b"101" in await reader.readuntil(b"\r\n\r\n")
    begin = b"\x01\x80\0\0\0\0" if opcode == "fragment" else b""
    async with websockets.connect(f"ws://127.0.0.1:{port}/echo") as other:
        writer.write(begin + 200_000 * (opcodes[opcode] + b"\x80\0\0\0\0"))
        slowest_s = 0.0
        for _ in range(20):
            began_s = asyncio.get_running_loop().time()
            await other.send("hello")
            await other.recv()
            slowest_s = max(slowest_s, asyncio.get_running_loop().time() - began_s)
            await asyncio.sleep(0.02)
        assert slowest_s < 0.5
    with contextlib.suppress(ConnectionError):
        while await asyncio.wait_for(reader.read(65_536), 5):
            pass
    writer.close()


async def test_a_flood_of_tiny_messages_holds_up_nobody(server: Process, port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(UPGRADE)
    assert b"101" in await reader.readuntil(b"\r\n\r\n")
    async with websockets.connect(f"ws://127.0.0.1:{port}/echo") as other:
        writer.write(100_000 * b"\x81\x82\0\0\0\0{}")
        slowest_s = 0.0
        for _ in range(40):
            began_s = asyncio.get_running_loop().time()
            await other.send("hello")
            await other.recv()
            slowest_s = max(slowest_s, asyncio.get_running_loop().time() - began_s)
            await asyncio.sleep(0.02)
    began_s = asyncio.get_running_loop().time()
    answers = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(3):
            while piece := await reader.read(65_536):
                answers += piece.count(b"{}")
    took_s = asyncio.get_running_loop().time() - began_s
    writer.close()
    assert slowest_s < 0.5
    assert 0 < answers < MESSAGE_BURST + 3 * MESSAGES_PER_S * took_s, "it is read on, at its rate"


async def test_a_fault_of_the_application_is_reported_with_4500(server: Process, port: int) -> None:
    async with websockets.connect(f"ws://127.0.0.1:{port}/raise") as client:
        await client.send("hello")
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await client.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4500


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("age_s", [0.0, 0.2, 1.5])
async def test_it_ends_cleanly_whatever_a_connections_age(
    server: Process, port: int, number: signal.Signals, age_s: float
) -> None:
    async with websockets.connect(f"ws://127.0.0.1:{port}/echo") as client:
        # A plain request that keeps its connection is listed without an application.
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        await reader.readuntil(b"here")
        await asyncio.sleep(age_s)
        server.send(number)
        assert await client.recv() == "goodbye"
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4012
        writer.close()
    assert await asyncio.to_thread(server.wait) == 0
    assert "ended\nrun returned" in server.output
    assert "Traceback" not in server.output


async def test_a_second_signal_changes_nothing(server: Process, port: int) -> None:
    async with websockets.connect(f"ws://127.0.0.1:{port}/echo") as client:
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            server.send(number)
        assert await client.recv() == "goodbye"
    assert await asyncio.to_thread(server.wait) == 0
    assert "Traceback" not in server.output


async def test_it_ends_though_a_client_never_answers(server: Process, port: int) -> None:
    async with websockets.connect(f"ws://127.0.0.1:{port}/echo") as client:
        client.transport.pause_reading()
        assert await asyncio.to_thread(server.end) == 0
        assert "ended\nrun returned" in server.output
        client.transport.abort()


def test_a_port_in_use_stops_the_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = Process(SCRIPT, str(taken.getsockname()[1]))
        assert process.wait(30) == 1
    assert "Address already in use" in process.output
    process.kill()


def test_a_failed_start_is_raised(port: int) -> None:
    process = Process(SCRIPT, str(port), "--fail")
    assert process.wait(30) == 1
    assert "StartFailed: the engine is not there" in process.output
    process.kill()
