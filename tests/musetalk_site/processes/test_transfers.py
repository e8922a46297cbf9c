"""What becomes of a connection whose process dies before it was answered.

The supervisor is the real one; the processes are the other ends of its control sockets.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from musetalk_site.processes import transfers
from musetalk_site.processes.messages import (
    AdoptConnection,
    Beat,
    ConnectionAnswered,
    PlaceConnection,
    SupervisorMessage,
)
from musetalk_site.processes.supervisor import Supervisor
from musetalk_site.processes.transfers import MAX_KEPT, NOT_KEPT, TRIES, Transfers

HEAD = b"GET /stream HTTP/1.1\r\n\r\n"
REQUEST = PlaceConnection(HEAD)


class FakeProcess:
    """An app process: its end of the control socket, and how it ends."""

    def __init__(self, number: int, control: socket.socket) -> None:
        self.number, self.pid = number, 10_000 + number
        self.control = control
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    def signal(self, _: int) -> None:
        self.die()

    def die(self) -> None:
        if not self._ended.done():
            self.control.close()
            self._ended.set_result(-9)

    def send(self, message: msgspec.Struct, descriptor: int | None = None) -> None:
        packet = msgspec.msgpack.encode(message)
        socket.send_fds(self.control, [packet], [] if descriptor is None else [descriptor])

    def is_ready(self, streams: int = 0) -> None:
        self.send(Beat(streams=streams, adopted=0, speaking=0, is_ready=True))

    async def adopted(self) -> tuple[AdoptConnection, int]:
        """The next connection that it is sent, and its descriptor."""
        decoder = msgspec.msgpack.Decoder(SupervisorMessage)
        async with asyncio.timeout(5):
            while True:
                with suppress(BlockingIOError):
                    packet, descriptors, _, _ = socket.recv_fds(self.control, 65_536, 1)
                    message = decoder.decode(packet)
                    if isinstance(message, AdoptConnection):
                        return message, descriptors[0]
                await asyncio.sleep(0.001)


class FakeForks:
    """Starts them."""

    def __init__(self) -> None:
        self.running: dict[int, FakeProcess] = {}

    def start(self) -> None: ...

    def close(self) -> None: ...

    async def fork(self, number: int, control: socket.socket, _: object) -> FakeProcess:
        own = control.dup()
        own.setblocking(False)
        self.running[number] = FakeProcess(number, own)
        return self.running[number]


@pytest.fixture
async def forks() -> AsyncIterator[FakeForks]:
    """Of a supervisor that has two processes, both ready."""
    forks = FakeForks()
    supervisor = Supervisor(2, forks)  # type: ignore[arg-type]  # all that it uses
    run = asyncio.create_task(supervisor.run())
    await until(lambda: len(forks.running) == 2)
    for process in forks.running.values():
        process.is_ready()
    yield forks
    supervisor.stop()
    await run


class Connection:
    """A client's connection; `served` is the end that processes give to each other."""

    def __init__(self) -> None:
        self.client, self.served = socket.socketpair()
        self.client.settimeout(5)

    def close(self) -> None:
        self.client.close()
        self.served.close()


Connect = Callable[[], Connection]


@pytest.fixture
def connect() -> Iterator[Connect]:
    made: list[Connection] = []

    def connection() -> Connection:
        made.append(Connection())
        return made[-1]

    yield connection
    for each in made:
        each.close()


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110  another task's doing
            await asyncio.sleep(0.001)


def ask(process: FakeProcess, connection: Connection) -> None:
    process.send(REQUEST, connection.served.fileno())
    connection.served.close()


def answer(process: FakeProcess, adopted: tuple[AdoptConnection, int]) -> None:
    message, descriptor = adopted
    assert message.head == HEAD
    os.write(descriptor, b"answer")
    os.close(descriptor)
    process.send(ConnectionAnswered(message.transfer))


async def test_a_process_that_dies_with_a_connection_costs_it_nothing(
    forks: FakeForks, connect: Connect
) -> None:
    before = open_descriptors()
    connection = connect()
    forks.running[1].is_ready(streams=5)
    await asyncio.sleep(0.01)
    ask(forks.running[1], connection)
    _, descriptor = await forks.running[0].adopted()
    os.close(descriptor)
    forks.running[0].die()
    answer(forks.running[1], await forks.running[1].adopted())
    assert await asyncio.to_thread(connection.client.recv, 100) == b"answer"
    assert await asyncio.to_thread(connection.client.recv, 100) == b"", "nobody keeps it open"
    connection.close()
    await until(lambda: open_descriptors() <= before + 1)  # of the one that was started


async def test_what_a_process_sent_before_it_died_is_placed(
    forks: FakeForks, connect: Connect
) -> None:
    connections = [connect() for _ in range(20)]
    for connection in connections:
        ask(forks.running[0], connection)
    forks.running[0].die()
    for connection in connections:
        answer(forks.running[1], await forks.running[1].adopted())
        assert await asyncio.to_thread(connection.client.recv, 100) == b"answer"


async def test_where_all_processes_are_gone_it_waits_for_the_next(
    forks: FakeForks, connect: Connect
) -> None:
    connection = connect()
    first = dict(forks.running)
    ask(first[0], connection)
    for process in first.values():
        process.die()
    await until(lambda: all(forks.running[n] is not first[n] for n in first))
    forks.running[1].is_ready()
    answer(forks.running[1], await forks.running[1].adopted())
    assert await asyncio.to_thread(connection.client.recv, 100) == b"answer"


def test_a_request_that_kills_its_processes_is_refused(connect: Connect) -> None:
    kept, connection = Transfers(), connect()
    transfer = kept.begin(connection.served.fileno(), REQUEST, asker=0, now_s=0)
    connection.served.close()
    for number in range(TRIES):
        assert kept.waiting(0) == [transfer]
        transfer.process, transfer.tries = number, transfer.tries + 1
        kept.process_ended(number)
    assert kept.waiting(0) == []
    assert connection.client.recv(1_000).startswith(b"HTTP/1.1 503 ")
    assert len(kept) == 0


def test_nothing_is_kept_for_long(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "KEEP_S", 1.0)
    kept = Transfers()
    slow, lost = connect(), connect()
    kept.begin(slow.served.fileno(), REQUEST, asker=0, now_s=0).process = 1
    kept.begin(lost.served.fileno(), REQUEST, asker=0, now_s=0.5)
    assert len(kept.waiting(1.0)) == 1
    assert len(kept) == 2
    assert kept.waiting(1.6) == []
    assert len(kept) == 0
    assert lost.client.recv(1_000).startswith(b"HTTP/1.1 503 ")
    slow.served.send(b"answer")
    assert slow.client.recv(1_000) == b"answer", "its process may still be about to answer"


def test_as_many_are_kept_as_there_is_room_for(connect: Connect) -> None:
    kept = Transfers()
    connection = connect()
    before = open_descriptors()
    for _ in range(MAX_KEPT):
        assert kept.begin(connection.served.fileno(), REQUEST, asker=0, now_s=0).number
    one_more = kept.begin(connection.served.fileno(), REQUEST, asker=0, now_s=0)
    assert one_more.number == NOT_KEPT
    assert one_more.descriptor == connection.served.fileno(), "it can be sent all the same"
    kept.end(NOT_KEPT)
    kept.end(1)
    assert kept.begin(connection.served.fileno(), REQUEST, asker=0, now_s=0).number > MAX_KEPT
    kept.close()
    assert open_descriptors() == before
