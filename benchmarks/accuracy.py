"""``python -m benchmarks.accuracy [--full | --models DIR] [--kernels]``

The error budget of the MuseTalk engine: by how much half precision moves the pictures, stage by
stage and as a whole, and with ``--kernels`` by how much each fused kernel does. Exits non-zero
where a row is over its budget. Without a GPU half precision is emulated (`benchmarks.rounding`),
and the kernels run in Triton's interpreter on networks of its size. ``--models`` takes a model
tree, the published weights; else weights are made by rule, of the published size with ``--full``.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from benchmarks.accuracy_stages import Off


class Budget(NamedTuple):
    """What a row may be off: levels of 255; for latents, parts of their root mean square."""

    mean: float
    most: float


HALF: dict[str, Budget] = {
    "latents kept by a prepared clip": Budget(0.05, 1),
    "UNet's latents": Budget(0.003, 0.02),
    "UNet alone": Budget(0.2, 4),
    "decoder alone": Budget(0.2, 4),
    "whole face": Budget(0.25, 6),
    "patch as it is shown": Budget(0.15, 3),
}
"""Of float16. The encoder's rows have no budget: what it makes of a clip is kept as it is, and an
encoder that was not trained says little about it. bfloat16 is not used, and measured only to
say why."""

KERNEL = {"float32": Budget(0.01, 1), "float16": Budget(0.2, 2)}
"""A kernel, and all of them, against the plain networks of the same precision."""

KERNELS_TO_SINGLE = Budget(0.25, 3)
"""All kernels in float16 against the plain networks in float32."""


def budget_of(row: "Off") -> Budget | None:
    """Return what ``row`` may be off; None where it is only told."""
    if row.stage == "all kernels, to single precision":
        return KERNELS_TO_SINGLE
    if row.stage == "all kernels" or row.stage.startswith("kernel "):
        return KERNEL[row.precision]
    return HALF.get(row.stage) if row.precision == "float16" else None


def is_within(row: "Off") -> bool:
    """Whether ``row`` is within its budget; numbers that are not finite never are."""
    budget = budget_of(row)
    if budget is None:
        return True
    return row.is_finite and row.mean <= budget.mean and row.most <= budget.most


def line_of(row: "Off") -> str:
    """One line of the table."""
    budget = budget_of(row)
    allowed = "-" if budget is None else f"{budget.mean:g} / {budget.most:g}"
    verdict = "" if budget is None else "ok" if is_within(row) else "OVER"
    if not row.is_finite:
        verdict = f"{verdict} (not finite)"
    found = f"{row.mean:.4f} / {row.most:.3g}"
    return f"{row.stage:34} {row.precision:9} {found:>16} {allowed:>13}  {verdict}".rstrip()


def measure(options: argparse.Namespace) -> "Iterator[Off]":
    """All rows."""
    import torch

    from benchmarks import accuracy_stages as stages
    from benchmarks import musetalk_paths
    from inference.engines.musetalk.constants import LATENT_SIZE
    from inference.engines.musetalk.nets import fused

    device = torch.device(options.device)
    if options.models is None:
        nets = musetalk_paths.make_nets(full=options.full)
    else:
        from inference.engines.musetalk.networks import load_networks
        from inference.engines.musetalk.weights import find_tree

        nets = load_networks(find_tree(options.models))
    if nets.encoder is None:
        nets.encoder = musetalk_paths.make_encoder(full=options.full)
    nets.to(device, torch.float32)
    yield from stages.preparation(nets, nets.encoder, device, options.pictures)
    yield from stages.stages(nets, device, options.pictures)
    if not options.kernels:
        return
    if fused.kernels is None:
        print("Triton is not installed: nothing to say about the kernels", flush=True)
        return
    for dtype in (torch.float32, torch.float16):
        if device.type == "cpu":
            yield from stages.kernels(*stages.small_for_kernels(), device, dtype)
        else:
            sides = nets.width, LATENT_SIZE
            yield from stages.kernels(nets.unet, nets.decoder, *sides, device, dtype)


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.accuracy", description=__doc__)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--full", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--models", type=Path, help="a model tree in place of weights by rule")
    parser.add_argument("--pictures", type=int, default=2)
    parser.add_argument("--kernels", action="store_true")
    parser.add_argument("--threads", type=int, default=2, help="torch threads on a CPU")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parsed(arguments)
    import torch

    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.device == "cpu":
        # Before the kernels are imported: Triton decides then whether it interprets.
        os.environ.setdefault("TRITON_INTERPRET", "1")
    torch.set_num_threads(options.threads)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    where = torch.cuda.get_device_name() if options.device == "cuda" else "CPU, half emulated"
    print(f"{where}; off by (mean / most); bytes of 255, latents in parts of their own", flush=True)
    rows = []
    with torch.inference_mode():
        for row in measure(options):
            rows.append(row)
            print(line_of(row), flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    over = sum(not is_within(row) for row in rows)
    print(f"{len(rows)} rows, {over} over their budget")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
