"""``python -m benchmarks.failover [--kills 100] [--sessions 10]``

Kills app processes, one after the other, under sessions that resume, half of them speaking, and
says what their viewers saw: sessions lost, access units that do not decode, how long pictures
stayed away, and whether speech was shown exactly once.
"""

import argparse
import asyncio
import random
import sys
import time
from dataclasses import dataclass, field

import av
import numpy as np
import psutil

from benchmarks.server import ServerProcess, add_json_argument
from benchmarks.verdict import Verdict
from talking_avatar import AvatarClient, Frame, Reopened, Resumed, SpeechRefused

PROCESSES = 2
UTTERANCE_S = 4.0
RATE = 16_000
SETTLE_S = 4.0
WANTED_P95_S = 2.0


@dataclass(slots=True)
class Viewer:
    """One session, and what was seen of it."""

    client: AvatarClient
    speaks: bool
    lost: int = 0
    resumed: int = 0
    decode_errors: int = 0
    frames: int = 0
    last_frame_s: float = 0.0
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
            now_s = time.monotonic()
            match event:
                case Frame():
                    if self.last_frame_s and now_s - self.last_frame_s > 0.5:
                        self.gaps_s.append(now_s - self.last_frame_s)
                    self.last_frame_s = now_s
                    self.frames += 1
                    if event.audio_timestamp_ms is not None:
                        self.audio_ms.append(event.audio_timestamp_ms)
                    try:
                        decoder.decode(av.Packet(event.data))
                    except av.FFmpegError:
                        self.decode_errors += 1
                case Resumed():
                    self.resumed += 1
                case Reopened():
                    self.lost += 1
                case _:
                    pass

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


def kill_one(server: ServerProcess, number: int) -> None:
    """Kill the app process with this number."""
    for child in psutil.Process(server.pid).children():
        arguments = child.cmdline()
        if "--app-process" in arguments and arguments[-1].startswith(f"{number},"):
            child.kill()


async def run(server: ServerProcess, sessions: int, kills: int) -> list[Viewer]:
    viewers = [
        Viewer(await AvatarClient(server.address, f"user{n}").__aenter__(), speaks=n % 2 == 0)
        for n in range(sessions)
    ]
    tasks = [asyncio.create_task(viewer.watch()) for viewer in viewers]
    tasks += [asyncio.create_task(viewer.speak()) for viewer in viewers if viewer.speaks]
    await asyncio.sleep(2)
    for number in range(kills):
        kill_one(server, number % PROCESSES)
        await asyncio.sleep(SETTLE_S + random.random())
        if (number + 1) % 10 == 0:
            print(f"{number + 1} kills, {sum(v.resumed for v in viewers)} resumed", flush=True)
    for viewer in viewers:
        now_s = time.monotonic()
        if now_s - viewer.last_frame_s > WANTED_P95_S:
            viewer.lost += 1
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for viewer in viewers:
        await viewer.client.close()
    return viewers


def main() -> int:
    parser = argparse.ArgumentParser(description="What does the death of a process cost?")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--sessions", type=int, default=10)
    add_json_argument(parser)
    options = parser.parse_args()
    environment = {"PROCESSES": str(PROCESSES), "SPEAKING_PLACES": "1000"}
    with ServerProcess(**environment) as server:
        viewers = asyncio.run(run(server, options.sessions, options.kills))
    gaps_s = [gap for viewer in viewers for gap in viewer.gaps_s]
    verdict = Verdict("failover")
    verdict.notes.append(
        f"{options.kills} kills of one of {PROCESSES} processes under {options.sessions} sessions, "
        f"half of them speaking; {sum(v.resumed for v in viewers)} resumed"
    )
    verdict.at_most("sessions lost", 0, sum(v.lost for v in viewers))
    verdict.at_most("access units that do not decode", 0, sum(v.decode_errors for v in viewers))
    verdict.below(
        "without pictures, p95",
        WANTED_P95_S,
        float(np.percentile(gaps_s, 95)) if gaps_s else 0.0,
        "s",
    )
    verdict.at_most("speech repeated or left out", 0, sum(v.repeated for v in viewers))
    verdict.at_most("utterances not whole", 0, sum(v.wrong_utterances for v in viewers))
    return verdict.conclude(options.json)


if __name__ == "__main__":
    sys.exit(main())
