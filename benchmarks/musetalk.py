"""``python -m benchmarks.musetalk [--full] [--device cuda] [--decoder taesd]``

Pictures per second of the MuseTalk engine on this machine: the reference's way (eager, batch 20,
one picture blended after the other) beside ours, by batch size, with the share of what the device's
arithmetic allows; and what half precision does to the pictures. Needs torch, numpy, OpenCV and
Pillow, nothing else of the project's requirements; where diffusers is installed the reference's way
is timed with its classes as well. ``--plot`` needs matplotlib.
"""

import argparse
import copy
import importlib.util
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import musetalk_paths as paths
from inference.engines.musetalk.execution.buckets import SIZES
from inference.engines.musetalk.execution.runner import Runner
from inference.engines.musetalk.networks import Networks

Row = dict[str, Any]
Timed = Callable[[str, int, Callable[[], object]], Row]
"""Times a path with a batch."""

REFERENCE = "reference's way"
DIFFUSERS = "reference's way by diffusers"
"""The same with diffusers' own classes, in torch's own layout."""


def say(text: str) -> None:
    print(text, flush=True)


def device_tflops(device: torch.device, dtype: torch.dtype) -> float:
    """Return what a large matrix product reaches: the yardstick of the share."""
    size = 8_192 if device.type == "cuda" else 1_024
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / paths.seconds(lambda: a @ b, device, 1.0) / 1e12


def gflops_per_picture(nets: Networks, width: int) -> float:
    """Of the published arrangement, counted on the meta device."""
    meta = torch.device("meta")
    latents, tokens = (x.to(meta, torch.float32) for x in paths.inputs(1, width))
    unet, decoder = (paths.as_published(net).to(meta) for net in (nets.unet, nets.decoder))
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        decoder(unet(latents, tokens))
    return float(counter.get_total_flops()) / 1e9


def peak_memory_gib(device: torch.device) -> float | None:
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None


def half_precision_errors(nets: Networks, device: torch.device, width: int) -> list[Row]:
    """How far the decoded bytes of each precision are from float32's; run before all else."""
    latents, tokens = paths.inputs(4, width)
    wanted: Any = None
    rows = []
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        rounded = copy.deepcopy(nets).to(device, dtype)
        pixels, is_finite = Runner(rounded, device, dtype, records=False).generate(latents, tokens)
        found = pixels.cpu().int()
        wanted = found if wanted is None else wanted
        off = (found - wanted).abs()
        rows.append(
            {
                "precision": str(dtype).removeprefix("torch."),
                "mean": float(off.float().mean()),
                "max": int(off.max()),
                "finite": bool(is_finite.all()),
            }
        )
    return rows


def measure(options: argparse.Namespace) -> Row:
    """All rows."""
    device = torch.device(options.device)
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    nets = paths.make_nets(full=options.full, decoder=options.decoder)
    report = yardstick(options, nets, device, dtype)
    if options.precision:
        report["precision"] = half_precision_errors(nets, device, nets.width)
        for row in report["precision"]:
            say(f"{row['precision']}: mean {row['mean']:.3f}, max {row['max']} of 255")
        say("")
    timed = partial(time_row, device, report["limit"], options.seconds)
    report["rows"] = [
        *reference_rows(options, nets, device, dtype, timed),
        *our_rows(options, nets.to(device, dtype), device, dtype, timed),
    ]
    compare(report)
    return report


def yardstick(
    options: argparse.Namespace, nets: Networks, device: torch.device, dtype: torch.dtype
) -> Row:
    """Return what is measured on, and how many pictures a second its arithmetic allows."""
    gflops = gflops_per_picture(nets, nets.width)
    tflops = device_tflops(device, dtype)
    limit = tflops * 1_000 / gflops
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    say(f"{name}, torch {torch.__version__}, {'full' if options.full else 'small'} networks,")
    say(f"decoder {options.decoder}, {dtype}: {gflops:.1f} GFLOP a picture, {tflops:.2f} TFLOP/s")
    say(f"reached by a matrix product, so at most {limit:.0f} pictures/s\n")
    return {"device": name, "torch": torch.__version__, "limit": limit}


