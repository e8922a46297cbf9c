"""Messages between a runtime and the engine process, over a real socket."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from inference.engines.process.messages import RuntimeMessage, Submit, Withdraw
from inference.engines.process.stream import MessageStream, accepting


async def carried(messages: Sequence[RuntimeMessage]) -> list[RuntimeMessage]:
    """What arrives at the other end."""
    received: list[RuntimeMessage] = []
    ended = asyncio.Event()

    def end(on_end: Callable[[], None]) -> MessageStream[RuntimeMessage]:
        return MessageStream(
            msgspec.msgpack.Decoder(RuntimeMessage), on_message=received.append, on_end=on_end
        )

    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    sending, receiving = end(lambda: None), end(ended.set)
    writer, _ = await loop.create_connection(lambda: sending, sock=ours)
    await loop.create_connection(lambda: receiving, sock=theirs)
    for message in messages:
        sending.send(message)
    writer.close()
    await asyncio.wait_for(ended.wait(), 10)
    receiving.close()
    return received


def submit(number: int, size: int) -> Submit:
    window = number.to_bytes(4, "big") * (size // 4)
    return Submit(number, 1, "idle_0", number, 0.5, 1.25, window, region=window[::-1])


@given(st.lists(st.integers(0, 40_000), max_size=30))
def test_messages_arrive_whole_and_in_order(sizes: list[int]) -> None:
    messages = [submit(number, size) for number, size in enumerate(sizes)]
    assert asyncio.run(carried(messages)) == messages


@pytest.mark.parametrize("size", [100_000, 1_000_000, 6_000_000])
async def test_large_ones_find_room_between_small_ones(size: int) -> None:
    messages: list[RuntimeMessage] = []
    for number in range(4):
        messages += [Withdraw(number), submit(number, size), Withdraw(number)]
    assert await carried(messages) == messages


async def test_a_length_that_no_message_has_ends_the_connection() -> None:
    ended = asyncio.Event()
    stream: MessageStream[RuntimeMessage] = MessageStream(
        msgspec.msgpack.Decoder(RuntimeMessage), on_message=lambda _: None, on_end=ended.set
    )
    ours, theirs = socket.socketpair()
    await asyncio.get_running_loop().create_connection(lambda: stream, sock=ours)
    with theirs:
        theirs.sendall(b"\xff\xff\xff\xff")
        await asyncio.wait_for(ended.wait(), 10)
    stream.send(Withdraw(1))  # is ignored


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_who_accepts_no_more_leaves_connections_and_the_address(
    tmp_path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    address = str(tmp_path / "engine")

    async def be_a_process() -> None:
        begun, ended = asyncio.Event(), asyncio.Event()
        stream: MessageStream[RuntimeMessage] = MessageStream(
            msgspec.msgpack.Decoder(RuntimeMessage),
            on_message=lambda _: None,
            on_begin=begun.set,
            on_end=ended.set,
        )
        async with asyncio.timeout(10):
            async with accepting(listening.dup(), lambda: stream):
                _, runtime = await asyncio.open_unix_connection(address)
                await begun.wait()
            assert not ended.is_set()
            runtime.close()
            await ended.wait()

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        listening.setblocking(False)
        with asyncio.Runner(loop_factory=new_loop) as runner:
            for _ in range(2):  # the second is found where the first was
                runner.run(be_a_process())
