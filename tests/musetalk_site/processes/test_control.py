"""Messages and descriptors between two ends of a control socket."""

import asyncio
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from musetalk_site.processes.control import MAX_QUEUED, ControlSocket, PeerGone, control_pair
from musetalk_site.processes.messages import (
    MAX_BYTES,
    AdoptConnection,
    PlaceConnection,
    ProcessMessage,
    SessionOwned,
    SupervisorMessage,
)


class Pair:
    """A supervisor's end and a process's, and what each has received."""

    def __init__(self) -> None:
        ours, theirs = control_pair()
        self.at_supervisor: list[tuple[ProcessMessage, bytes | None]] = []
        self.at_process: list[tuple[SupervisorMessage, bytes | None]] = []
        self.ended: list[str] = []
        self.supervisor = ControlSocket(
            ours,
            msgspec.msgpack.Decoder(ProcessMessage),
            on_message=lambda m, d: self.at_supervisor.append((m, _content(d))),
            on_end=lambda: self.ended.append("process"),
        )
        self.process = ControlSocket(
            theirs,
            msgspec.msgpack.Decoder(SupervisorMessage),
            on_message=lambda m, d: self.at_process.append((m, _content(d))),
            on_end=lambda: self.ended.append("supervisor"),
        )


def _content(descriptor: int | None) -> bytes | None:
    if descriptor is None:
        return None
    try:
        return os.pread(descriptor, 100, 0)
    finally:
        os.close(descriptor)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(5_000):
        if holds():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never became so")


@pytest.fixture
async def pair():
    pair = Pair()
    pair.supervisor.start()
    pair.process.start()
    yield pair
    pair.supervisor.close()
    pair.process.close()


async def test_a_descriptor_stays_with_its_message(pair):
    with tempfile.TemporaryFile() as one, tempfile.TemporaryFile() as two:
        for file, text in ((one, b"one"), (two, b"two")):
            file.write(text)
            file.flush()
        pair.process.send(PlaceConnection(b"GET 1"), one.fileno())
        pair.process.send(PlaceConnection(b"GET 2", session="s"))
        pair.process.send(PlaceConnection(b"GET 3"), two.fileno())
        await until(lambda: len(pair.at_supervisor) == 3)
    assert pair.at_supervisor == [
        (PlaceConnection(b"GET 1"), b"one"),
        (PlaceConnection(b"GET 2", session="s"), None),
        (PlaceConnection(b"GET 3"), b"two"),
    ]


async def test_what_the_socket_cannot_take_waits(pair):
    """Thousands of messages before the other end reads one, in order, descriptors included."""
    with tempfile.TemporaryFile() as file:
        file.write(b"kept")
        file.flush()
        for number in range(900):
            pair.supervisor.send(SessionOwned(number, is_granted=True))
        pair.supervisor.send(AdoptConnection(b"x" * 100_000, 1), file.fileno())
        before = open_descriptors()
    await until(lambda: len(pair.at_process) == 901)
    numbers = [m.request for m, _ in pair.at_process if isinstance(m, SessionOwned)]
    assert numbers == list(range(900))
    assert pair.at_process[-1] == (AdoptConnection(b"x" * 100_000, 1), b"kept")
    assert open_descriptors() <= before


async def test_a_peer_that_reads_nothing_counts_as_gone(pair):
    def send_without_end() -> None:
        for number in range(MAX_QUEUED + 10_000):
            pair.supervisor.send(SessionOwned(number, is_granted=True))

    with pytest.raises(PeerGone):
        send_without_end()


async def test_the_end_of_the_other_process_is_noticed_once(pair):
    pair.process.close()
    await until(lambda: bool(pair.ended))
    assert pair.ended == ["process"]
    with pytest.raises(PeerGone):
        pair.supervisor.send(SessionOwned(1, is_granted=True))


async def test_a_message_that_is_too_large_is_refused(pair):
    with pytest.raises(ValueError, match="PlaceConnection"):
        pair.process.send(PlaceConnection(b"x" * MAX_BYTES))