def time_row(
    device: torch.device,
    limit: float,
    spend_s: float,
    path: str,
    batch: int,
    work: Callable[[], object],
) -> Row:
    """Time one way of working with one batch, and print its row."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    took_s = paths.seconds(work, device, spend_s)
    row = {
        "path": path,
        "batch": batch,
        "ms": took_s * 1_000,
        "pictures_per_s": batch / took_s,
        "share": batch / took_s / limit,
        "peak_gib": peak_memory_gib(device),
    }
    memory = f"{row['peak_gib']:6.1f} GiB" if row["peak_gib"] is not None else ""
    say(
        f"{path:40} {batch:5} {row['ms']:9.1f} ms {row['pictures_per_s']:8.1f}/s "
        f"{row['share']:6.1%} {memory}"
    )
    return row


def reference_rows(
    options: argparse.Namespace,
    nets: Networks,
    device: torch.device,
    dtype: torch.dtype,
    timed: Timed,
) -> list[Row]:
    """Of the reference's way, with our networks and, where there are, with diffusers' own."""

    def time_way(name: str, unet: Any, decoder: Any) -> list[Row]:
        way = paths.ReferenceWay(unet, decoder, device, dtype, nets.width, options.reference_batch)
        return [
            timed(f"{name}, networks", way.batch, way.networks()),
            timed(f"{name}, whole loop", way.batch, way.whole()),
        ]

    rows = time_way(
        REFERENCE,
        paths.as_published(nets.unet).to(device, dtype),
        paths.as_published(nets.decoder).to(device, dtype),
    )
    if options.decoder != "sd":
        say("diffusers' classes are timed with the SD decoder only")
    elif importlib.util.find_spec("diffusers") is None:
        say("diffusers is not installed: its own classes are not timed")
    else:
        rows += time_way(DIFFUSERS, *published_classes(options.full, device, dtype))
    return rows


def our_rows(
    options: argparse.Namespace,
    nets: Networks,
    device: torch.device,
    dtype: torch.dtype,
    timed: Timed,
) -> list[Row]:
    """Of our way, as it is and without what makes it fast."""
    rows = [timed("listening", n, paths.listening(nets, device, n)) for n in options.batches]
    variants: dict[str, dict[str, bool]] = {}
    if device.type == "cuda":  # what matters most first: the time for this may be short
        variants["recorded, fused norms"] = {}
        variants["eager, fused norms"] = {"records": False}
    variants["eager, channels-last"] = {"records": False, "fuses": False}
    for variant, choices in variants.items():
        runner = Runner(nets, device, dtype, buckets=options.batches, **choices)
        began = time.perf_counter()
        runner.warm_up(lambda text: None)
        say(f"{variant}: warmed up in {time.perf_counter() - began:.0f} s")
        for size in runner.buckets:
            alone = paths.networks_alone(runner, size, nets.width)
            rows.append(timed(f"networks, {variant}", size, alone))
            rows.append(timed(f"whole, {variant}", size, paths.whole(runner, size, nets.width)))
    return rows


def published_classes(full: bool, device: torch.device, dtype: torch.dtype) -> tuple[Any, Any]:
    """Return the UNet and decoder of diffusers, of the published or the small networks' size."""
    from benchmarks.published_nets import untrained_networks
    from benchmarks.rule_tree import config_of

    unet_config, vae_config = (config_of(name, full=full) for name in ("unet", "vae"))
    return untrained_networks(unet_config, vae_config, device, dtype)


def compare(report: Row) -> None:
    """Ours over the reference's, best against best."""

    def best(start: str) -> float:
        rows = [row for row in report["rows"] if row["path"].startswith(start)]
        return float(max(row["pictures_per_s"] for row in rows))

    for name in (REFERENCE, DIFFUSERS):
        if not any(row["path"].startswith(name) for row in report["rows"]):
            continue
        for ours, theirs in (("networks", "networks"), ("whole", "whole loop")):
            times = best(f"{ours}, ") / best(f"{name}, {theirs}")
            report[f"times_{ours}, {name}"] = times
            say(f"{ours}: {times:.2f} times {name}")


def plot(report: Row, path: Path) -> None:
    """Pictures per second over the batch size, one line a path."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    for name in dict.fromkeys(row["path"] for row in report["rows"]):
        rows = [row for row in report["rows"] if row["path"] == name and name != "listening"]
        sizes, rates = [row["batch"] for row in rows], [row["pictures_per_s"] for row in rows]
        axes.plot(sizes, rates, "o-", label=name)
    axes.axhline(report["limit"], linestyle=":", color="gray", label="limit of the arithmetic")
    axes.set(xlabel="batch", ylabel="pictures per second", xscale="log", title=report["device"])
    axes.set_xscale("log", base=2)
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.musetalk", description=__doc__)
    is_cuda = torch.cuda.is_available()
    parser.add_argument("--device", default="cuda" if is_cuda else "cpu")
    parser.add_argument("--full", action=argparse.BooleanOptionalAction, default=is_cuda)
    parser.add_argument("--decoder", choices=("sd", "narrow", "taesd"), default="sd")
    parser.add_argument("--precision", action="store_true", help="compare half with single first")
    parser.add_argument("--batches", type=int, nargs="+")
    parser.add_argument("--reference-batch", type=int, default=20 if is_cuda else 4)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each row")
    parser.add_argument("--threads", type=int, default=1, help="torch threads on a CPU")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    options.batches = options.batches or (list(SIZES) if is_cuda else [1, 2, 4])
    torch.set_num_threads(options.threads)
    if options.device.startswith("cuda"):
        # As the engine does; full single precision is what the half one is compared with.
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = False
    with torch.inference_mode():
        report = measure(options)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))
    if options.plot:
        plot(report, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
