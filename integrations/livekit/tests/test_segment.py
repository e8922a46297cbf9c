"""What of a segment is sent and heard."""

import asyncio

from livekit_talking_avatar.segment import Segment

RATE = 24_000
MS = 2 * RATE // 1_000
"""Bytes."""


def pcm(ms: int, first: int = 0) -> bytes:
    samples = range(first, first + ms * RATE // 1_000)
    return b"".join((1 + n % 30_000).to_bytes(2, "little") for n in samples)


async def send_all(segment: Segment) -> bytes:
    return b"".join([piece async for piece in segment.pieces()])


async def test_frames_give_their_voice() -> None:
    segment = Segment(RATE)
    voice = pcm(100)
    segment.push(voice)
    segment.end()
    assert await segment.wait_for_more()
    assert await send_all(segment) == voice
    segment.start("a")
    assert segment.show(5_000) == voice[: 40 * MS]
    assert segment.show(5_040) == voice[40 * MS : 80 * MS]
    assert not segment.is_complete
    assert segment.show(5_080) == voice[80 * MS :]
    assert segment.is_complete
    assert segment.finish("a", 100) == b""


async def test_frames_that_are_left_out_lose_no_voice() -> None:
    segment = Segment(RATE)
    voice = pcm(400)
    segment.push(voice)
    segment.end()
    await send_all(segment)
    segment.start("a")
    assert segment.show(0) + segment.show(200) == voice[: 240 * MS]
    assert segment.finish("a", 400) == voice[240 * MS :]


async def test_a_pause_makes_two_utterances_and_no_voice_is_lost() -> None:
    segment = Segment(RATE)
    first, second = pcm(100), pcm(80, 5_000)
    segment.push(first)
    sent = []

    async def send() -> None:
        async for piece in segment.pieces():
            sent.append(piece)
            if len(sent) == 2:
                return  # the server refused this piece: the utterance is over

    sending = asyncio.create_task(send())
    await asyncio.sleep(0)
    segment.start("a")
    heard = [segment.show(0), segment.show(40), segment.show(80), segment.finish("a", 100)]
    segment.push(second)
    await sending
    segment.settle(100)
    segment.end()
    assert await segment.wait_for_more()
    assert await send_all(segment) == second
    segment.start("b")
    heard += [segment.show(100), segment.show(140)]
    segment.settle(80)
    assert b"".join(heard) == first + second
    assert segment.is_complete
    assert not await segment.wait_for_more()


async def test_the_rest_is_heard_without_the_server() -> None:
    segment = Segment(RATE)
    voice = pcm(100)
    segment.push(voice)
    sending = asyncio.create_task(send_all(segment))
    await asyncio.sleep(0)
    segment.start("a")
    begun = segment.show(0)
    segment.detach()
    assert await sending == voice
    assert begun + segment.rest() == voice
    assert segment.rest() == b""
    assert not await segment.wait_for_more()


async def test_speech_of_another_segment_is_not_heard() -> None:
    segment = Segment(RATE)
    segment.push(pcm(100))
    assert segment.show(0) == b""
    assert segment.finish("other", 100) == b""
    assert segment.is_waiting
