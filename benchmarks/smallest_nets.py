"""A model tree with networks as small as the architecture allows, for what is not about them.

The small networks of the tests take a busy core a quarter of a second a picture, and half of that
is attention in heads of two channels. Here heads have one, and the narrow decoder four channels.
Weights are made by rule, so a mouth is noise, which is easily seen.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from benchmarks.folders import MUSETALK_DATA
from benchmarks.rule_tree import config_of
from benchmarks.rule_weights import rule_checkpoint
from inference.engines.musetalk.nets.published import (
    Shapes,
    shapes_of,
    unet_shapes,
    whisper_encoder_shapes,
)
from inference.engines.musetalk.nets.unet import UNetShape
from inference.engines.musetalk.nets.vae import Decoder, VaeShape
from inference.engines.musetalk.nets.whisper import WhisperShape
from inference.engines.musetalk.training.narrow_files import write_narrow_decoder
from inference.engines.musetalk.weights import NARROW_FOLDER

_WIDTH = 8
_DECODER = VaeShape(channels=(4, 4, 4, 4), groups=2, layers=1)
_Nets = tuple[str, str, Callable[[dict[str, Any]], Shapes], dict[str, Any]]
_NETS: tuple[_Nets, ...] = (
    (
        "unet",
        "diffusion_pytorch_model.safetensors",
        lambda config: unet_shapes(UNetShape.from_config(config)),
        {
            "block_out_channels": [_WIDTH] * 4,
            "cross_attention_dim": _WIDTH,
            "norm_num_groups": _WIDTH // 2,
        },
    ),
    (
        "whisper",
        "model.safetensors",
        lambda config: whisper_encoder_shapes(WhisperShape.from_config(config)),
        {
            "d_model": _WIDTH,
            "encoder_attention_heads": 1,
            "encoder_ffn_dim": _WIDTH,
        },
    ),
)


def write_smallest_tree(root: Path) -> None:
    """Write it, for `MODEL_PATH` with ``MUSETALK_DECODER=narrow``."""
    shutil.copytree(MUSETALK_DATA / "weights", root, dirs_exist_ok=True)
    for name, file_name, shapes_by, differing in _NETS:
        config = config_of(name, full=False) | differing
        (root / name / "config.json").write_text(json.dumps(config))
        save_file(_half(_by_rule(shapes_by(config))), root / name / file_name)
    decoder = Decoder(_DECODER)
    decoder.load_state_dict(_by_rule(shapes_of(decoder)))
    write_narrow_decoder(root / NARROW_FOLDER, _DECODER, decoder)


def _by_rule(shapes: Shapes) -> dict[str, Tensor]:
    return rule_checkpoint({name: list(shape) for name, shape in shapes.items()})


def _half(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: value.half() if value.is_floating_point() else value
        for name, value in weights.items()
    }
