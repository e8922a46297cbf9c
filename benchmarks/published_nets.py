"""diffusers' and transformers' networks behind the same interface as ours: the plain path."""

from typing import Any

import torch
from torch import Tensor, nn

from inference.engines.musetalk import networks
from inference.engines.musetalk.constants import HIDDEN_STATES, LATENT_SCALE, UNET_TIMESTEP
from inference.engines.musetalk.weights import ModelTree


def published_unet(config: dict[str, Any]) -> nn.Module:
    """Return the library's UNet, on the current default device."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel.from_config(config)


def published_vae(config: dict[str, Any]) -> nn.Module:
    """Return the library's VAE."""
    from diffusers import AutoencoderKL

    return AutoencoderKL.from_config(config)


def published_whisper(config: dict[str, Any]) -> nn.Module:
    """Return the library's Whisper, whole: MuseTalk needs its ``encoder``."""
    from transformers import WhisperConfig, WhisperModel

    return WhisperModel(WhisperConfig(**config))


class PublishedWhisper:
    """Hidden states of the library's encoder, stacked as `WhisperEncoder` gives them."""

    def __init__(self, encoder: Any) -> None:
        self.encoder = encoder
        self.conv1 = encoder.conv1
        self.layer_norm = encoder.layer_norm

    def __call__(self, mel: Tensor) -> Tensor:
        states = self.encoder(mel, output_hidden_states=True).hidden_states
        assert len(states) == HIDDEN_STATES
        return torch.stack(states, 2)


def published_networks(tree: ModelTree) -> networks.Networks:
    """Return the libraries' own nets with the weights of ``tree``, float32."""
    vae = _loaded(published_vae, tree.vae_config, tree.vae_weights)
    unet = _loaded(published_unet, tree.unet_config, tree.unet_weights)
    whisper = _loaded(published_whisper, tree.whisper_config, tree.whisper_weights)

    def encode(pictures: Tensor) -> tuple[Tensor, Tensor]:
        posterior = vae.encode(pictures).latent_dist
        return posterior.mean, posterior.std

    return networks.Networks(
        whisper=PublishedWhisper(whisper.encoder),
        unet=lambda latents, context: unet(latents, UNET_TIMESTEP, context).sample,
        decoder=lambda latents: vae.decode(latents / LATENT_SCALE).sample,
        encoder=encode,
        face_parsing=None,
    )


def untrained_networks(
    unet_config: dict[str, Any], vae_config: dict[str, Any], device: torch.device, dtype: Any
) -> tuple[Any, Any]:
    """Return the UNet and decoder of diffusers with their own weights, as `Networks` calls them.

    For timing: speed does not depend on the values.

    Args:
        unet_config: Of `UNet2DConditionModel`.
        vae_config: Of `AutoencoderKL`.
        device: Where they are made.
        dtype: Their precision.

    Returns:
        Latents and context → predicted latents; predicted latents → pictures in -1..1.
    """
    with device:
        unet = published_unet(unet_config).eval().requires_grad_(False)
        vae = published_vae(vae_config).eval().requires_grad_(False)
    for net in (unet, vae):
        nn.Module.to(net, dtype)  # the library's own warns of what does not concern these
    return (
        lambda latents, context: unet(latents, UNET_TIMESTEP, context).sample,
        lambda latents: vae.decode(latents / LATENT_SCALE).sample,
    )


def _loaded(make: Any, config: Any, weights: Any) -> Any:
    net = make(networks.read_config(config))
    checkpoint = networks.read_checkpoint(weights)
    net.load_state_dict({key: value.float() for key, value in checkpoint.items()}, strict=False)
    return net.eval().requires_grad_(False)
