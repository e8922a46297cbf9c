"""Sessions that a process of its own holds, for as long as another one wants.

What is measured in between begins when all of them are open, however long that took. Idle ones are
`raw_stream`s, which leave the machine's cores to the server; those that speak are clients of the
library, as its users' are.
"""

import asyncio
import multiprocessing
import os
import time
import uuid
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Self

from benchmarks.load import Viewer
from benchmarks.raw_stream import RawStream, connect
from benchmarks.speech import Speech, speech
from inference.timing import FRAME_S
from talking_avatar import AvatarClient, SpeechRefused

OPEN_WITHIN_S = 90.0
ANSWER_WITHIN_S = 30.0
_SESSIONS_A_SECOND = 10


class SessionsRefused(Exception):
    """Not all sessions could be opened; the message says why."""


@dataclass(frozen=True, slots=True)
class HeldReport:
    """What the sessions of one process saw, from `HeldSessions.begin` to `HeldSessions.end`."""

    frames: int
    speech_frames: int
    """Those of them that show speech."""
    errors: int
    cores: float
    """What the process itself took."""


class HeldSessions:
    """A context manager; the sessions are open when it is entered."""

    def __init__(self, address: str, user_id: str, count: int, *, are_speaking: bool) -> None:
        """Prepare.

        Args:
            address: Of the server.
            user_id: Whose avatar.
            count: How many sessions.
            are_speaking: All speak without a pause; otherwise none speaks.
        """
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        hold = _hold_speaking if are_speaking else _hold_idle
        self._process = context.Process(
            target=_run, args=(hold, theirs, address, user_id, count), daemon=True
        )
        self._theirs = theirs

    def __enter__(self) -> Self:
        self._process.start()
        self._theirs.close()
        try:
            self._receive("sessions were opened", OPEN_WITHIN_S)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()  # which the process notices
        self._process.join(ANSWER_WITHIN_S)
        if self._process.is_alive():
            self._process.kill()

    def begin(self) -> None:
        """Count from here on."""
        self._pipe.send("begin")
        self._receive("count was begun", ANSWER_WITHIN_S)

    def end(self) -> HeldReport:
        """Return what was seen since `begin`."""
        self._pipe.send("end")
        report = self._receive("count came", ANSWER_WITHIN_S)
        assert isinstance(report, HeldReport)
        return report

    def _receive(self, what: str, within_s: float) -> object:
        """Return what the process answered.

        Raises:
            SessionsRefused: It had a problem, ended, or answers nothing.
        """
        if not self._pipe.poll(within_s):
            raise SessionsRefused(f"no {what} within {within_s:g} s")
        try:
            answer: object = self._pipe.recv()
        except EOFError:
            raise SessionsRefused("the process that holds the sessions ended") from None
        if isinstance(answer, str):
            raise SessionsRefused(answer)
        return answer


class _Idle:
    """What idle sessions see."""

    def __init__(self, streams: list[RawStream]) -> None:
        self._streams = streams

    def begin(self) -> None:
        for stream in self._streams:
            stream.forget()

    def report(self, cores: float) -> HeldReport:
        """Return what they saw."""
        return HeldReport(
            frames=sum(len(stream.times_ms) for stream in self._streams),
            speech_frames=0,
            errors=sum(stream.errors + stream.is_lost for stream in self._streams),
            cores=cores,
        )


class _Speaking:
    """What sessions see that speak."""

    def __init__(self, viewers: list[Viewer]) -> None:
        self._viewers = viewers

    def begin(self) -> None:
        for viewer in self._viewers:
            viewer.is_counting = True

    def report(self, cores: float) -> HeldReport:
        """Return what they saw."""
        reports = [viewer.report() for viewer in self._viewers]
        return HeldReport(
            frames=sum(report.frames for report in reports),
            speech_frames=sum(report.speech_frames for report in reports),
            errors=sum(sum(report.errors.values()) for report in reports),
            cores=cores,
        )


_Hold = Callable[[AsyncExitStack, str, str, int], Coroutine[Any, Any, _Idle | _Speaking]]


def _run(hold: _Hold, pipe: Connection, address: str, user_id: str, count: int) -> None:
    """Hold sessions until the other end of the pipe is closed: the main function of the process."""
    try:
        asyncio.run(_serve(hold, pipe, address, user_id, count))
    except (EOFError, KeyboardInterrupt):
        pass
    except Exception as error:  # noqa: BLE001 - whatever it is, the other end says so
        pipe.send(str(error) or repr(error))


async def _serve(hold: _Hold, pipe: Connection, address: str, user_id: str, count: int) -> None:
    async with AsyncExitStack() as stack:
        sessions = await hold(stack, address, user_id, count)
        pipe.send(True)
        began_s = cpu_s = 0.0
        while True:
            question = await asyncio.to_thread(pipe.recv)
            if question == "begin":
                sessions.begin()
                began_s, cpu_s = time.monotonic(), sum(os.times()[:2])
                pipe.send(True)
            else:
                cpu_s = sum(os.times()[:2]) - cpu_s
                pipe.send(sessions.report(cpu_s / (time.monotonic() - began_s)))


async def _hold_idle(stack: AsyncExitStack, address: str, user_id: str, count: int) -> _Idle:
    streams = []
    for _ in range(count):
        stream = await connect(address, user_id, str(uuid.uuid4()), {})
        stack.callback(stream.abort)
        streams.append(stream)
        await asyncio.sleep(1 / _SESSIONS_A_SECOND)
    await asyncio.gather(*(stream.opened for stream in streams))
    return _Idle(streams)


async def _speak(viewer: Viewer, spoken: Speech, delay_s: float) -> None:
    """Speak without a pause; where the server has no place, try again as it says."""
    while viewer.client.closed is None:
        try:
            await viewer.speak(spoken, delay_s)
        except SpeechRefused as refusal:
            delay_s = (refusal.retry_after_ms or 1_000) / 1_000


async def _hold_speaking(
    stack: AsyncExitStack, address: str, user_id: str, count: int
) -> _Speaking:
    spoken = speech()
    viewers: list[Viewer] = []
    for number in range(count):
        client = AvatarClient(address, user_id, is_binary=False, reconnects=False)
        viewer = Viewer(await stack.enter_async_context(client))
        viewers.append(viewer)
        for work in (viewer.watch(), _speak(viewer, spoken, FRAME_S * number / count)):
            stack.callback(asyncio.create_task(work).cancel)
        await asyncio.sleep(1 / _SESSIONS_A_SECOND)
    return _Speaking(viewers)
