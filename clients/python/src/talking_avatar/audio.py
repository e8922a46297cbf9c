"""Speech before it is sent: any form of it → pieces of s16le, paced as a microphone if wanted."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

Audio = bytes | bytearray | memoryview | Any
"""s16le, an array of int16, or an (async) iterator of such pieces."""

BYTES_PER_SAMPLE = 2
DRY_S = 0.06
"""With the way to the server and back this is less than the 240 ms after which it ends speech."""
DRY_TURNS = 3


async def chunks(audio: Audio, size: int, channels: int) -> AsyncIterator[bytes]:
    """Yield the pieces to send.

    Args:
        audio: The speech.
        size: Bytes of a piece at most.
        channels: Of the speech; their samples are interleaved.

    Yields:
        Whole samples of all channels, as soon as they are there.

    Raises:
        ValueError: Half a sample is left over, or an array is not of int16.
    """
    sample_bytes = BYTES_PER_SAMPLE * channels
    rest = b""
    async for piece in _pieces(audio):
        data = rest + piece
        whole = len(data) // sample_bytes * sample_bytes
        for at in range(0, whole, size):
            yield data[at : min(at + size, whole)]
        rest = data[whole:]
    if rest:
        raise ValueError(f"{len(rest)} bytes are left over: audio must be whole 16-bit samples.")


async def or_dry(
    pieces: AsyncIterator[bytes], is_dry: Callable[[], bool]
) -> AsyncIterator[bytes | None]:
    """Yield the pieces, and where they pause for too long, None.

    Args:
        pieces: As `chunks` gives them.
        is_dry: Whether all that was sent was shown.

    Yields:
        Each piece; None once in a pause in which everything has been shown for `DRY_S`.
    """

    async def next_piece() -> bytes | None:
        return await anext(pieces, None)

    while True:
        coming = asyncio.ensure_future(next_piece())
        dry_turns = 0
        try:
            while not coming.done():
                await asyncio.wait({coming}, timeout=DRY_S / DRY_TURNS)
                dry_turns = dry_turns + 1 if is_dry() else 0
                if dry_turns == DRY_TURNS and not coming.done():
                    yield None
            piece = coming.result()
        finally:
            coming.cancel()
        if piece is None:
            return
        yield piece


async def as_spoken(
    pcm: bytes, *, sample_rate: int = 16_000, channels: int = 1, chunk_ms: int = 40
) -> AsyncIterator[bytes]:
    """Speech in pieces, each when a microphone would have it: for `AvatarClient.speak`.

    Args:
        pcm: s16le, channels interleaved.
        sample_rate: Hz.
        channels: 1 or 2.
        chunk_ms: Length of a piece.

    Yields:
        Each piece when its last sample would have been spoken, by absolute deadlines.
    """
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    sample_bytes = BYTES_PER_SAMPLE * channels
    size = max(1, sample_rate * chunk_ms // 1_000) * sample_bytes
    for start in range(0, len(pcm), size):
        end = min(start + size, len(pcm))
        due_s = started_s + end / (sample_bytes * sample_rate)
        if (wait_s := due_s - loop.time()) > 0:
            await asyncio.sleep(wait_s)
        yield pcm[start:end]


async def _pieces(audio: Audio) -> AsyncIterator[bytes]:
    if isinstance(audio, bytes | bytearray | memoryview) or hasattr(audio, "tobytes"):
        yield _bytes_of(audio)
    elif hasattr(audio, "__aiter__"):
        async for piece in audio:
            yield _bytes_of(piece)
    else:
        for piece in audio:
            yield _bytes_of(piece)


def _bytes_of(piece: Audio) -> bytes:
    dtype = getattr(piece, "dtype", None)
    if dtype is not None and str(dtype) not in {"int16", "<i2"}:
        raise ValueError(f"Arrays of audio must be int16, not {dtype}.")
    raw: Any = piece
    return bytes(raw) if dtype is None else bytes(raw.tobytes())
