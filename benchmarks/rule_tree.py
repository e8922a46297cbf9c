"""``python -m benchmarks.rule_tree DIR [--small | --smallest]``

A model tree as `MODEL_PATH` wants it, with networks of the published size whose weights are made by
rule: for running the whole server at MuseTalk's cost where the published weights are not at hand.
Its mouths are noise. ``--small`` gives the small networks of the tests, ``--smallest`` those of
`benchmarks.smallest_nets`, which a CPU can run live.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from benchmarks.folders import MUSETALK_DATA
from benchmarks.rule_weights import read_shapes, rule_checkpoint

PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "unet": (
        "diffusion_pytorch_model.safetensors",
        {
            "block_out_channels": [320, 640, 1280, 1280],
            "cross_attention_dim": 384,
            "norm_num_groups": 32,
        },
    ),
    "vae": (
        "diffusion_pytorch_model.safetensors",
        {"block_out_channels": [128, 256, 512, 512], "norm_num_groups": 32},
    ),
    "whisper": (
        "model.safetensors",
        {
            "d_model": 384,
            "encoder_attention_heads": 6,
            "encoder_ffn_dim": 1536,
            "decoder_attention_heads": 6,
            "decoder_ffn_dim": 1536,
            "decoder_layers": 4,
            "max_target_positions": 448,
            "vocab_size": 51865,
        },
    ),
}
"""The weights' file, and in what the published config differs from the small network's."""

_KEYS = {"unet": "unet", "vae": "sd_vae", "whisper": "whisper_tiny"}


def config_of(name: str, *, full: bool = True) -> dict[str, Any]:
    """Return the published config of a network, or that of the tests' small one."""
    small: dict[str, Any] = json.loads(
        (MUSETALK_DATA / "weights" / name / "config.json").read_text()
    )
    return small | PUBLISHED[name][1] if full else small


def shapes_of(name: str) -> dict[str, list[int]]:
    """Return the tensors of its published checkpoint."""
    return read_shapes(MUSETALK_DATA / "fullsize" / f"keys_{_KEYS[name]}.json")


def write_tree(root: Path) -> None:
    """Configs, and weights in half precision: 2 GB."""
    for name, (file_name, _) in PUBLISHED.items():
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config_of(name), indent=1))
        weights = {
            key: value.half() if value.is_floating_point() else value
            for key, value in rule_checkpoint(shapes_of(name)).items()
        }
        save_file(weights, folder / file_name)
        print(f"{folder / file_name}: {(folder / file_name).stat().st_size / 1e9:.2f} GB")


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.rule_tree", description=__doc__)
    parser.add_argument("to", type=Path, help="the folder, for MODEL_PATH")
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--small", action="store_true")
    sizes.add_argument("--smallest", action="store_true")
    options = parser.parse_args()
    if options.smallest:
        from benchmarks.smallest_nets import write_smallest_tree  # which imports this module

        write_smallest_tree(options.to)
        print("MUSETALK_DECODER=narrow")
    elif options.small:
        shutil.copytree(MUSETALK_DATA / "weights", options.to, dirs_exist_ok=True)
    else:
        write_tree(options.to)
    print(f"ENGINE=musetalk MODEL_PATH={options.to.resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
