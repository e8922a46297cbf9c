"""The encoder of Whisper, for sound of any length up to 30 s, giving all that MuseTalk hears of it.

The published names, below ``encoder.``. The library's own forward refuses anything but 30 s; this
one takes a window and the place in the 30 s where it is to believe itself.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from inference.engines.musetalk.constants import HIDDEN_STATES, MEL_BINS
from inference.engines.musetalk.nets.blocks import attend

POSITIONS = 1_500


@dataclass(frozen=True, slots=True)
class WhisperShape:
    """The numbers of a Whisper config that differ between whisper-tiny and smaller nets."""

    width: int = 384
    heads: int = 6
    feed_forward: int = 1_536
    layers: int = HIDDEN_STATES - 1

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WhisperShape":
        """Read a config; ValueError, naming the entry, for one that this net cannot be."""
        fixed = {
            "encoder_layers": HIDDEN_STATES - 1,
            "num_mel_bins": MEL_BINS,
            "max_source_positions": POSITIONS,
            "activation_function": "gelu",
            "scale_embedding": False,
        }
        for key, wanted in fixed.items():
            if config.get(key) != wanted:
                raise ValueError(
                    f"Whisper config: {key} is {config.get(key)!r}, MuseTalk 1.5 has {wanted!r}"
                )
        return cls(
            width=config["d_model"],
            heads=config["encoder_attention_heads"],
            feed_forward=config["encoder_ffn_dim"],
        )


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.out_proj(attend((self.q_proj(x), self.k_proj(x), self.v_proj(x)), self.heads))


class Layer(nn.Module):
    def __init__(self, shape: WhisperShape) -> None:
        super().__init__()
        self.self_attn_layer_norm = nn.LayerNorm(shape.width)
        self.self_attn = Attention(shape.width, shape.heads)
        self.final_layer_norm = nn.LayerNorm(shape.width)
        self.fc1 = nn.Linear(shape.width, shape.feed_forward)
        self.fc2 = nn.Linear(shape.feed_forward, shape.width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.self_attn_layer_norm(x))
        return x + self.fc2(functional.gelu(self.fc1(self.final_layer_norm(x))))


class WhisperEncoder(nn.Module):
    """``mel [B, 80, 2T]`` → ``[B, T, 5, width]`` at 50 Hz, ``T`` at most 1500.

    The inputs of the four blocks and the last one's output after the final norm, lowest first.
    """

    def __init__(self, shape: WhisperShape) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(MEL_BINS, shape.width, 3, padding=1)
        self.conv2 = nn.Conv1d(shape.width, shape.width, 3, stride=2, padding=1)
        # Not drawn from a distribution: on the meta device that imports torch's compiler, for 2 s.
        positions = torch.zeros(POSITIONS, shape.width)
        self.embed_positions = nn.Embedding.from_pretrained(positions, freeze=False)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.layer_norm = nn.LayerNorm(shape.width)

    def forward(self, mel: Tensor, first_position: int = 0) -> Tensor:
        x = functional.gelu(self.conv2(functional.gelu(self.conv1(mel)))).transpose(1, 2)
        x = x + self.embed_positions.weight[first_position : first_position + x.shape[1]]
        states = [x]
        for layer in self.layers:
            x = layer(x)
            states.append(x)
        states[-1] = self.layer_norm(x)
        return torch.stack(states, 2)


def encoder_checkpoint(checkpoint: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the encoder's part of a published state dict, without its prefix."""
    return {
        key.partition("encoder.")[2]: value
        for key, value in checkpoint.items()
        if key.removeprefix("model.").startswith("encoder.")
    }
