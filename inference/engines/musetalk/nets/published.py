"""What the published files of the networks hold: the name and shape of each tensor.

It follows from our own nets, which are the same with some tensors folded into one. The libraries
that the files were made with define it too, but take seconds and 2,300 modules to import. The tests
compare both with the real files.
"""

from collections.abc import Iterator

import torch
from torch import Size, nn

from inference.engines.musetalk.nets.unet import PUBLISHED_NAMES, UNet, UNetShape
from inference.engines.musetalk.nets.vae import Decoder, Encoder, VaeShape
from inference.engines.musetalk.nets.whisper import WhisperEncoder, WhisperShape

Shapes = dict[str, Size]


def shapes_of(net: nn.Module) -> Shapes:
    """Return the names and shapes of a net's tensors."""
    return {key: value.shape for key, value in net.state_dict().items()}


def unet_shapes(shape: UNetShape) -> Shapes:
    """Return what the file of a UNet holds."""
    with torch.device("meta"):
        net = UNet(shape)
    width, embedded = shape.channels[0], 4 * shape.channels[0]
    shapes = {
        "time_embedding.linear_1.weight": Size((embedded, width)),
        "time_embedding.linear_1.bias": Size((embedded,)),
        "time_embedding.linear_2.weight": Size((embedded, embedded)),
        "time_embedding.linear_2.bias": Size((embedded,)),
    }
    for key, size in shapes_of(net).items():
        name = _unet_name(key)
        if ".proj_" in key and key.endswith("weight"):
            size = Size((*size, 1, 1))
        if key.endswith("conv1.bias"):
            block = name.removesuffix("conv1.bias")
            shapes[f"{block}time_emb_proj.weight"] = Size((*size, embedded))
            shapes[f"{block}time_emb_proj.bias"] = size
        shapes.update(_unfolded(name, size))
    return shapes


def _unet_name(key: str) -> str:
    for published, ours in PUBLISHED_NAMES:
        key = key.replace(ours, published)
    for way in ("down", "up"):
        if key.startswith(f"{way}samplers."):
            _, index, rest = key.split(".", 2)
            return f"{way}_blocks.{index}.{way}samplers.0.conv.{rest.removeprefix('conv.')}"
    return key


def vae_shapes(shape: VaeShape) -> Shapes:
    """Return what the file of an autoencoder holds."""
    with torch.device("meta"):
        parts = {"encoder": Encoder(shape), "decoder": Decoder(shape)}
    shapes: Shapes = {}
    for part, net in parts.items():
        resize = "downsamplers" if part == "encoder" else "upsamplers"
        for key, size in shapes_of(net).items():
            name = key if "quant_conv" in key else f"{part}.{key}"
            name = name.replace("resize.bias", "resize.conv.bias").replace(".to_out.", ".to_out.0.")
            shapes.update(_unfolded(name.replace("resize", f"{resize}.0"), size))
    return shapes


def whisper_encoder_shapes(shape: WhisperShape) -> Shapes:
    """Return what the file of a Whisper holds of its encoder."""
    with torch.device("meta"):
        net = WhisperEncoder(shape)
    return {f"encoder.{key}": size for key, size in shapes_of(net).items()}


def _unfolded(name: str, size: Size) -> Iterator[tuple[str, Size]]:
    """Yield the tensors that were folded into one, or the one as it is published."""
    for stacked in ("to_qkv", "to_kv"):
        if f".{stacked}." in name:
            letters = stacked.removeprefix("to_")
            part = Size((size[0] // len(letters), *size[1:]))
            for letter in letters:
                yield name.replace(stacked, f"to_{letter}"), part
            return
    if ".upsamplers." in name and name.endswith("weight"):
        size = Size((size[1], size[1], 3, 3))
    yield name, size
