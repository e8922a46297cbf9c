"""How far the pictures of half precision, and of each kernel, are from single precision's.

Each stage alone, with all others in single precision; then all together. `benchmarks.accuracy`
holds the rows against the budget.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.musetalk_paths import BOX, PATCH
from benchmarks.rounding import RoundsResults, round_weights
from inference.engines.musetalk.audio.speech import positional_table
from inference.engines.musetalk.constants import FACE_SIZE, LATENT_SIZE, TOKENS
from inference.engines.musetalk.devices import layout_of
from inference.engines.musetalk.face.device_blend import PatchBatch, paste
from inference.engines.musetalk.face.latents import encoder_input, unet_latents
from inference.engines.musetalk.nets import choice, fused, unet, vae
from inference.engines.musetalk.nets.blocks import use_operations
from inference.engines.musetalk.nets.operations import Operations, to_pixels
from inference.engines.musetalk.networks import Networks

SINGLE = torch.float32

Net = Callable[..., Tensor]


@dataclass(frozen=True, slots=True)
class Off:
    """A difference to single precision.

    ``mean`` and ``most`` are levels of 255 for pictures; for latents they are the root mean square
    and the largest difference, as parts of the latents' own root mean square.
    """

    stage: str
    precision: str
    mean: float
    most: float
    is_finite: bool = True


def of_bytes(stage: str, precision: str, found: Tensor, wanted: Tensor) -> Off:
    """Compare two uint8 pictures."""
    off = (found.int() - wanted.int()).abs()
    return Off(stage, precision, float(off.float().mean()), float(off.max()))


def of_values(stage: str, precision: str, found: Tensor, wanted: Tensor) -> Off:
    """Compare latents."""
    off, scale = (found.float() - wanted).abs(), float(wanted.square().mean().sqrt())
    mean, most = float(off.square().mean().sqrt()) / scale, float(off.max()) / scale
    return Off(stage, precision, mean, most, bool(found.isfinite().all()))


def name_of(dtype: torch.dtype) -> str:
    """``float16`` for `torch.float16`."""
    return str(dtype).removeprefix("torch.")


def in_precision(net: Any, dtype: torch.dtype, device: torch.device) -> Net:
    """Return a copy of ``net`` that computes in ``dtype``, from and to float32.

    A CPU computes in single precision and rounds every result.
    """
    changed = copy.deepcopy(net)
    if device.type == "cpu":
        round_weights(changed, dtype)

        def emulated(*inputs: Tensor) -> Tensor:
            with RoundsResults(dtype):
                return changed(*(x.to(dtype).to(SINGLE) for x in inputs))

        return emulated
    changed.to(dtype=dtype)

    def native(*inputs: Tensor) -> Tensor:
        return changed(*(x.to(dtype) for x in inputs)).float()

    return native


def random_inputs(count: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Latents and context of ``count`` faces, float32."""
    generator = torch.Generator().manual_seed(2)
    latents = torch.randn(count, 8, LATENT_SIZE, LATENT_SIZE, generator=generator)
    context = torch.randn(count, TOKENS, width, generator=generator) + positional_table(width)
    return latents.to(device), context.to(device)


