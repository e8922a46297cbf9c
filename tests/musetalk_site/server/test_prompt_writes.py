"""What is written goes out at once while there is room, and in order in any case."""

import socket
from collections.abc import Iterator

import pytest
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection

from musetalk_site.server import prompt_writes


class Watched:
    """What a transport asks of a reactor: the test is the event loop."""

    def __init__(self) -> None:
        self.writers: set[object] = set()

    def addWriter(self, writer: object) -> None:  # noqa: N802  named by Twisted
        self.writers.add(writer)

    def removeWriter(self, writer: object) -> None:  # noqa: N802
        self.writers.discard(writer)

    def removeReader(self, reader: object) -> None:  # noqa: N802
        pass


class Ends:
    """A connection of Twisted's, and the socket of its client."""

    def __init__(self) -> None:
        ours, self.client = socket.socketpair()
        self.client.settimeout(5)
        self.loop = Watched()
        self.transport = Connection(ours, Protocol(), self.loop)
        self.transport.connected = True

    @property
    def is_waiting(self) -> bool:
        """Whether the event loop was asked to tell when there is room."""
        return bool(self.loop.writers)

    def fill(self) -> bytes:
        """Write until the socket takes no more."""
        written = b""
        while not self.is_waiting:
            piece = bytes([len(written) // 50_000 % 256]) * 50_000
            prompt_writes.write(self.transport, piece)
            written += piece
        return written

    def read(self, size: int) -> bytes:
        """So many bytes, with the event loop telling that there is room."""
        read = b""
        while len(read) < size:
            read += self.client.recv(65_536)
            if self.is_waiting:
                self.transport.doWrite()
        return read


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    yield ends
    ends.client.close()
    ends.transport.socket.close()


def test_where_there_is_room_the_loop_is_asked_for_nothing(ends: Ends) -> None:
    prompt_writes.write(ends.transport, b"a frame")
    assert not ends.is_waiting
    assert ends.client.recv(100) == b"a frame"


def test_what_does_not_fit_waits_and_what_follows_stays_behind_it(ends: Ends) -> None:
    written = ends.fill()
    prompt_writes.write(ends.transport, b"the last")
    assert ends.read(len(written) + 8) == written + b"the last"
    assert not ends.is_waiting
    prompt_writes.write(ends.transport, b"again")
    assert not ends.is_waiting
    assert ends.client.recv(100) == b"again"


def test_a_client_that_left_is_noticed_by_the_transport_itself(ends: Ends) -> None:
    ends.client.close()
    prompt_writes.write(ends.transport, b"a frame")
    assert ends.is_waiting
    assert isinstance(ends.transport.doWrite(), Exception)


def test_other_transports_are_written_to_as_usual() -> None:
    class Wrapped:
        def __init__(self) -> None:
            self.written: list[bytes] = []

        def write(self, data: bytes) -> None:
            self.written.append(data)

    wrapped = Wrapped()
    prompt_writes.write(wrapped, b"a frame")
    assert wrapped.written == [b"a frame"]


@pytest.mark.parametrize("state", ["disconnecting", "TLS"])
def test_a_connection_that_ends_or_is_encrypted_is_written_to_as_usual(
    ends: Ends, state: str
) -> None:
    written: list[bytes] = []
    ends.transport.write = written.append
    setattr(ends.transport, state, True)
    prompt_writes.write(ends.transport, b"a frame")
    assert written == [b"a frame"]
