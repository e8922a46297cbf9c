"""What `benchmarks.musetalk` times: the reference's way of working, and ours.

Full-size networks with rule-made weights, or small ones of the same architecture for machines
without a GPU: speed does not depend on the values.
"""

import copy
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks import parity_fullsize
from benchmarks.folders import MUSETALK_DATA
from inference.engines.musetalk.audio.speech import StreamingWindow, positional_table
from inference.engines.musetalk.execution.batch import FaceJob, Renderer
from inference.engines.musetalk.execution.hearing import Hearing
from inference.engines.musetalk.execution.runner import Runner
from inference.engines.musetalk.nets import tiny_decoder, unet, vae, whisper
from inference.engines.musetalk.nets.upsampling import Upsampler
from inference.engines.musetalk.networks import Networks
from inference.engines.musetalk.prepare.avatar import FaceClip
from inference.engines.musetalk.weights import Decoder
from inference.media.types import AudioWindow

KEYS = MUSETALK_DATA / "fullsize"

PICTURE_SIZE = 512
BOX = (150, 120, 360, 400)
"""A face box as large as the picture allows in practice: 210 x 280."""
PATCH = (140, 250, 230, 170)


def make_nets(*, full: bool, decoder: Decoder = "sd") -> Networks:
    """Float32, on the CPU."""
    torch.manual_seed(1)
    shape = vae.VaeShape() if full else vae.VaeShape((8, 16, 16, 32), 8)
    decoding: Any
    if decoder == "taesd":
        decoding = tiny_decoder.TinyDecoder()
    elif decoder == "narrow":
        decoding = vae.Decoder(shape.narrowed())
    else:
        decoding = parity_fullsize.full_vae(KEYS, "decoder") if full else vae.Decoder(shape)
    if full:
        nets = parity_fullsize.full_unet(KEYS), parity_fullsize.full_whisper(KEYS)
    else:
        small = unet.UNetShape((16, 16, 32, 32), 32, 16)
        nets = unet.UNet(small), whisper.WhisperEncoder(whisper.WhisperShape(32, 4, 64))
    for net in (*nets, decoding):
        net.eval().requires_grad_(False)
    return Networks(
        whisper=nets[1], unet=nets[0], decoder=decoding, encoder=None, face_parsing=None
    )


def make_encoder(*, full: bool) -> Any:
    """Float32, on the CPU: that of the VAE whose decoder `make_nets` makes."""
    if full:
        return parity_fullsize.full_vae(KEYS, "encoder")
    torch.manual_seed(1)
    return vae.Encoder(vae.VaeShape((8, 16, 16, 32), 8)).eval().requires_grad_(False)


def as_published(net: Any) -> Any:
    """Return a copy that enlarges as the published net does: doubled, then a 3x3 convolution."""
    net = copy.deepcopy(net)
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, Upsampler):
                channels = child.conv.in_channels
                doubling = nn.Upsample(scale_factor=2.0, mode="nearest")
                convolution = nn.Conv2d(channels, channels, 3, padding=1)
                setattr(module, name, nn.Sequential(doubling, convolution).requires_grad_(False))
    return net


def inputs(count: int, width: int) -> tuple[Tensor, Tensor]:
    """Latents float16 and tokens float32 for ``count`` faces."""
    generator = torch.Generator().manual_seed(2)
    latents = torch.randn(count, 8, 32, 32, generator=generator).half()
    return latents, torch.randn(count, 50, width, generator=generator)


