"""Writing a narrow decoder into a model tree; `networks.load_narrow_decoder` reads it."""

import json
import tempfile
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from inference.engines.musetalk.nets.vae import VaeShape
from inference.engines.musetalk.weights import NARROW_CONFIG, NARROW_WEIGHTS


def write_narrow_decoder(folder: Path, shape: VaeShape, decoder: Any) -> None:
    """Write config and weights (half precision); a reader sees the former ones or these."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "block_out_channels": list(shape.channels),
        "norm_num_groups": shape.groups,
        "layers_per_block": shape.layers,
    }
    tensors = {
        name: value.detach().half().cpu().contiguous()
        for name, value in decoder.state_dict().items()
    }
    with tempfile.TemporaryDirectory(prefix=".narrow.", dir=folder) as draft:
        (Path(draft) / NARROW_CONFIG).write_text(json.dumps(config, indent=1) + "\n")
        save_file(tensors, Path(draft) / NARROW_WEIGHTS)
        for name in (NARROW_WEIGHTS, NARROW_CONFIG):
            (Path(draft) / name).replace(folder / name)
