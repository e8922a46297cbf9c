"""The networks at their real size, with rule-made weights, against the reference's outputs.

Needs no weight file and, for the tables on a bare GPU machine, no diffusers or transformers.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.parity_table import Verdict, within
from benchmarks.rule_weights import draw, read_shapes, rule_checkpoint
from inference.engines.musetalk.constants import LATENT_SCALE
from inference.engines.musetalk.nets import face_parsing, unet, vae, whisper


def _input(seed: int, shape: tuple[int, ...], factor: float = 1.0) -> torch.Tensor:
    return torch.from_numpy(draw([7, seed], shape)) * factor


def find_keys(folder: Path, name: str) -> Path:
    """``keys_NAME.json`` in ``folder`` or one up."""
    for place in (folder, folder.parent):
        if (place / f"keys_{name}.json").exists():
            return place / f"keys_{name}.json"
    raise FileNotFoundError(f"keys_{name}.json is neither in {folder} nor one folder up")


def assembled(make: Any, checkpoint: dict[str, torch.Tensor]) -> Any:
    """Return a net with these weights, ready to run."""
    with torch.device("meta"):
        net = make()
    net.load_state_dict(checkpoint, assign=True)
    return net.eval().requires_grad_(False)


def full_unet(folder: Path) -> Any:
    shapes = read_shapes(find_keys(folder, "unet"))
    return assembled(
        lambda: unet.UNet(unet.UNetShape()), unet.fold_checkpoint(rule_checkpoint(shapes))
    )


def full_vae(folder: Path, part: str) -> Any:
    make: Any = vae.Decoder if part == "decoder" else vae.Encoder
    checkpoint = rule_checkpoint(read_shapes(find_keys(folder, "sd_vae")))
    return assembled(lambda: make(vae.VaeShape()), vae.fold_checkpoint(checkpoint, part))


def full_whisper(folder: Path) -> Any:
    shapes = {
        name.removeprefix("encoder."): shape
        for name, shape in read_shapes(find_keys(folder, "whisper_tiny")).items()
        if name.startswith("encoder.")
    }
    return assembled(
        lambda: whisper.WhisperEncoder(whisper.WhisperShape()), rule_checkpoint(shapes)
    )


def full_face_parsing(folder: Path) -> Any:
    shapes = read_shapes(find_keys(folder, "bisenet"))
    return assembled(face_parsing.BiSeNet, rule_checkpoint(shapes))


def stages(folder: Path) -> Iterator[Verdict]:
    """UNet, VAE, Whisper, BiSeNet."""
    golden = np.load(folder / "unet.npz")
    found = full_unet(folder)(_input(5, (1, 8, 32, 32), 2), _input(6, (1, 50, 384), 2))
    yield within("UNet", found, golden["pred"], 2e-3)
    golden = np.load(folder / "vae.npz")
    mean, deviation = full_vae(folder, "encoder")(_input(3, (1, 3, 256, 256)))
    yield within("VAE posterior mean", mean, golden["posterior_mean"], 2e-3)
    yield within("VAE posterior std", deviation, golden["posterior_std"], 2e-3)
    # The golden latents are the VAE's own; ours come scaled, as the UNet gives them.
    decoded = full_vae(folder, "decoder")(_input(4, (1, 4, 32, 32), 4 * LATENT_SCALE))
    yield within("VAE decoded", decoded[0, :, ::4, ::4], golden["decoded_sub4"], 2e-3)
    golden = np.load(folder / "whisper_encoder.npz")
    hidden = full_whisper(folder)(_input(2, (1, 80, 3_000)))[0]
    yield within("Whisper encoder", hidden[golden["idx"]], golden["hidden"], 1e-3)
    golden = np.load(folder / "bisenet.npz")
    logits = full_face_parsing(folder)(_input(1, (1, 3, 512, 512), 2))[0]
    yield within("BiSeNet logits", logits[:, ::16, ::16], golden["logits_sub16"], 1e-3)
    yield within("BiSeNet classes", logits.argmax(0)[::4, ::4], golden["argmax_sub4"], 0)


def measure(folder: Path) -> list[Verdict]:
    with torch.inference_mode():
        return list(stages(folder))
