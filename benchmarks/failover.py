"""``python -m benchmarks.failover [--kill app|engine|both] [--kills 100] [--sessions 10]``

Kills processes, one after the other, under sessions, half of them speaking (``--speaking`` says how
many), and says what their viewers saw.

``app``     an app process each time. Sessions resume by themselves: none may be lost, no access
            unit may fail to decode, pictures must be back soon, speech must be shown exactly once.
``engine``  the MuseTalk engine process each time, with small networks. Sessions continue without
            lips, which must be back soon: they are looked for in the pictures.
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import av
import numpy as np
import psutil

from benchmarks.server import ServerProcess, add_json_argument, app_processes
from benchmarks.small_musetalk import Mouth, small_musetalk
from benchmarks.verdict import Verdict
from talking_avatar import AvatarClient, Frame, Reopened, Resumed, SpeechRefused

PROCESSES = 2
UTTERANCE_S = 4.0
RATE = 16_000
SETTLE_S = 4.0
PICTURES_WITHIN_S, LIPS_WITHIN_S = 2.0, 5.0
IN_FLIGHT_S = 0.5
"""Mouths that were made before an engine process died are shown no later than this."""
GIVE_UP_S = 120.0
TAKES_SESSIONS = "takes sessions"
STANDS_BY = "an engine process stands by"


@dataclass(slots=True)
class Viewer:
    """One session, and what was seen of it."""

    client: AvatarClient
    speaks: bool
    mouth: Mouth | None = None
    """Where lips are looked for."""
    lost: int = 0
    resumed: int = 0
    decode_errors: int = 0
    last_frame_s: float = 0.0
    last_lips_s: float = 0.0
    gaps_s: list[float] = field(default_factory=list)
    audio_ms: list[int] = field(default_factory=list)
    utterances: int = 0
    wrong_utterances: int = 0

    async def watch(self) -> None:
        """Take every event, decode every frame."""
        decoder = av.CodecContext.create("h264", "r")
        decoder.thread_count = 1
        decoder.options = {"err_detect": "explode"}
        async for event in self.client.events():
            match event:
                case Frame():
                    self._see(event, decoder)
                case Resumed():
                    self.resumed += 1
                case Reopened():
                    self.lost += 1
                case _:
                    pass

    def _see(self, frame: Frame, decoder: "av.VideoCodecContext") -> None:
        now_s = time.monotonic()
        if self.last_frame_s and now_s - self.last_frame_s > 0.5:
            self.gaps_s.append(now_s - self.last_frame_s)
        self.last_frame_s = now_s
        if frame.audio_timestamp_ms is not None:
            self.audio_ms.append(frame.audio_timestamp_ms)
        try:
            pictures = decoder.decode(av.Packet(frame.data))
        except av.FFmpegError:
            self.decode_errors += 1
            return
        if self.mouth is not None and self.speaks:
            for picture in pictures:
                luma = picture.to_ndarray(format="gray").astype(np.uint8, copy=False)
                if self.mouth.is_in(luma):
                    self.last_lips_s = now_s

    async def speak(self) -> None:
        """Utterance after utterance; each must be played whole."""
        pcm = (9_000 * np.sin(np.arange(int(RATE * UTTERANCE_S)) * 0.06)).astype(np.int16)
        while True:
            try:
                utterance = await self.client.speak(pcm, sample_rate=RATE)
                played = await utterance
            except SpeechRefused as refused:
                await asyncio.sleep((refused.retry_after_ms or 1_000) / 1_000)
                continue
            self.utterances += 1
            self.wrong_utterances += played.played_ms != round(UTTERANCE_S * 1_000)

    @property
    def repeated(self) -> int:
        """Frames whose speech had been shown before, or that left some out."""
        steps = [b - a for a, b in zip(self.audio_ms, self.audio_ms[1:], strict=False)]
        return sum(step != 40 for step in steps)


class Audience:
    """All viewers of a server, from entering to leaving it."""

    def __init__(
        self, server: ServerProcess, sessions: int, speaking: int, mouth: Mouth | None = None
    ) -> None:
        self._server = server
        self._sessions = sessions
        self._speaking = speaking
        self._mouth = mouth
        self._clients = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self.viewers: list[Viewer] = []

    async def __aenter__(self) -> list[Viewer]:
        for number in range(self._sessions):
            client = AvatarClient(self._server.address, f"user{number}")
            await self._clients.enter_async_context(client)
            self.viewers.append(Viewer(client, speaks=number < self._speaking, mouth=self._mouth))
        self._tasks = [asyncio.create_task(viewer.watch()) for viewer in self.viewers]
        self._tasks += [asyncio.create_task(v.speak()) for v in self.viewers if v.speaks]
        return self.viewers

    async def __aexit__(self, *error: object) -> None:
        now_s = time.monotonic()
        for viewer in self.viewers:
            viewer.lost += now_s - viewer.last_frame_s > PICTURES_WITHIN_S
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._clients.aclose()


def engine_process(server: ServerProcess) -> psutil.Process:
    """The engine process that serves: a younger one may stand by."""
    children = psutil.Process(server.pid).children(recursive=True)
    engines = [child for child in children if "run_engine" in child.cmdline()]
    return min(engines, key=lambda child: child.create_time())


async def kill_apps(
    server: ServerProcess, sessions: int, speaking: int, kills: int
) -> tuple[list[Viewer], int]:
    """Kill app processes in turns.

    Returns:
        The viewers, and how many were killed.
    """
    killed = 0
    async with Audience(server, sessions, speaking) as viewers:
        await asyncio.sleep(2)
        for number in range(kills):
            try:
                await _until(lambda n=number: _all_recovered(server, viewers, n))  # type: ignore[misc]
            except TimeoutError:
                print(f"after {number} kills not all have recovered\n{server.log_end()}")
                break
            process = app_processes(server.pid).get(number % PROCESSES)
            assert process is not None, "all processes take sessions"
            process.kill()
            killed += 1
            await asyncio.sleep(SETTLE_S + random.random())
            if (number + 1) % 10 == 0:
                resumed = sum(viewer.resumed for viewer in viewers)
                print(f"{number + 1} kills, {resumed} resumed", flush=True)
    return viewers, killed


def _all_recovered(server: ServerProcess, viewers: list[Viewer], kills: int) -> bool:
    """Whether each process was started again after it was killed, and all viewers see frames."""
    starts = server.log().count(TAKES_SESSIONS)
    now_s = time.monotonic()
    return starts >= PROCESSES + kills and all(now_s - v.last_frame_s < 1.0 for v in viewers)


async def kill_engines(
    server: ServerProcess, mouth: Mouth, sessions: int, speaks: int, kills: int
) -> tuple[list[Viewer], list[float]]:
    """Kill engine processes, each when another one stands by.

    Returns:
        The viewers, and after how many seconds each speaking one saw lips again after each kill.
    """
    lips_after_s: list[float] = []
    async with Audience(server, sessions, speaks, mouth) as viewers:
        speaking = [viewer for viewer in viewers if viewer.speaks]
        for number in range(kills):
            try:
                await _until(lambda n=number: server.log().count(STANDS_BY) > n)  # type: ignore[misc]
                began_s = time.monotonic()
                await _until(lambda s=began_s: all(v.last_lips_s > s for v in speaking))  # type: ignore[misc]
            except TimeoutError:
                print(f"after {number} kills no lips, or no engine stands by\n{server.log_end()}")
                break
            await asyncio.sleep(random.random())
            engine_process(server).kill()
            killed_s = time.monotonic()
            waiting = set(map(id, speaking))
            while waiting and time.monotonic() - killed_s < GIVE_UP_S:
                await asyncio.sleep(0.02)
                for viewer in speaking:
                    if id(viewer) in waiting and viewer.last_lips_s > killed_s + IN_FLIGHT_S:
                        waiting.discard(id(viewer))
                        lips_after_s.append(viewer.last_lips_s - killed_s)
            lips_after_s += [GIVE_UP_S] * len(waiting)
            worst_s = max(lips_after_s[-len(speaking) :])
            print(f"kill {number + 1}: lips again after {worst_s:.2f} s", flush=True)
    return viewers, lips_after_s


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(GIVE_UP_S):
        while not holds():  # noqa: ASYNC110  another process knows, and sends nothing
            await asyncio.sleep(0.1)


def judge_viewers(verdict: Verdict, viewers: list[Viewer]) -> None:
    verdict.at_most("sessions lost", 0, sum(v.lost for v in viewers))
    verdict.at_most("access units that do not decode", 0, sum(v.decode_errors for v in viewers))
    gaps_s = [gap for viewer in viewers for gap in viewer.gaps_s]
    verdict.below(
        "without pictures, p95",
        PICTURES_WITHIN_S,
        float(np.percentile(gaps_s, 95)) if gaps_s else 0.0,
        "s",
    )
    verdict.at_most("speech repeated or left out", 0, sum(v.repeated for v in viewers))
    verdict.at_least("utterances", 1, sum(v.utterances for v in viewers))
    verdict.at_most("utterances not whole", 0, sum(v.wrong_utterances for v in viewers))


def measure_apps(options: argparse.Namespace) -> Verdict:
    """Kill app processes."""
    verdict = Verdict("failover of app processes")
    with ServerProcess(PROCESSES=str(PROCESSES), SPEAKING_PLACES="1000") as server:
        viewers, killed = asyncio.run(
            kill_apps(server, options.sessions, options.speaking, options.kills)
        )
    verdict.notes.append(
        f"{killed} kills of one of {PROCESSES} processes under {options.sessions} sessions, "
        f"{options.speaking} of them speaking; {sum(v.resumed for v in viewers)} resumed"
    )
    verdict.at_least("kills", options.kills, killed)
    # A process that had no session costs nobody anything.
    verdict.at_least("resumes", 1, sum(v.resumed for v in viewers))
    judge_viewers(verdict, viewers)
    return verdict


def measure_engines(options: argparse.Namespace) -> Verdict:
    """Kill engine processes."""
    verdict = Verdict("failover of the engine process")
    mouths: list[Mouth] = []
    settings = {"DEVICE": options.device, "PROCESSES": str(PROCESSES), "SPEAKING_PLACES": "1000"}
    with small_musetalk(mouths, **settings) as server:
        viewers, lips_after_s = asyncio.run(
            kill_engines(server, mouths[0], options.sessions, options.speaking, options.kills)
        )
    verdict.notes.append(
        f"{options.kills} kills of the engine process ({options.device}, small networks) under "
        f"{options.sessions} sessions of {PROCESSES} app processes, {options.speaking} of them "
        "speaking"
    )
    verdict.at_least("kills", options.kills, len(lips_after_s) // max(1, options.speaking))
    lips_after_s = lips_after_s or [GIVE_UP_S]
    verdict.below("lips again, slowest", LIPS_WITHIN_S, max(lips_after_s), "s")
    verdict.told("lips again, median", float(np.median(lips_after_s)), "s")
    verdict.told("lips again, p95", float(np.percentile(lips_after_s, 95)), "s")
    judge_viewers(verdict, viewers)
    return verdict


def main() -> int:
    parser = argparse.ArgumentParser(description="What does the death of a process cost?")
    parser.add_argument("--kill", choices=("app", "engine", "both"), default="both")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--sessions", type=int, default=10)
    parser.add_argument("--speaking", type=int, help="how many of them speak; default: half")
    parser.add_argument("--device", default="cpu", help="of the engine; default: %(default)s")
    add_json_argument(parser)
    options = parser.parse_args()
    if options.speaking is None:
        options.speaking = (options.sessions + 1) // 2
    statuses = []
    for kind, measure in (("app", measure_apps), ("engine", measure_engines)):
        if options.kill in (kind, "both"):
            path = options.json
            if path is not None and options.kill == "both":
                path = path.with_stem(f"{path.stem}-{kind}")
            statuses.append(measure(options).conclude(path))
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main())
