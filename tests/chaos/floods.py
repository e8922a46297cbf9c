"""One client floods the server, or leaves at the worst moment: the others do not notice."""

import asyncio
import multiprocessing
import os
import threading
import time
from contextlib import suppress

import numpy as np

from benchmarks.server import ServerProcess
from talking_avatar import AvatarClient, AvatarError
from tests.chaos.bystanders import bystanders, p99
from tests.chaos.raw_socket import CONTINUATION, PING, PONG, TEXT, RawSocket, frame
from tests.chaos.result import Result

MOST_LATE_MS = 20.0
SETTLE_S = 3.0
RESET_EVERY_S = 5.0
RESETS_AT_ONCE = 4
OPENED_WITHIN_S = 5.0

FLOODS: dict[str, tuple[bytes, bytes]] = {
    "empty continuation frames": (
        frame(TEXT, b"{", is_final=False),
        frame(CONTINUATION, is_final=False) * 10_000,
    ),
    "empty pings": (b"", frame(PING) * 10_000),
    "unasked pongs": (b"", frame(PONG) * 10_000),
    "whole messages {}": (b"", frame(TEXT, b"{}") * 10_000),
}
"""What is sent first, and then repeatedly."""


def _flood(port: int, first: bytes, again: bytes, seconds: float) -> None:
    """Send as fast as the server reads, until it hangs up or the time is over."""
    os.nice(10)  # an attacker has a machine of its own
    end_s = time.monotonic() + seconds
    client = RawSocket(port)
    client.socket.settimeout(0.5)
    with suppress(OSError):
        client.socket.sendall(first)
        while time.monotonic() < end_s:
            with suppress(TimeoutError):
                client.socket.sendall(again)
    client.reset()


async def flood(server: ServerProcess, name: str, *, seconds: float) -> Result:
    """Flood with one kind of frame while four others watch, two of them speaking."""
    first, again = FLOODS[name]
    async with bystanders(server.address, speaking=2, idle=2) as people:
        await asyncio.sleep(SETTLE_S)
        marks = [len(person.frames) for person in people]
        attacker = multiprocessing.get_context("spawn").Process(
            target=_flood, args=(server.port, first, again, seconds), daemon=True
        )
        attacker.start()
        await asyncio.sleep(seconds + 1.0)
        await asyncio.to_thread(attacker.join, 10)
        attacker.kill()
    quiet_ms, late_ms = p99(people, marks, before=True), p99(people, marks)
    missing = sum(person.missing for person in people)
    escapes = []
    # What a busy machine does to the others without a flood is not the flood's.
    if late_ms > MOST_LATE_MS + quiet_ms:
        escapes.append(f"{name}: others were {late_ms:.0f} ms late, before {quiet_ms:.0f} ms")
    if missing:
        escapes.append(f"{name}: others miss {missing} frames")
    return Result(
        f"flood: {name}",
        f"others p99 < {MOST_LATE_MS:.0f} ms",
        f"p99 {late_ms:.1f} ms, before {quiet_ms:.1f}; {missing} frames missing",
        escapes,
    )


def _connect_and_reset(port: int) -> None:
    with suppress(OSError):
        RawSocket(port, "mallory").reset()


async def _is_served(address: str, user_id: str) -> bool:
    """Whether a client gets its first picture in time."""
    try:
        async with (
            asyncio.timeout(OPENED_WITHIN_S),
            AvatarClient(address, user_id, reconnects=False) as client,
        ):
            async for _ in client.frames():
                return True
    except (AvatarError, TimeoutError, OSError):
        pass
    return False


async def resets(server: ServerProcess, *, honest: int) -> Result:
    """Connections that abort after INIT, on a server whose places are few and reserved.

    Args:
        server: With SPEAKING_PLACES=4 and SPEECH_SHARE=1.
        honest: How many honest clients come, one after the other.
    """
    is_over = threading.Event()

    def attack() -> None:
        while not is_over.is_set():
            for _ in range(RESETS_AT_ONCE):
                _connect_and_reset(server.port)
            is_over.wait(RESET_EVERY_S)

    attacking = asyncio.create_task(asyncio.to_thread(attack))
    served = 0
    try:
        for number in range(honest):
            served += await _is_served(server.address, f"honest{number}")
            await asyncio.sleep(RESET_EVERY_S / 4)
    finally:
        is_over.set()
        await attacking
    escapes = [] if served == honest else [f"{honest - served} honest clients were not served"]
    return Result(
        "4 × connect, INIT, reset each 5 s, 4 places",
        f"honest clients {honest} of {honest}",
        f"{served} of {honest} served",
        escapes,
    )


async def overload(server: ServerProcess, *, speakers: int, stay: int, seconds: float) -> Result:
    """More speakers than the machine carries; then most leave, and the rest is in step again."""
    async with bystanders(server.address, speaking=speakers, idle=0) as people:
        await asyncio.sleep(seconds)
        for person in people[stay:]:
            await person.leave()
        await asyncio.sleep(SETTLE_S)
        marks = [len(person.frames) for person in people[:stay]]
        await asyncio.sleep(SETTLE_S)
        late_ms = p99(people[:stay], marks)
        behind_ms = [person.client.unshown_ms for person in people[:stay]]
    worst_ms = max(behind_ms)
    escapes = [] if worst_ms < 500 else [f"speech is {worst_ms:.0f} ms behind"]
    if late_ms > 100:
        escapes.append(f"frames are {late_ms:.0f} ms late")
    return Result(
        f"overload: {speakers} speakers, {speakers - stay} leave",
        "the rest in step after 3 s",
        f"speech {np.median(behind_ms):.0f} ms behind, worst {worst_ms:.0f}; p99 {late_ms:.0f} ms",
        escapes,
    )
