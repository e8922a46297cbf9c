"""``python -m benchmarks.stream [--minutes 10]``

One session over minutes, speaking and pausing: is it 25 frames a second, to the millisecond? And
how fast is a session there, once the server is warm?
"""

import argparse
import asyncio
import sys

from benchmarks.server import Server, add_server_arguments, server_under_test
from benchmarks.speech import Speech, speech
from benchmarks.verdict import Verdict
from talking_avatar import AvatarClient, as_spoken
from talking_avatar.measurement import Spread, StreamReport
from talking_avatar.observation import Observation

UTTERANCE_FRAMES = 200
PAUSE_S = 3.0
WARM_STARTS = 20


async def first_frames_s(server: Server, user_id: str) -> list[float]:
    """From INIT to the first frame, of several sessions one after the other."""
    times = []
    for _ in range(WARM_STARTS):
        async with AvatarClient(server.address, user_id) as client:
            async for frame in client.frames():
                times.append(frame.received_s - client.init_sent_s)
                break
    return times


async def hold(server: Server, user_id: str, spoken: Speech, minutes: float) -> StreamReport:
    """Utterances of 8 s with pauses between them, until the time is over."""
    loop = asyncio.get_running_loop()
    async with (
        AvatarClient(server.address, user_id, reconnects=False) as client,
        Observation(client) as observation,
    ):
        end_s = loop.time() + minutes * 60
        count = 0
        while loop.time() < end_s and observation.is_open:
            pcm = spoken.part(count * UTTERANCE_FRAMES, UTTERANCE_FRAMES)
            await (await client.speak(as_spoken(pcm)))
            await observation.wait(min(PAUSE_S, max(0.0, end_s - loop.time())))
            count += 1
            if sys.stdout.isatty():
                print(f"\r{max(0.0, end_s - loop.time()):5.0f} s left", end="", flush=True)
        for problem in observation.problems:
            print(problem)
        return observation.report()


async def measure(server: Server, user_id: str, minutes: float) -> Verdict:
    verdict = Verdict("stream")
    spoken = speech()
    verdict.notes.append(f"{minutes:g} minutes, one session, {spoken.source}")
    await first_frames_s(server, user_id)  # the first sessions warm the server up
    starts = Spread.of(await first_frames_s(server, user_id))
    report = await hold(server, user_id, spoken, minutes)
    assert starts is not None
    lateness, latency = report.lateness, report.latency
    verdict.near("frames per second", 25.0, 0.005, report.frames_per_second)
    verdict.below("lateness p99", 10, lateness.p99_ms if lateness else None)
    verdict.told("lateness p50", lateness.p50_ms if lateness else None, "ms")
    verdict.told("lateness max", lateness.max_ms if lateness else None, "ms")
    verdict.none_of("frames missing", report.missing_frames)
    verdict.none_of("timestamps not exact", report.broken_timestamps)
    verdict.none_of("access units not decodable", report.decode_errors)
    verdict.none_of("ERROR messages", sum(report.errors.values()))
    verdict.below("INIT to first frame, p95", 100, starts.p95_ms)
    verdict.told("INIT to first frame, p50", starts.p50_ms, "ms")
    verdict.below("chunk sent to frame, p95", 120, latency.p95_ms if latency else None)
    verdict.told("chunk sent to frame, p50", latency.p50_ms if latency else None, "ms")
    verdict.at_least("frames of speech", 1, report.speech_frames)
    verdict.told("bytes a frame", report.video_bytes / max(1, report.frames))
    return verdict


def main() -> int:
    parser = argparse.ArgumentParser(description="Does one stream hold its rate over minutes?")
    parser.add_argument("--minutes", type=float, default=10.0)
    add_server_arguments(parser)
    options = parser.parse_args()
    with server_under_test(options) as server:
        verdict = asyncio.run(measure(server, options.user_id, options.minutes))
    return verdict.conclude(options.json)


if __name__ == "__main__":
    sys.exit(main())
