"""``python -m benchmarks.preparing [--device cuda] [--full] [--pictures 100]``

Pictures per second of preparing clips for MuseTalk: each step alone on one thread, and all together
as the engine does it, a few pictures at a time and one at a time. The steps before and after the
nets are the same on every machine with a GPU, and run beside its work. Weights are made by rule.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.folders import PRESENTER
from benchmarks.musetalk_paths import make_encoder
from inference.assets import manifest as manifests
from inference.assets.clips import Clip, PictureCache
from inference.assets.manifest import clip_path
from inference.engines.musetalk.constants import SKIN
from inference.engines.musetalk.devices import layout_of
from inference.engines.musetalk.face.boxes import crop_box
from inference.engines.musetalk.face.masks import oval_region
from inference.engines.musetalk.nets import face_parsing
from inference.engines.musetalk.prepare.avatar import FaceClip, Provenance, write_clip
from inference.engines.musetalk.prepare.clip_files import find_meshes
from inference.engines.musetalk.prepare.encoding import BATCH, FaceNets
from inference.engines.musetalk.prepare.preparation import ClipPreparer, find_face, patch_and_mask
from inference.media.types import Picture

CLIP = "speaking_0"

Seen = list[tuple[Picture, NDArray[np.float32]]]


def make_nets(*, full: bool, device: torch.device) -> tuple[Any, Any]:
    """Encoder and face parser, as the engine holds them."""
    encoder = make_encoder(full=full)
    half = torch.float32 if device.type == "cpu" else torch.float16
    encoder.to(device=device, dtype=half, memory_format=layout_of(device))
    parser = face_parsing.BiSeNet().to(device)
    return encoder, parser.eval().requires_grad_(False)


def rate(name: str, count: int, work: Callable[[], object]) -> None:
    """Do something once for ``count`` pictures, and print how fast.

    On a machine that does something else beside, what it takes of the processor says more.
    """
    began_s, used_s = time.perf_counter(), time.process_time()
    work()
    took_s, used_s = time.perf_counter() - began_s, time.process_time() - used_s
    ms, cpu_ms = (1_000 * seconds / count for seconds in (took_s, used_s))
    print(f"| {name} | {count / took_s:.0f} | {ms:.2f} | {cpu_ms:.2f} |", flush=True)


def drain(items: Iterable[object]) -> None:
    """Draw all."""
    for _ in items:
        pass


def measure(device: torch.device, count: int, *, full: bool) -> None:
    """Print a row for each step alone, and for all together."""
    encoder, parser = make_nets(full=full, device=device)
    is_gpu = device.type != "cpu"  # on which the parser, of the published size, takes seconds
    manifest = manifests.read(PRESENTER)
    [entry] = [entry for entry in manifest.clips if entry.name == CLIP]
    count = min(count, entry.frames)
    clip = Clip(CLIP, entry, clip_path(PRESENTER, CLIP), PictureCache())
    print("| step | pictures/s | ms | processor ms |\n|---|---|---|---|", flush=True)
    pictures: list[Picture] = []
    rate("decode", count, lambda: pictures.extend(clip.picture(n) for n in range(count)))
    seen: Seen = []
    rate("find the face", count, lambda: seen.extend(find_meshes(pictures)))
    faces: list[Any] = []
    rate("cut out", count, lambda: faces.extend(find_face(one, has_parser=True) for one in seen))
    given = [face.pixels for face in faces]
    for batch in (1, BATCH):
        for name, parser_net in [("encode", None), *[("encode and parse", parser)] * is_gpu]:
            nets = FaceNets(encoder, parser_net, device, batch=batch)
            nets.warm_up()
            rate(f"{name}, {batch} at a time", count, lambda: drain(nets.each(given)))  # noqa: B023
    skins = [np.where(oval_region(f.mesh, crop_box(f.box)), SKIN, 0).astype("u1") for f in faces]
    rate("mask", count, lambda: list(map(patch_and_mask, faces, skins)))
    rate("mask by the oval", count, lambda: [patch_and_mask(face, None) for face in faces])
    made: list[FaceClip] = []
    for batch in (1, BATCH):
        preparer = ClipPreparer(encoder, parser if is_gpu else None, device, batch=batch)
        rate(
            f"**all, {batch} at a time**",
            count,
            lambda: made.append(preparer.prepare(find_meshes(pictures), count)),  # noqa: B023
        )
    with tempfile.TemporaryDirectory(prefix="avatar-preparing-") as folder:
        provenance = Provenance(manifest.version, "parsing")
        rate("write", count, lambda: write_clip(Path(folder), CLIP, made[0], provenance))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.preparing", description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--full", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1, help="torch threads on a CPU")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    torch.set_num_threads(options.threads)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = False
    measure(device, options.pictures, full=options.full)
    return 0


if __name__ == "__main__":
    sys.exit(main())
