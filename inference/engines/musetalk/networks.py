"""Loads nets from the files of a model tree: read safely, checked, folded.

What a checkpoint must hold follows from the config beside it (`nets/published.py`). A tensor that
is missing, not known, or of another shape is named. What then runs are our own nets (`nets/`): the
libraries' arithmetic in another arrangement; the tests hold the two together.
"""

import json
import pickle  # noqa: TID251 -- only for the name of the error that a refused .pth raises
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from inference.engines.musetalk.devices import layout_of
from inference.engines.musetalk.nets import (
    face_parsing,
    published,
    tiny_decoder,
    unet,
    vae,
    whisper,
)
from inference.engines.musetalk.nets.published import Shapes, shapes_of
from inference.engines.musetalk.weights import NARROW_FOLDER, Decoder, ModelTree
from inference.errors import EngineUnavailable

_OLD_ATTENTION_NAMES = {
    ".query.": ".to_q.",
    ".key.": ".to_k.",
    ".value.": ".to_v.",
    ".proj_attn.": ".to_out.0.",
}
"""diffusers before 0.18 called the VAE's attention so, and the published file still does."""


def read_config(path: Path) -> dict[str, Any]:
    """Return the JSON object in ``path``; EngineUnavailable otherwise."""
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise EngineUnavailable(f"{path}: {error}") from None
    if not isinstance(config, dict):
        raise EngineUnavailable(f"{path}: not a JSON object")
    return config


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read a state dict (``.safetensors``, which is mapped, ``.pth``, ``.bin``).

    Pickled files are read with ``weights_only``: they can hold tensors, not code.
    EngineUnavailable names a file that is missing, truncated or something else.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            checkpoint = load_file(path)
        else:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise EngineUnavailable(f"{path} cannot be read: {_first_line(error)}") from None
    except Exception as error:  # noqa: BLE001 -- safetensors' own error has no public base
        raise EngineUnavailable(f"{path} cannot be read: {_first_line(error)}") from None
    if not isinstance(checkpoint, dict) or not all(
        isinstance(value, Tensor) for value in checkpoint.values()
    ):
        raise EngineUnavailable(f"{path} does not hold a state dict of tensors")
    return checkpoint


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def check_checkpoint(path: Path, found: dict[str, Tensor], wanted: Shapes) -> None:
    """EngineUnavailable, naming the first key, unless ``found`` has the ``wanted`` shapes."""
    for key, shape in wanted.items():
        if key not in found:
            raise EngineUnavailable(f"{path}: tensor {key} is missing")
        if found[key].shape != shape:
            raise EngineUnavailable(
                f"{path}: tensor {key} has shape {list(found[key].shape)}, wanted {list(shape)}"
            )
    for key in found:
        if key not in wanted:
            raise EngineUnavailable(f"{path}: tensor {key} is not part of this net")


def published_tiny_decoder(config: dict[str, Any]) -> nn.Module:
    """Return the library's tiny VAE."""
    from diffusers import AutoencoderTiny

    return AutoencoderTiny.from_config(config)


def _checked(path: Path, wanted: Shapes, keep: str = "") -> dict[str, Tensor]:
    """Read the checkpoint that holds what is wanted (only what starts with ``keep``), float32.

    Folding in the half precision of a small file would round what it adds up.
    """
    found = {
        _renamed(key).removeprefix("model."): value for key, value in read_checkpoint(path).items()
    }
    found = {key: value for key, value in found.items() if key.startswith(keep)}
    check_checkpoint(path, found, wanted)
    return {
        key: value.float() if value.is_floating_point() else value for key, value in found.items()
    }


def _renamed(key: str) -> str:
    for old, new in _OLD_ATTENTION_NAMES.items():
        key = key.replace(old, new)
    return key


@dataclass(slots=True)
class Networks:
    """The nets of one engine, on one device, in one precision, ready to run.

    ``face_parsing`` None: its weights are not there; masks then come from the face oval.
    ``decoder`` is the SD VAE's, or one of the faster ones, which are declared as not parity.
    """

    whisper: Any
    unet: Any
    decoder: Any
    encoder: Any
    face_parsing: Any | None

    @property
    def width(self) -> int:
        return int(self.whisper.layer_norm.weight.shape[0])

    def to(self, device: torch.device, dtype: torch.dtype) -> "Networks":
        """Move in place; convolution weights are laid out as the device likes them.

        Whisper and the face parser keep float32 on their device: the first is a hundredth of the
        work and sets the clamp of the mel, the other says where a mask ends.
        """
        for net in (self.unet, self.decoder, self.encoder):
            if net is not None:
                net.to(device=device, dtype=dtype, memory_format=layout_of(device))
        for net in (self.whisper, self.face_parsing):
            if net is not None:
                net.to(device=device)
        return self


