"""What each lever brings, alone and left out of all: tables for `benchmarks.gpu_sections`."""

import logging
import sys
from collections.abc import Callable
from dataclasses import replace

import torch

from benchmarks import musetalk_paths as paths
from inference.engines.musetalk.execution.runner import Runner
from inference.engines.musetalk.nets import choice
from inference.engines.musetalk.nets.attention import MeasuredAttention
from inference.engines.musetalk.nets.blocks import use_operations
from inference.engines.musetalk.nets.operations import PLAIN, Operations
from inference.engines.musetalk.networks import Networks

SECONDS = 0.4
"""For each row."""

Say = Callable[[str], None]


def levers(*, is_cuda: bool, say: Say) -> None:
    """Kernels, attention and overlap; the most important first."""
    device = torch.device("cuda:0" if is_cuda else "cpu")
    dtype = torch.float16 if is_cuda else torch.float32
    size = 16 if is_cuda else 1
    if is_cuda:
        torch.backends.cudnn.benchmark = True
        logging.basicConfig(level=logging.INFO, format="    %(message)s", stream=sys.stdout)
    nets = paths.make_nets(full=is_cuda)
    nets.to(device, dtype)
    with torch.inference_mode():
        trials = _alone(device, dtype, is_cuda=is_cuda, say=say)
        chosen = choice.choose(trials) or PLAIN
        measured = MeasuredAttention(device) if is_cuda else PLAIN.attend
        everything = replace(chosen, attend=measured)
        _overlap(nets, device, dtype, size, everything, say)
        _left_out(nets, device, dtype, size, everything, say)


def _alone(
    device: torch.device, dtype: torch.dtype, *, is_cuda: bool, say: Say
) -> list[choice.Trial]:
    """Every kernel beside plain torch, as the engine tries them at its start."""
    some = {"batch": 8, "divisor": 1} if is_cuda else {"batch": 1, "divisor": 8}
    trials = [
        choice.try_out(probe, device, dtype) for probe in choice.probes(device, dtype, **some)
    ]
    say("\n| kernel | ms | plain torch | error | allowed | kept |\n|---|---|---|---|---|---|")
    for one in trials:
        ms = f"failed: {one.reason[:60]}" if one.kernel_ms is None else f"{one.kernel_ms:.3f}"
        kept = "yes" if one.is_kept else "no"
        say(
            f"| {one.name} | {ms} | {one.plain_ms:.3f} | {one.error:.2g} | {one.allowed:.2g} "
            f"| {kept} |"
        )
    return trials


def _runner(
    nets: Networks,
    device: torch.device,
    dtype: torch.dtype,
    sizes: tuple[int, ...],
    operations: Operations | None,
) -> Runner:
    runner = Runner(nets, device, dtype, buckets=sizes, fuses=False)
    for net in (nets.unet, nets.decoder):
        use_operations(net, operations)
    runner.warm_up(lambda text: None)
    return runner


def _overlap(
    nets: Networks,
    device: torch.device,
    dtype: torch.dtype,
    size: int,
    operations: Operations,
    say: Say,
) -> None:
    """From jobs to patches, two batches under way."""
    say(
        f"\nAttention by shape (batch, heads, queries, width, keys), up to batches of {2 * size}:\n"
    )
    runner = _runner(nets, device, dtype, (size, 2 * size), operations)
    say("\n| from jobs to patches | batch | ms | pictures/s |\n|---|---|---|---|")
    for count in (size, 2 * size):
        work = paths.whole(runner, count, nets.width)
        for is_on in (True, False):
            runner.overlaps = is_on
            name = "decoder beside the next UNet" if runner.overlaps else "one after the other"
            ms = paths.seconds(work, device, SECONDS) * 1_000
            say(f"| {name} | {count} | {ms:.2f} | {count * 1_000 / ms:.0f} |")


def _left_out(
    nets: Networks,
    device: torch.device,
    dtype: torch.dtype,
    size: int,
    everything: Operations,
    say: Say,
) -> None:
    """The networks alone, with all levers but one."""
    variants: list[tuple[str, Operations | None]] = [("everything", everything), ("nothing", None)]
    for name in choice.KERNEL_NAMES:
        if getattr(everything, name) != getattr(PLAIN, name):
            variants.append(
                (f"without {name}", replace(everything, **{name: getattr(PLAIN, name)}))
            )
    if everything.attend != PLAIN.attend:
        variants.append(("attention as torch chooses", replace(everything, attend=PLAIN.attend)))
    say(f"\n| networks, batch {size} | ms | pictures/s |\n|---|---|---|")
    for name, operations in variants:
        runner = _runner(nets, device, dtype, (size,), operations)
        work = paths.networks_alone(runner, size, nets.width)
        ms = paths.seconds(work, device, SECONDS) * 1_000
        say(f"| {name} | {ms:.2f} | {size * 1_000 / ms:.0f} |")