def jobs(count: int, width: int) -> list[FaceJob]:
    """Render jobs, each of a session of its own."""
    rng = np.random.default_rng(3)
    latents, tokens = inputs(count, width)
    places = np.tile(np.array([*BOX, *PATCH], np.int32), (count, 1))
    masks = rng.integers(0, 256, (count, PATCH[3], PATCH[2]), dtype=np.uint8)
    faces = FaceClip(latents.numpy(), masks, places)
    picture = rng.integers(16, 235, (PICTURE_SIZE * 3 // 2, PICTURE_SIZE), dtype=np.uint8)
    return [FaceJob(faces, n, picture, tokens[n].numpy(), 1.0) for n in range(count)]


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(work: Callable[[], object], device: torch.device, spend_s: float) -> float:
    """Return the median time of ``work``, after two warm-up calls, over about ``spend_s``."""
    for _ in range(2):
        work()
    synchronize(device)
    times: list[float] = []
    end = time.perf_counter() + spend_s
    while len(times) < 3 or time.perf_counter() < end:
        began = time.perf_counter()
        work()
        synchronize(device)
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def listening(nets: Networks, device: torch.device, count: int) -> Callable[[], object]:
    """Hearing one frame of each of ``count`` sessions."""
    hearing = Hearing(nets.whisper, StreamingWindow(), device, buckets=(count,))
    generator = np.random.default_rng(4)
    windows = [
        AudioWindow(0.1 * generator.standard_normal(hearing.samples, np.float32), 1)
        for _ in range(count)
    ]
    return lambda: hearing.tokens(windows)


def networks_alone(runner: Runner, count: int, width: int) -> Callable[[], object]:
    """Ours: latents and tokens on the host → bytes of faces on the device."""
    latents, tokens = inputs(count, width)
    return lambda: runner.generate(latents, tokens)


def whole(runner: Runner, count: int, width: int) -> Callable[[], object]:
    """Ours: from jobs to patches on the host, two batches on the way at a time."""
    renderer, some = Renderer(runner, width), jobs(count, width)
    waiting: list[Any] = []

    def work() -> None:
        waiting.append(renderer.queue(some))
        if len(waiting) > 1:
            waiting.pop(0).wait()

    return work


@dataclass(slots=True)
class ReferenceWay:
    """The published loop: eager, its own batch, one thread that blends what the other decodes.

    ``unet`` and ``decoder`` are `as_published`, folded nowhere but in the time embedding and the
    projections, which is a hundredth of the work.
    """

    unet: Any
    decoder: Any
    device: torch.device
    dtype: torch.dtype
    width: int
    batch: int = 20

    def networks(self) -> Callable[[], Any]:
        latents, tokens = (x.to(self.device) for x in inputs(self.batch, self.width))
        positions = positional_table(self.width).to(self.device, self.dtype)

        def work() -> Any:
            with torch.inference_mode():
                context = tokens.to(self.dtype) + positions
                predicted = self.unet(latents.to(self.dtype), context)
                decoded = self.decoder(predicted)
                scaled = (decoded / 2 + 0.5).clamp(0, 1)
                pixels = scaled.detach().cpu().permute(0, 2, 3, 1).float().numpy()
                return (pixels * 255).round().astype("uint8")[..., ::-1]

        return work

    def whole(self) -> Callable[[], object]:
        """Return the networks' pictures, blended one after the other by a second thread."""
        generate = self.networks()
        frame = np.full((PICTURE_SIZE, PICTURE_SIZE, 3), 120, np.uint8)
        mask = np.full((420, 420), 128, np.uint8)
        pictures: queue.Queue[Any] = queue.Queue(maxsize=2 * self.batch)

        def blend() -> None:
            while (face := pictures.get()) is not None:
                blend_as_the_reference(frame, face, mask)
                pictures.task_done()

        threading.Thread(target=blend, daemon=True).start()

        def work() -> None:
            for face in generate():
                pictures.put(face)
            pictures.join()

        return work


def blend_as_the_reference(frame: Any, face: Any, mask: Any) -> Any:
    """Resize, paste and composite on whole pictures with Pillow, as the published loop does."""
    x1, y1, x2, y2 = BOX
    crop = (x1 - 105, y1 - 70, x1 + 315, y1 + 350)
    resized = cv2.resize(face.astype(np.uint8), (x2 - x1, y2 - y1))
    body = Image.fromarray(frame.copy()[:, :, ::-1])
    large = body.crop(crop)
    large.paste(Image.fromarray(np.ascontiguousarray(resized[:, :, ::-1])), (105, 70, 315, 350))
    body.paste(large, crop[:2], Image.fromarray(mask).convert("L"))
    return np.array(body)[:, :, ::-1]