def pasted(faces: Tensor) -> Tensor:
    """Return the luma and chroma of faces pasted at full strength: what the encoder is given."""
    count, (width, height) = len(faces), PATCH[2:]
    geometry = (BOX[2] - BOX[0], BOX[3] - BOX[1], PATCH[0] - BOX[0], PATCH[1] - BOX[1])
    device = faces.device
    plane = torch.full((count, height, width), 128, dtype=torch.uint8, device=device)
    batch = PatchBatch(
        geometry=torch.tensor([geometry] * count, dtype=SINGLE, device=device),
        masks=torch.full_like(plane, 255),
        luma=plane,
        chroma=torch.full((count, 2, height // 2, width // 2), 128, dtype=torch.uint8).to(device),
        strength=torch.ones(count, device=device),
    )
    return torch.cat([plane.flatten() for plane in paste(faces, batch)])


def stages(nets: Networks, device: torch.device, pictures: int) -> Iterator[Off]:
    """Every stage in half precision, then the whole; ``nets`` are float32, on ``device``.

    Hearing and face parsing are always in single precision: they add nothing.
    """
    latents, context = random_inputs(pictures, nets.width, device)
    predicted = nets.unet(latents, context)
    faces = to_pixels(nets.decoder(predicted))
    kept = nets.decoder(nets.unet(latents.half().float(), context))
    yield of_bytes("latents kept by a prepared clip", "float16", to_pixels(kept), faces)
    for dtype in (torch.float16, torch.bfloat16):
        name = name_of(dtype)
        half = in_precision(nets.unet, dtype, device)(latents, context)
        yield of_values("UNet's latents", name, half, predicted)
        yield of_bytes("UNet alone", name, to_pixels(nets.decoder(half)), faces)
        decode = in_precision(nets.decoder, dtype, device)
        yield of_bytes("decoder alone", name, to_pixels(decode(predicted)), faces)
        decoded = decode(in_precision(nets.unet, dtype, device)(latents.half().float(), context))
        whole = to_pixels(decoded)
        off = of_bytes("whole face", name, whole, faces)
        yield Off(off.stage, name, off.mean, off.most, bool(decoded.isfinite().all()))
        yield of_bytes("patch as it is shown", name, pasted(whole), pasted(faces))


class _Mean(nn.Module):  # type: ignore[misc]  # torch is not followed
    """An encoder that gives the mode alone, which is what a prepared clip keeps."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pictures: Tensor) -> Tensor:
        mean: Tensor = self.encoder(pictures)[0]
        return mean


def preparation(nets: Networks, encoder: Any, device: torch.device, pictures: int) -> Iterator[Off]:
    """The encoder in half precision, as it prepares clips on a GPU; all else in single."""
    _, context = random_inputs(pictures, nets.width, device)
    generator = torch.Generator().manual_seed(5)
    coarse = torch.rand(pictures, 3, 8, 8, generator=generator)
    smooth = functional.interpolate(coarse, size=(FACE_SIZE, FACE_SIZE), mode="bicubic")
    faces = (smooth.clamp(0, 1) * 255).to(torch.uint8).permute(0, 2, 3, 1).to(device)
    given = encoder_input(faces)

    def kept(encode: Net) -> Tensor:
        mean = encode(given)
        return unet_latents(mean, torch.zeros_like(mean))

    def shown(latents: Tensor) -> Tensor:
        return to_pixels(nets.decoder(nets.unet(latents, context)))

    mode = _Mean(encoder)
    wanted = kept(mode)
    picture = shown(wanted)
    for dtype in (torch.float16, torch.bfloat16):
        found = kept(in_precision(mode, dtype, device))
        yield of_values("encoder's latents", name_of(dtype), found, wanted)
        yield of_bytes("encoder alone", name_of(dtype), shown(found), picture)


def small_for_kernels() -> tuple[Any, Any, int, int]:
    """Nets that Triton's interpreter gets through: UNet, decoder, width, and side of latents."""
    torch.manual_seed(1)
    unet_net = unet.UNet(unet.UNetShape((16, 16, 32, 32), 32, 16))
    decoder = vae.Decoder(vae.VaeShape((16, 32), 8))
    for net in (unet_net, decoder):
        net.eval().requires_grad_(False)
    return unet_net, decoder, 32, 8


def kernels(
    unet_net: Any, decoder: Any, width: int, side: int, device: torch.device, dtype: torch.dtype
) -> Iterator[Off]:
    """Each kernel alone and all together, in ``dtype``, against the plain nets in the same."""
    latents, context = random_inputs(1, width, device)
    latents = latents[:, :, :side, :side].contiguous(memory_format=layout_of(device))
    single = _bytes(unet_net, decoder, latents, context, None)
    for net in (unet_net, decoder):
        net.to(dtype=dtype, memory_format=torch.channels_last)
    latents, context = latents.to(dtype), context.to(dtype)
    plain = _bytes(unet_net, decoder, latents, context, None)
    name = name_of(dtype)
    yield of_bytes("plain networks", name, plain, single)
    for operation in choice.KERNEL_NAMES:
        found = _bytes(unet_net, decoder, latents, context, choice.only(operation))
        yield of_bytes(f"kernel {operation}", name, found, plain)
    found = _bytes(unet_net, decoder, latents, context, fused.KERNELS)
    yield of_bytes("all kernels", name, found, plain)
    yield of_bytes("all kernels, to single precision", name, found, single)


def _bytes(
    unet_net: Any, decoder: Any, latents: Tensor, context: Tensor, operations: Operations | None
) -> Tensor:
    for net in (unet_net, decoder):
        use_operations(net, operations)
    pixels: Tensor = decoder.to_bytes(unet_net(latents, context))[0]
    for net in (unet_net, decoder):
        use_operations(net, None)
    return pixels
