"""Where the time and the memory of a batch go: tables for `benchmarks.gpu_sections`."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity

from benchmarks import musetalk_paths as paths
from inference.engines.musetalk.execution.buckets import SIZES
from inference.engines.musetalk.execution.runner import Runner
from inference.engines.musetalk.networks import Networks

PROFILED_CALLS = 5
SHOWN_KERNELS = 25
NAME_LENGTH = 70

Say = Callable[[str], None]


def _runner(
    is_cuda: bool, buckets: tuple[int, ...], *, records: bool, nets: Networks | None = None
) -> tuple[Runner, int]:
    """Return a runner of the published size on a GPU, of small networks on a CPU; and the width.

    ``nets`` are copied; None: they are made now, which takes a while.
    """
    device = torch.device("cuda:0" if is_cuda else "cpu")
    dtype = torch.float16 if is_cuda else torch.float32
    if is_cuda:
        torch.backends.cudnn.benchmark = True
    nets = paths.make_nets(full=is_cuda) if nets is None else copy.deepcopy(nets)
    nets.to(device, dtype)
    return Runner(nets, device, dtype, buckets=buckets, records=records and is_cuda), nets.width


def kernels_of_a_batch(*, is_cuda: bool, say: Say) -> None:
    """Self time of every kernel of one batch, called plainly: a recorded graph hides names."""
    size = 16 if is_cuda else 2
    runner, width = _runner(is_cuda, (size,), records=False)
    latents, tokens = paths.inputs(size, width)
    work = paths.networks_alone(runner, size, width)
    took_s = paths.seconds(work, runner.device, 0.5)
    say(f"Batch of {size}, plain calls: {took_s * 1_000:.2f} ms.\n")
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if is_cuda else [])]
    with torch.profiler.profile(activities=activities) as profiled:
        for _ in range(PROFILED_CALLS):
            runner.generate(latents, tokens)
        paths.synchronize(runner.device)
    times = [
        (_self_us(event, is_cuda) / PROFILED_CALLS, event) for event in profiled.key_averages()
    ]
    times = sorted((one for one in times if one[0] > 0), key=lambda one: -one[0])
    whole = sum(time for time, _ in times)
    say(f"Sum of all: {whole / 1_000:.2f} ms.\n")
    say("| kernel | calls | ms | share |\n|---|---|---|---|")
    for time, event in times[:SHOWN_KERNELS]:
        calls = event.count / PROFILED_CALLS
        name = event.key[:NAME_LENGTH].replace("|", "/")
        say(f"| `{name}` | {calls:.0f} | {time / 1_000:.3f} | {time / whole:.1%} |")


def _self_us(event: Any, is_cuda: bool) -> float:
    """Microseconds of the event itself on the device that is measured."""
    if not is_cuda:
        return float(event.self_cpu_time_total)
    # Only kernels have time on the device and none on the host.
    return float(event.self_device_time_total) if not event.self_cpu_time_total else 0.0


def memory_by_batch(*, is_cuda: bool, say: Say) -> None:
    """Print what the engine's nets need at each largest batch: all buckets up to it, recorded."""
    say("| largest batch | held GiB | peak GiB | in use on the device GiB |\n|---|---|---|---|")
    sizes = SIZES if is_cuda else SIZES[:2]
    nets = paths.make_nets(full=is_cuda)
    for at, size in enumerate(sizes):
        if not is_cuda:
            runner, _ = _runner(False, sizes[: at + 1], records=False, nets=nets)
            runner.warm_up(lambda text: None)
            say(f"| {size} | - | {_resident_gib():.2f} (process) | - |")
            continue
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        runner, _ = _runner(True, sizes[: at + 1], records=True, nets=nets)
        runner.warm_up(lambda text: None)
        held, peak = torch.cuda.memory_reserved(), torch.cuda.max_memory_reserved()
        free, total = torch.cuda.mem_get_info()
        used = (total - free) / 2**30
        say(f"| {runner.buckets[-1]} | {held / 2**30:.2f} | {peak / 2**30:.2f} | {used:.2f} |")
        del runner


def _resident_gib() -> float:
    import psutil

    return float(psutil.Process().memory_info().rss) / 2**30
