"""What a call takes on a device, without what it takes the host to start it.

In the stream batches are recorded, and starting costs nothing. A kernel of ours is started from
Python, which takes longer than many of them run: timed plainly, they would lose to those of torch.
So on CUDA the calls are recorded for timing, too.
"""

import time
from collections.abc import Callable

import torch

from inference.engines.musetalk.devices import synchronize
from inference.engines.musetalk.recording import RecordingFailed, record

WARM_UPS = 3
ROUNDS = 5
CALLS = 20
"""In one round; the fastest round counts, since other programs only make a call longer."""


def milliseconds(
    work: Callable[[], object], device: torch.device, *, calls: int = CALLS, rounds: int = ROUNDS
) -> float:
    """What one call of ``work`` takes when many follow each other on ``device``."""
    for _ in range(WARM_UPS):
        work()
    if device.type == "cuda":
        try:
            return _recorded_ms(work, device, calls, rounds)
        except RecordingFailed:
            pass
    best = float("inf")
    for _ in range(rounds):
        synchronize(device)
        began_s = time.perf_counter()
        for _ in range(calls):
            work()
        synchronize(device)
        best = min(best, time.perf_counter() - began_s)
    return best * 1_000 / calls


def _recorded_ms(
    work: Callable[[], object], device: torch.device, calls: int, rounds: int
) -> float:
    def repeated() -> None:
        for _ in range(calls):
            work()

    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        work()  # libraries allocate a workspace for each stream
    stream.synchronize()
    graph, _ = record(repeated, stream)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    best = float("inf")
    with torch.cuda.stream(stream):
        graph.replay()
        for _ in range(rounds):
            begin.record()
            graph.replay()
            end.record()
            end.synchronize()
            best = min(best, begin.elapsed_time(end))
    return best / calls
