"""Frames that RFC 6455 forbids, and random ones: each ends its own connection, and nothing else."""

import asyncio
import random
from collections.abc import Callable

from tests.chaos.bystanders import bystanders
from tests.chaos.raw_socket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, RawSocket, frame
from tests.chaos.result import Result

ENDS_WITHIN_S = 8.0
AT_ONCE = 8
_HUGE = 2**63 - 1

MALFORMED: dict[str, bytes] = {
    **{f"reserved bits {bits:03b}": frame(TEXT, b"{}", reserved=bits) for bits in range(1, 8)},
    **{f"opcode {code}": frame(code, b"x") for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "not masked": frame(TEXT, b"{}", is_masked=False),
    "a ping in pieces": frame(PING, b"x", is_final=False),
    "a close in pieces": frame(CLOSE, b"\x03\xe8", is_final=False),
    "a ping of 126 bytes": frame(PING, bytes(126)),
    "a pong of 70,000 bytes": frame(PONG, bytes(70_000)),
    "a continuation of nothing": frame(CONTINUATION, b"x"),
    "a text within a text": frame(TEXT, b"{", is_final=False) + frame(TEXT, b"}"),
    "not UTF-8": frame(TEXT, b"\xff\xfe\xfd"),
    "half a character": frame(TEXT, "é".encode()[:1]),
    "half a surrogate pair": frame(TEXT, b"\xed\xa0\x80"),
    "a close of one byte": frame(CLOSE, b"\x03"),
    **{
        f"close code {code}": frame(CLOSE, code.to_bytes(2, "big"))
        for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535)
    },
    "a close with a reason that is not UTF-8": frame(CLOSE, b"\x03\xe8\xff"),
    "a length with its first bit set": frame(BINARY, length=2**64 - 1),
    "a message of 8 exabytes": frame(BINARY, b"x", length=_HUGE),
    "a message of 2 MB": frame(TEXT, b" " * 2_000_000),
    "2 MB in pieces": frame(TEXT, b" " * 700_000, is_final=False)
    + frame(CONTINUATION, b" " * 700_000, is_final=False) * 2,
    "HTTP again": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


def _send(port: int, content: bytes, *, has_session: bool) -> bool:
    """Whether the connection ended; for random bytes it need not."""
    client = RawSocket(port, has_session=has_session)
    try:
        client.socket.sendall(content)
        return client.is_closed_within(ENDS_WITHIN_S)
    except OSError:
        return True
    finally:
        client.reset()


async def _escapes(port: int, name: str, content: bytes, *, has_session: bool) -> list[str]:
    try:
        closed = await asyncio.to_thread(_send, port, content, has_session=has_session)
    except OSError as error:
        return [f"{name}: the server took no connection: {error!r}"]
    return [] if closed else [f"{name}: the connection stays open"]


def _send_random(port: int, seed: int) -> None:
    roll = random.Random(seed)
    content = b"".join(
        frame(
            roll.randrange(16),
            roll.randbytes(roll.choice((0, 1, 2, 10, 130))),
            is_final=roll.random() < 0.7,
            reserved=roll.choice((0, 0, 0, 1, 7)),
            is_masked=roll.random() < 0.9,
        )
        if roll.random() < 0.8
        else roll.randbytes(roll.randrange(50))
        for _ in range(roll.randint(1, 20))
    )
    client = RawSocket(port, has_session=roll.random() < 0.5)
    try:
        client.socket.sendall(content)
        client.is_closed_within(0.05)
    except OSError:
        pass  # it was closed while this was being sent
    finally:
        client.reset()


async def attack(address: str, port: int, log: Callable[[], str], *, random_frames: int) -> Result:
    """Send every malformed frame, and so many connections of random ones.

    Args:
        address: Of the server, ws://.
        port: Its port.
        log: All that it has logged.
        random_frames: How many connections send random frames.
    """
    escapes: list[str] = []
    before = log()
    async with bystanders(address, speaking=1, idle=1) as people:
        # The server waits a second for the farewell that these clients never send.
        attacks = [
            _escapes(port, name, content, has_session=has_session)
            for name, content in MALFORMED.items()
            for has_session in (False, True)
        ]
        for start in range(0, len(attacks), AT_ONCE):
            for found in await asyncio.gather(*attacks[start : start + AT_ONCE]):
                escapes += found
        for seed in range(random_frames):
            await asyncio.to_thread(_send_random, port, seed)
        seen = [len(person.frames) for person in people]
        await asyncio.sleep(1.0)
    for person, count in zip(people, seen, strict=True):
        if len(person.frames) < count + 10:
            escapes.append("a bystander's stream stopped")
        if person.undecodable or person.missing:
            escapes.append(f"bystander: {person.undecodable} damaged, {person.missing} missing")
    if "Traceback" in (said := log()[len(before) :]):
        escapes.append(f"the server logged a fault: {said[-1_500:]}")
    return Result(
        "hostile frames",
        "its own connection ends alone",
        f"{2 * len(MALFORMED)} malformed, {random_frames:,} random, {len(escapes)} escapes",
        escapes,
    )
