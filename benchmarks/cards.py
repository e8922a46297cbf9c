"""``python -m benchmarks.cards [--json FILE]``

What other graphics cards should carry, by arithmetic alone: no such card was at hand. Memory is
counted (`benchmarks.live_memory`) for networks of the published size. Time is that of an H200: what
it spends in products is scaled by the card's peak, the rest by its memory's bandwidth.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.live_memory import META, peak_bytes, weight_bytes
from inference.engines.musetalk.constants import (
    FACE_SIZE,
    LATENT_CHANNELS,
    LATENT_SIZE,
    PARSING_SIZE,
    TOKENS,
)
from inference.engines.musetalk.devices import OUTSIDE_TORCH_GB
from inference.engines.musetalk.engine import CAPACITY_MARGIN
from inference.engines.musetalk.execution.buckets import SIZES
from inference.engines.musetalk.nets import face_parsing, tiny_decoder, unet, vae, whisper
from inference.engines.musetalk.prepare.encoding import BATCH
from inference.engines.musetalk.weights import Decoder
from inference.timing import FRAME_MS

USABLE = 0.92
"""The share of a card's memory that a program gets: the rest is the driver's and the display's."""

ROUNDING = 1.15
"""By this factor an allocator's blocks and the libraries' workspaces exceed what tensors hold."""


@dataclass(frozen=True, slots=True)
class Card:
    """From its maker's data sheet."""

    name: str
    gigabytes: int
    tflops: float
    """Half precision, dense, summed in single precision."""
    gigabytes_per_s: float


H200 = Card("H200 SXM", 141, 989, 4_800)
CARDS = (
    Card("RTX 4060", 8, 30, 272),
    Card("RTX 3060", 12, 25, 360),
    Card("RTX 4070", 12, 58, 504),
    Card("T4", 16, 65, 320),
    Card("RTX 4060 Ti", 16, 44, 288),
    Card("RTX 4080", 16, 97, 717),
    Card("RTX 3090", 24, 71, 936),
    Card("A10", 24, 125, 600),
    Card("L4", 24, 121, 300),
    Card("RTX 4090", 24, 165, 1_008),
    Card("H100 SXM", 80, 989, 3_350),
)


@dataclass(frozen=True, slots=True)
class Work:
    """Milliseconds that an H200 takes for a picture, in batches of 32, from jobs to patches."""

    in_products_ms: float
    in_traffic_ms: float

    def on(self, card: Card) -> float:
        """Milliseconds for a picture on another card."""
        products = self.in_products_ms * H200.tflops / card.tflops
        return products + self.in_traffic_ms * H200.gigabytes_per_s / card.gigabytes_per_s


WORK: dict[Decoder, Work] = {
    "sd": Work(1.06, 0.57),
    "narrow": Work(0.46, 0.35),
    "taesd": Work(0.31, 0.35),
}
"""The sum of sd was measured (612 pictures/s), and that 65 % of its kernels' time is products. The
others' products are in the ratio of their operations, 302 and 202 to 698 GFLOP; their traffic is
that of the tiny decoder on an H100 (1,190 pictures/s), by the two cards' bandwidths."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of an engine with one decoder, all batches recorded."""

    weights: int
    batch_of: dict[int, int]
    """What a batch of each size holds; recorded graphs share that of the largest."""
    preparation: int

    def gigabytes(self, largest: int) -> float:
        """Return what the engine takes with batches up to ``largest``."""
        tensors = self.weights + (self.batch_of[largest] + self.preparation) * ROUNDING
        return tensors / 1e9 + OUTSIDE_TORCH_GB


@dataclass(frozen=True, slots=True)
class Row:
    """What one card should carry with one decoder."""

    card: str
    card_gb: int
    decoder: Decoder
    largest_batch: int
    engine_gb: float
    ms: float
    pictures_per_s: float
    sessions: int


def decoder_of(name: Decoder) -> Any:
    """Of the published size, on the current default device."""
    if name == "taesd":
        return tiny_decoder.TinyDecoder()
    return vae.Decoder(vae.VaeShape().narrowed() if name == "narrow" else vae.VaeShape())


def count_memory(name: Decoder, sizes: Sequence[int] = SIZES) -> Memory:
    """Count it, on the meta device."""
    with META:
        half = [net.half().eval() for net in (unet.UNet(unet.UNetShape()), decoder_of(name))]
        encoder = vae.Encoder(vae.VaeShape()).half().eval()
        parser = face_parsing.BiSeNet().eval()
        beside = (encoder, parser, whisper.WhisperEncoder(whisper.WhisperShape()))
        generate, decode = half
        batches = {}
        for size in sizes:
            latents = torch.zeros(size, 8, LATENT_SIZE, LATENT_SIZE, dtype=torch.float16)
            latents = latents.to(memory_format=torch.channels_last)
            context = torch.zeros(size, TOKENS, 384, dtype=torch.float16)
            # They run at the same time, each in memory of its own.
            hidden = latents[:, :LATENT_CHANNELS].contiguous(memory_format=torch.channels_last)
            batches[size] = sum(
                peak_bytes(half)
                for half in (
                    lambda: generate(latents, context),  # noqa: B023
                    lambda: decode.to_bytes(hidden),  # noqa: B023
                )
            )
        pictures = torch.zeros(2 * BATCH, 3, FACE_SIZE, FACE_SIZE, dtype=torch.float16)
        pictures = pictures.to(memory_format=torch.channels_last)
        parsed = torch.zeros(BATCH, 3, PARSING_SIZE, PARSING_SIZE)
        prepared = max(peak_bytes(lambda: encoder(pictures)), peak_bytes(lambda: parser(parsed)))
    return Memory(weight_bytes(*half, *beside), batches, prepared)


def rows(memories: dict[Decoder, Memory], cards: Sequence[Card] = CARDS) -> Iterator[Row]:
    """Every card with every decoder."""
    for card in cards:
        for name, work in WORK.items():
            memory = memories[name]
            room_gb = card.gigabytes * USABLE
            fitting = [size for size in memory.batch_of if memory.gigabytes(size) <= room_gb]
            largest = max(fitting, default=0)
            ms = work.on(card)
            yield Row(
                card=card.name,
                card_gb=card.gigabytes,
                decoder=name,
                largest_batch=largest,
                engine_gb=memory.gigabytes(largest or 1),
                ms=ms,
                pictures_per_s=1_000 / ms,
                sessions=int(CAPACITY_MARGIN * FRAME_MS / ms) if largest else 0,
            )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.cards", description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    memories = {name: count_memory(name) for name in WORK}
    print("| decoder | weights GB | " + " | ".join(f"batch {size}" for size in SIZES) + " |")
    print("|---|---|" + "---|" * len(SIZES))
    for name, memory in memories.items():
        cells = " | ".join(f"{memory.gigabytes(size):.1f}" for size in SIZES)
        print(f"| {name} | {memory.weights / 1e9:.2f} | {cells} |")
    print("\n| card | GB | decoder | largest batch | engine GB | ms | pictures/s | sessions |")
    print("|---|---|---|---|---|---|---|---|")
    found = list(rows(memories))
    for row in found:
        print(
            f"| {row.card} | {row.card_gb} | {row.decoder} | {row.largest_batch} "
            f"| {row.engine_gb:.1f} | {row.ms:.1f} | {row.pictures_per_s:.0f} | {row.sessions} |"
        )
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in found], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