def _assembled(make: Any, checkpoint: dict[str, Tensor]) -> Any:
    with torch.device("meta"):
        net = make()
    net.load_state_dict(checkpoint, assign=True)
    return net.eval().requires_grad_(False)


def _shape(from_config: Any, path: Path, config: dict[str, Any]) -> Any:
    try:
        return from_config(config)
    except (ValueError, KeyError, TypeError) as error:
        raise EngineUnavailable(f"{path}: {error}") from None


def load_networks(tree: ModelTree, *, decoder: Decoder = "sd") -> Networks:
    """All nets of ``tree``, float32 on the CPU; EngineUnavailable says which file is wrong."""
    configs = [read_config(p) for p in (tree.unet_config, tree.vae_config, tree.whisper_config)]
    unet_shape = _shape(unet.UNetShape.from_config, tree.unet_config, configs[0])
    vae_shape = _shape(vae.VaeShape.from_config, tree.vae_config, configs[1])
    whisper_shape = _shape(whisper.WhisperShape.from_config, tree.whisper_config, configs[2])
    if unet_shape.context != whisper_shape.width:
        raise EngineUnavailable(
            f"{tree.unet_config}: cross_attention_dim {unet_shape.context} does not fit the "
            f"Whisper encoder's width {whisper_shape.width}"
        )
    unet_state = _checked(tree.unet_weights, published.unet_shapes(unet_shape))
    vae_state = _checked(tree.vae_weights, published.vae_shapes(vae_shape))
    whisper_state = _checked(
        tree.whisper_weights, published.whisper_encoder_shapes(whisper_shape), keep="encoder."
    )
    if decoder == "sd":
        decoding = _assembled(
            lambda: vae.Decoder(vae_shape), vae.fold_checkpoint(vae_state, "decoder")
        )
    else:
        decoding = load_decoder(tree, decoder)
    return Networks(
        whisper=_assembled(
            lambda: whisper.WhisperEncoder(whisper_shape), whisper.encoder_checkpoint(whisper_state)
        ),
        unet=_assembled(lambda: unet.UNet(unet_shape), unet.fold_checkpoint(unet_state)),
        decoder=decoding,
        encoder=_assembled(
            lambda: vae.Encoder(vae_shape), vae.fold_checkpoint(vae_state, "encoder")
        ),
        face_parsing=load_face_parsing(tree.face_parsing) if tree.face_parsing else None,
    )


def load_encoder(tree: ModelTree) -> Any:
    """Return the encoder of the VAE alone, float32 on the CPU, for preparing."""
    config = read_config(tree.vae_config)
    shape = _shape(vae.VaeShape.from_config, tree.vae_config, config)
    state = _checked(tree.vae_weights, published.vae_shapes(shape))
    return _assembled(lambda: vae.Encoder(shape), vae.fold_checkpoint(state, "encoder"))


def load_face_parsing(path: Path) -> Any:
    """BiSeNet from the published ``79999_iter.pth``."""
    with torch.device("meta"):
        definition = face_parsing.BiSeNet()
    return _assembled(face_parsing.BiSeNet, _checked(path, shapes_of(definition)))


def load_decoder(tree: ModelTree, decoder: Literal["taesd", "narrow"]) -> Any:
    """One of the faster decoders, float32 on the CPU; EngineUnavailable without its files."""
    return load_tiny_decoder(tree) if decoder == "taesd" else load_narrow_decoder(tree)[0]


def load_narrow_decoder(tree: ModelTree) -> tuple[Any, vae.VaeShape]:
    """Return the decoder of half the channels, and its shape.

    Raises EngineUnavailable without its files.
    """
    if tree.narrow_weights is None or tree.narrow_config is None:
        raise EngineUnavailable(
            f"MUSETALK_DECODER=narrow, but {NARROW_FOLDER}/ is not in the model tree: "
            "`python -m inference.engines.musetalk.training.decoder` makes it"
        )
    shape = _shape(
        vae.VaeShape.from_narrow_config, tree.narrow_config, read_config(tree.narrow_config)
    )
    with torch.device("meta"):
        wanted = shapes_of(vae.Decoder(shape))
    found = read_checkpoint(tree.narrow_weights)
    check_checkpoint(tree.narrow_weights, found, wanted)
    state = {key: value.float() for key, value in found.items()}
    return _assembled(lambda: vae.Decoder(shape), state), shape


def load_tiny_decoder(tree: ModelTree) -> Any:
    """Return the decoder of TAESD; EngineUnavailable without its files."""
    if tree.tiny_weights is None or tree.tiny_config is None:
        raise EngineUnavailable("MUSETALK_DECODER=taesd, but taesd/ is not in the model tree")
    config = read_config(tree.tiny_config)
    with torch.device("meta"):
        definition = published_tiny_decoder(config)
    state = _checked(tree.tiny_weights, shapes_of(definition))
    return _assembled(tiny_decoder.TinyDecoder, tiny_decoder.decoder_checkpoint(state))
