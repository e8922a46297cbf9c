"""A server whose places to speak are taken, over the wire."""

import asyncio

import pytest

from tests.e2e.conftest import Serve
from tests.e2e.talking import ONE_AND_TWO_PROCESSES, Stream

SECOND = b"\x20\x01\xe0\xfe" * 8_000


async def refused(stream: Stream) -> dict[str, object]:
    """The details of the next error."""
    while (message := await stream.next())["type"] != "ERROR":
        pass
    assert message["data"]["code"] == "RATE_LIMIT_EXCEEDED"
    return message["data"]["details"]


async def is_refused(stream: Stream) -> bool:
    """Say a little: its answer comes before ten frames are over."""
    await stream.say(SECOND[:1_280])
    return any([(await stream.next())["type"] == "ERROR" for _ in range(10)])


async def shows_speech(stream: Stream) -> None:
    while "audio_timestamp" not in await stream.wait_for("VIDEO_FRAME"):
        pass


@pytest.mark.parametrize("processes", ONE_AND_TWO_PROCESSES)
async def test_one_utterance_too_many_is_refused(share: Serve, processes: str) -> None:
    server = share(PROCESSES=processes, SPEAKING_PLACES=processes)
    count = int(processes)
    streams = [server.stream(f"user{number}") for number in range(count + 1)]
    opened = [await stream.__aenter__() for stream in streams]
    try:
        await asyncio.gather(*(stream.frames(5) for stream in opened))
        speakers = opened[:count]
        for stream in speakers:
            await stream.say(SECOND * 2)
            await asyncio.wait_for(shows_speech(stream), 5)
        await opened[count].say(SECOND[:1_280])
        details = await asyncio.wait_for(refused(opened[count]), 5)
        assert details["reason"] == "speech_capacity"
        await opened[count].frames(10)
        for stream in speakers:
            while "audio_timestamp" in await stream.wait_for("VIDEO_FRAME"):
                pass
        await asyncio.sleep(0.5)
        await opened[count].say(SECOND)
        await asyncio.wait_for(shows_speech(opened[count]), 5)
    finally:
        for stream in opened:
            stream.socket.transport.abort()
        for connection in streams:
            await connection.__aexit__(None, None, None)


@pytest.mark.lasting
async def test_a_session_that_requires_speech_is_not_admitted_without_a_place(
    share: Serve,
) -> None:
    server = share(SPEAKING_PLACES="1", SPEECH_SHARE="1")
    async with server.stream("ann") as ann:
        await ann.frames(3)
        async with server.stream("bob") as bob:
            details = await asyncio.wait_for(refused(bob), 5)
            assert details["reason"] == "capacity"
            messages, code = await asyncio.wait_for(bob.end(), 5)
            assert (messages[-1]["type"], code) == ("CLOSE_ACK", 4429)
        await ann.frames(3)
