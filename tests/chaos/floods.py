"""One client floods the server, or leaves at the worst moment: the others do not notice."""

import asyncio
import multiprocessing
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

from benchmarks.server import ServerProcess
from talking_avatar import AvatarClient, AvatarError
from tests.chaos.bystanders import Bystander, bystanders, p99
from tests.chaos.raw_socket import CONTINUATION, PING, PONG, TEXT, RawSocket, frame, message
from tests.chaos.result import Result

MOST_LATE_MS = 20.0
SETTLE_S = 3.0
RESET_EVERY_S = 5.0
RESETS_AT_ONCE = 4
OPENED_WITHIN_S = 5.0
IN_STEP_MS = 240
"""What is on its way of speech that is in step, three times what it is on a machine with nothing
else to do."""
IN_STEP_WITHIN_S = 2.0
GIVEN_UP_S = 10.0
POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Flood:
    """What is sent first, and then repeatedly, as fast as the server reads."""

    again: bytes
    first: bytes = b""

    @classmethod
    def of(cls, type_: str, **data: object) -> "Flood":
        """Of one message that the session takes."""
        return cls(message(type_, SESSION_ID, **data) * 1_000)


SESSION_ID = "6f1c2e1a-5b0e-4c53-9d0b-0b3b7d7d7f10"
ONE_SAMPLE = {"format": "pcm_s16le", "sample_rate": 16_000, "channels": 1, "data": "AAA="}

FLOODS = {
    "empty continuation frames": Flood(
        frame(CONTINUATION, is_final=False) * 10_000, first=frame(TEXT, b"{", is_final=False)
    ),
    "empty pings": Flood(frame(PING) * 10_000),
    "unasked pongs": Flood(frame(PONG) * 10_000),
    "messages {}": Flood(frame(TEXT, b"{}") * 10_000),
    "messages PONG": Flood.of("PONG"),
    "messages INTERRUPT": Flood.of("INTERRUPT"),
    "speech of one sample": Flood.of(
        "GENERATE", audio_chunk=ONE_SAMPLE, video_state={"type": "speaking"}
    ),
}


def _send(port: int, name: str, seconds: float) -> None:
    """Send until the server hangs up or the time is over."""
    flood = FLOODS[name]
    os.nice(10)  # an attacker has a machine of its own
    client = RawSocket(port, session_id=SESSION_ID)
    time.sleep(OPENED_WITHIN_S / 5)  # its session is open
    end_s = time.monotonic() + seconds
    client.socket.settimeout(0.5)
    unsent = memoryview(flood.first or flood.again)
    with suppress(ConnectionError):
        while time.monotonic() < end_s:
            with suppress(TimeoutError):  # the server reads no faster
                unsent = unsent[client.socket.send(unsent) :] or memoryview(flood.again)
    client.reset()


async def flood(server: ServerProcess, name: str, *, seconds: float) -> Result:
    """Flood with one kind of frame while four others watch, two of them speaking."""
    async with bystanders(server.address, speaking=2, idle=2) as people:
        await asyncio.sleep(SETTLE_S)
        marks = [len(person.frames) for person in people]
        attacker = multiprocessing.get_context("spawn").Process(
            target=_send, args=(server.port, name, seconds), daemon=True
        )
        # By its name: what does not fit a pipe would hold up the others here until it was read.
        attacker.start()
        await asyncio.to_thread(attacker.join, seconds + 20)
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


async def _in_step_after_s(person: Bystander) -> float:
    """How long after its next pause began a speaker is in step with its sound."""
    loop = asyncio.get_running_loop()
    person.is_silent.clear()
    await person.is_silent.wait()
    began_s = loop.time()
    for _ in range(round(GIVEN_UP_S / POLL_S)):
        if person.client.unshown_ms <= IN_STEP_MS:
            break
        await asyncio.sleep(POLL_S)
    return loop.time() - began_s


async def overload(
    server: ServerProcess, *, speakers: int, stay: int, seconds: float, is_admitted: bool
) -> Result:
    """More speakers than the machine carries; then most leave, and the rest is in step again.

    Args:
        server: With SPEAKING_PLACES of ``speakers`` if all are admitted; else it admits as many as
            it can carry.
        speakers: How many there are.
        stay: How many stay.
        seconds: How long all of them speak.
        is_admitted: Whether all of them are.
    """
    # Where more are admitted than can be carried, speech waits for ten seconds: only what was said
    # to be live is thrown away then.
    late_audio = "drop" if is_admitted else "keep"
    async with bystanders(
        server.address, speaking=speakers, idle=0, late_audio=late_audio
    ) as people:
        await asyncio.sleep(seconds)
        behind_ms = max(person.client.unshown_ms for person in people)
        leaving = [person.leave() for person in people[stay:]]
        await asyncio.gather(*leaving)
        speaking = [person for person in people[:stay] if person.has_spoken]
        async with asyncio.timeout(GIVEN_UP_S * 3):
            in_step_s = await asyncio.gather(*map(_in_step_after_s, speaking))
    worst_s = max(in_step_s)
    escapes = []
    if worst_s > IN_STEP_WITHIN_S:
        escapes.append(f"a speaker is in step {worst_s:.1f} s after its pause")
    return Result(
        f"overload: {speakers} speak, {'all' if is_admitted else 'some'} admitted, "
        f"{speakers - stay} leave",
        f"in step {IN_STEP_WITHIN_S:g} s after a pause",
        f"{worst_s:.2f} s; before, speech was {behind_ms / 1_000:.1f} s behind",
        escapes,
    )
