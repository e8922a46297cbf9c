"""``python -m benchmarks.interrupt [--trials 40]``

From sending INTERRUPT to a shut mouth, as a viewer sees it: the stream is decoded and the region of
the mouth compared with the clip's own picture, whose mouth is shut. Only interrupts that met an
open mouth count.
"""

import argparse
import asyncio
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from benchmarks.folders import PRESENTER
from benchmarks.pictures import AvatarPictures, Luma, decoded_luma
from benchmarks.server import Server, add_server_arguments, judge_server
from benchmarks.speech import Speech, speech
from benchmarks.verdict import Verdict
from talking_avatar import AvatarClient, Frame
from talking_avatar.decoding import AccessUnitDecoder
from talking_avatar.measurement import Spread

LIMIT_MS = 150.0
SHORTEST_S, LONGEST_S = 0.6, 2.0
CALM_S = 1.2
"""Between trials: long enough for the mouth to shut and to be seen shut."""
SHUT_FRAMES = 5
"""A mouth is shut once it stays so for this many frames."""
LEVELS, SHARE = 24, 0.005
"""Shut: at most this share of the mouth's pixels are this many levels from the clip's own."""


@dataclass
class Run:
    """What was seen, and when INTERRUPT was sent and answered (seconds, monotonic)."""

    frames: list[Frame] = field(default_factory=list)
    sent_s: list[float] = field(default_factory=list)
    answered_s: list[float] = field(default_factory=list)


async def interrupt_often(server: Server, user_id: str, spoken: Speech, trials: int) -> Run:
    """Repeatedly speak, be interrupted at a random moment, and be silent for a while."""
    run = Run()
    async with AvatarClient(server.address, user_id) as client:

        async def listen() -> None:
            async for frame in client.frames():
                run.frames.append(frame)

        listening = asyncio.create_task(listen())
        for _ in range(trials):
            await client.speak(spoken.part(random.randrange(spoken.frames), 150))
            await asyncio.sleep(random.uniform(SHORTEST_S, LONGEST_S))
            run.sent_s.append(time.monotonic())
            await client.interrupt()
            run.answered_s.append(time.monotonic())
            await asyncio.sleep(CALM_S)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    return run


def mouth_change(luma: Luma, clip: str, pictures: AvatarPictures) -> float:
    """Share of the mouth's pixels that are not the clip's own."""
    index = pictures.locate(luma, clip).index
    region = pictures.mouth(clip, index)
    if region is None:
        return 0.0
    difference = cv2.absdiff(region.of(luma), region.of(pictures.luma(clip, index)))
    return float(np.mean(difference > LEVELS))


def shut_times_s(run: Run, pictures: AvatarPictures) -> list[float | None]:
    """How long each interrupt that met an open mouth took to shut it; None: it stayed open."""
    decoder, is_shut = AccessUnitDecoder(), list[bool]()
    for frame in run.frames:
        luma = decoded_luma(decoder, frame.data)
        is_shut.append(mouth_change(luma, frame.clip, pictures) <= SHARE)
    times: list[float | None] = []
    for sent_s, until_s in zip(run.sent_s, [*run.sent_s[1:], float("inf")], strict=True):
        first = next((n for n, f in enumerate(run.frames) if f.received_s >= sent_s), None)
        if not first or is_shut[first - 1]:
            continue
        times.append(None)
        for number in range(first, len(run.frames) - SHUT_FRAMES):
            if run.frames[number].received_s > until_s:
                break
            if all(is_shut[number : number + SHUT_FRAMES]):
                times[-1] = run.frames[number].received_s - sent_s
                break
    return times


async def measure(server: Server, options: argparse.Namespace) -> Verdict:
    verdict = Verdict("interrupt")
    spoken = speech()
    run = await interrupt_often(server, options.user_id, spoken, options.trials)
    times = shut_times_s(run, AvatarPictures(options.avatar))
    spread = Spread.of([time_s for time_s in times if time_s is not None])
    answers = Spread.of(
        [answer - sent for sent, answer in zip(run.sent_s, run.answered_s, strict=False)]
    )
    verdict.notes.append(f"{options.trials} interrupts, {spoken.source}")
    verdict.at_least("met an open mouth", 1, len(times))
    verdict.below("INTERRUPT to shut mouth, p95", LIMIT_MS, spread.p95_ms if spread else None)
    verdict.told("INTERRUPT to shut mouth, p50", spread.p50_ms if spread else None, "ms")
    verdict.told("INTERRUPT to shut mouth, max", spread.max_ms if spread else None, "ms")
    verdict.none_of("mouth not shut", sum(time_s is None for time_s in times))
    verdict.told("INTERRUPT to INTERRUPTED, p95", answers.p95_ms if answers else None, "ms")
    verdict.none_of("without an answer", options.trials - len(run.answered_s))
    return verdict


def main() -> int:
    parser = argparse.ArgumentParser(description="How soon is an interrupted mouth shut?")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--avatar", type=Path, default=PRESENTER, help="asset folder that is seen")
    add_server_arguments(parser)
    options = parser.parse_args()
    return judge_server(measure, options)


if __name__ == "__main__":
    sys.exit(main())
