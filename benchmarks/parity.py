"""``python -m benchmarks.parity DIR [--models DIR] [--published]``

Runs a set of golden data of the reference through the project's own code, stage by stage, prints a
table and exits non-zero when a stage falls short. DIR holds ``audio.npz``, ``long.flac``,
``vision.npz`` and the PNGs; or, for the networks at full size, ``unet.npz``, ``vae.npz``,
``whisper_encoder.npz``, ``bisenet.npz`` with ``keys_*.json`` there or one folder up. All in float32
on the CPU. ``--published`` runs diffusers' and transformers' networks in place of ours.
"""

import argparse
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import parity_fullsize
from benchmarks.parity_table import Verdict, largest, print_table, within
from inference.engines.musetalk import networks
from inference.engines.musetalk.audio import mel, speech
from inference.engines.musetalk.audio.recording import read_pcm, to_speech
from inference.engines.musetalk.constants import LATENT_SCALE, SEGMENT_SAMPLES
from inference.engines.musetalk.face import boxes, latents, masks, reference_blend
from inference.engines.musetalk.face.boxes import Box
from inference.engines.musetalk.nets import operations, unet
from inference.engines.musetalk.weights import find_tree

Stages = Iterator[Verdict]


@dataclass
class GoldenSet:
    """One folder of golden data and the nets to run it through."""

    folder: Path
    nets: networks.Networks

    @cached_property
    def audio(self) -> Any:
        return dict(np.load(self.folder / "audio.npz"))

    @cached_property
    def vision(self) -> Any:
        return dict(np.load(self.folder / "vision.npz"))

    @cached_property
    def speech(self) -> torch.Tensor:
        return torch.from_numpy(to_speech(*read_pcm(self.folder / "long.flac")))

    @cached_property
    def frame(self) -> Any:
        return cv2.imread(str(self.folder / "frame.png"))

    @cached_property
    def short(self) -> torch.Tensor:
        start = int(self.audio["short_offset"])
        return self.speech[start : start + int(self.audio["short_len"])]

    @cached_property
    def short_features(self) -> torch.Tensor:
        return speech.encode_recording(self.nets.whisper, self.short)

    def picture(self, name: str) -> Any:
        return cv2.imread(str(self.folder / f"{name}.png"))


def sound_stages(golden: GoldenSet) -> Stages:
    """Resampling, mel, features, tokens, positions."""
    audio, long = golden.audio, golden.speech
    rate_hz = int(audio["resample_src_rate"])
    yield within(
        "resampling", to_speech(audio["resample_src_pcm"], rate_hz), audio["resample_out16k"], 1e-5
    )
    yield within("samples", len(long), audio["long_num_samples"], 0)
    for index, piece in enumerate(long.split(SEGMENT_SAMPLES)):
        padded = torch.nn.functional.pad(piece, (0, SEGMENT_SAMPLES - len(piece)))
        spectrum = mel.log_mel(padded[None])[0]
        for part, columns in (("first200", slice(200)), ("last10", slice(-10, None))):
            wanted = audio[f"long_mel_seg{index}_{part}"]
            yield within(f"mel segment {index} {part}", spectrum[:, columns], wanted, 1e-4)
    features = speech.encode_recording(golden.nets.whisper, long)
    yield within("features kept", len(features), audio["long_hidden_total"], 0)
    yield within("features", features[audio["long_hidden_idx"]], audio["long_hidden"], 5e-4)
    frames = speech.frame_count(len(long))
    yield within("frames", frames, audio["long_num_frames"], 0)
    tokens = speech.recording_tokens(features, frames)
    yield within("tokens", tokens[audio["long_prompt_idx"]], audio["long_prompt"], 5e-4)
    flat = tokens.flatten(1).double()
    yield within("tokens, mean", flat.mean(1), audio["long_prompt_mean_all"], 1e-4)
    yield within("tokens, rms", flat.square().mean(1).sqrt(), audio["long_prompt_rms_all"], 1e-4)
    for rate in (25, 30):
        frames = speech.frame_count(len(golden.short), rate)
        yield within(f"frames, {rate} fps", frames, audio[f"short{rate}_num_frames"], 0)
        tokens = speech.recording_tokens(golden.short_features, frames, rate)
        wanted = audio[f"short{rate}_prompt"]
        yield within(f"tokens, {rate} fps", tokens[audio[f"short{rate}_idx"]], wanted, 5e-4)
    for width in (32, 384):
        wanted = audio[f"pe_d{width}_first50"]
        yield within(f"positions, width {width}", speech.positional_table(width), wanted, 1e-6)


def face_stages(golden: GoldenSet) -> Stages:
    """Box, crop, encoder input, posterior, latents."""
    vision, frame = golden.vision, golden.frame
    is_frame = hashlib.sha256(frame.tobytes()).hexdigest() == str(vision["frame_sha256"])
    yield Verdict("frame read", "same", "same" if is_frame else "other", is_frame)
    height, width = frame.shape[:2]
    box = boxes.with_margin(Box(*map(int, vision["bbox_landmark"])), width, height)
    yield within("box", box, vision["bbox_v15"], 0)
    crop = latents.face_crop(frame, box)
    yield within("crop 256x256", crop, vision["crop256_bgr"], 1)
    masked, reference = latents.encoder_input(_rgb(crop))
    yield within("masked input", masked[:, ::8, ::8], vision["masked_input_sub"], 1e-6)
    yield within("reference input", reference[:, ::8, ::8], vision["ref_input_sub"], 1e-6)
    mean, deviation = golden.nets.encoder(torch.stack((masked, reference)))
    for index, name in enumerate(("masked", "ref")):
        wanted = vision[f"{name}_posterior_mean"]
        yield within(f"{name} posterior mean", mean[index, None], wanted, 2e-4)
        wanted = vision[f"{name}_posterior_std"]
        yield within(f"{name} posterior std", deviation[index, None], wanted, 2e-4)
    yield within("scale", LATENT_SCALE, vision["scaling_factor"], 0)
    yield within("UNet latents", chained_latents(golden), vision["unet_latents"], 2e-4)


def _rgb(crop_bgr: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(crop_bgr[..., ::-1]))[None]


def chained_latents(golden: GoldenSet) -> torch.Tensor:
    """UNet input ``[1, 8, 32, 32]`` from the picture, with the reference's noise."""
    vision = golden.vision
    crop = latents.face_crop(golden.frame, Box(*map(int, vision["bbox_v15"])))
    mean, deviation = golden.nets.encoder(latents.encoder_input(_rgb(crop)))
    noise = np.concatenate([vision["noise_masked"], vision["noise_ref"]])
    return latents.unet_latents(mean, deviation, torch.from_numpy(noise))


def chained_context(golden: GoldenSet) -> torch.Tensor:
    """Return what the UNet attends to for the golden frames, from the sound."""
    tokens = speech.recording_tokens(golden.short_features, speech.frame_count(len(golden.short)))
    chosen = tokens[golden.vision["gen_frame_idx"]]
    return chosen + speech.positional_table(chosen.shape[-1])


def generation_stages(golden: GoldenSet) -> Stages:
    """Tokens with positions, UNet, decoder; from the golden inputs, and chained from the start."""
    vision = golden.vision
    context, start = chained_context(golden), chained_latents(golden)
    yield within("UNet context", context, vision["unet_audio"], 5e-4)
    saved = golden.nets.unet(
        torch.from_numpy(vision["unet_latents"]).expand(len(context), -1, -1, -1),
        torch.from_numpy(vision["unet_audio"]),
    )
    yield within("UNet", saved, vision["pred_latents"], 1e-3)
    predicted = golden.nets.unet(start.expand(len(context), -1, -1, -1), context)
    yield within("UNet, chained", predicted, vision["pred_latents"], 5e-3)
    decoded = golden.nets.decoder(torch.from_numpy(vision["pred_latents"]))
    for name, pixels, allowed in (
        ("decoded", operations.to_pixels(decoded), 1),
        ("decoded, chained", operations.to_pixels(golden.nets.decoder(predicted)), 2),
    ):
        bgr = pixels.permute(0, 2, 3, 1).flip(-1).numpy()
        off = np.abs(bgr.astype(int) - vision["decoded_bgr"])
        share = float((off > 0).mean())
        passed = bool(off.max() <= allowed and (allowed > 1 or share < 0.002))
        yield Verdict(name, f"<= {allowed}, < 0.2 %", f"{off.max()} on {share:.3%}", passed)


def blend_stages(golden: GoldenSet) -> Stages:
    """Crop boxes, parsing input, regions, masks, the blended pictures."""
    vision, frame = golden.vision, golden.frame
    yield within("dilate element", masks.dilate_element(), vision["jaw_dilate_kernel"], 0)
    yield within("erode element", masks.erode_element(), vision["jaw_cheek_kernel"], 0)
    cheeks = np.where(masks.cheek_columns(), 255, 0)
    yield within("cheek columns", cheeks, vision["jaw_cheek_mask_row"], 0)
    face = vision["decoded_bgr"][int(vision["gen_index_for_blend"])]
    for name in ("inside", "edge"):
        box = Box(*map(int, vision[f"{name}_bbox"]))
        crop = boxes.crop_box(box)
        yield within(f"{name}: crop box", crop, vision[f"{name}_crop_box"], 0)
        pixels = masks.parsing_pixels(masks.square_crop(frame, crop))
        fed = masks.normalized(torch.from_numpy(pixels)[None])[0, :, ::8, ::8]
        yield within(f"{name}: parser input", fed, vision[f"{name}_bisenet_input_sub"], 0.02)
        regions: dict[str, Any] = {}
        for mode in ("raw", "neck", "jaw"):
            regions[mode] = masks.face_region(vision[f"{name}_parse_map"], mode)
            wanted = vision[f"{name}_parse512_{mode}"]
            yield within(f"{name}: region, {mode}", regions[mode], wanted, 0)
        realtime = masks.soft_mask(regions["jaw"], box)
        yield within(f"{name}: mask", realtime, vision[f"{name}_rt_mask"], 1)
        resized = reference_blend.resize_face(face, box)
        if name == "inside":
            wanted = vision["inside_face_resized_bgr"]
            yield within("inside: face resized", resized, wanted, 1)
        offline = "jaw" if name == "inside" else "raw"
        x1, y1, x2, y2 = vision[f"{name}_view_xyxy"]
        for picture, mask in (
            (f"{name}_realtime_jaw", realtime),
            (f"{name}_offline_{offline}", masks.soft_mask(regions[offline], box, 0.05)),
        ):
            blended = reference_blend.blend(frame, resized, box, mask)
            seen = blended[y1:y2, x1:x2]
            yield within(f"{picture}.png", seen, golden.picture(picture), 1)
            blended[y1:y2, x1:x2] = frame[y1:y2, x1:x2]
            yield within(f"{picture}.png, around", largest(blended, frame), 0, 0)


def with_timestep(models: Path, timestep: int) -> Any:
    """Our UNet folded at another timestep: what a wrong one would do."""
    tree = find_tree(models)
    shape = unet.UNetShape.from_config(networks.read_config(tree.unet_config))
    net = unet.UNet(shape)
    checkpoint = networks.read_checkpoint(tree.unet_weights)
    single = {key: value.float() for key, value in checkpoint.items()}
    net.load_state_dict(unet.fold_checkpoint(single, timestep))
    return net.eval().requires_grad_(False)


def measure(golden: GoldenSet) -> list[Verdict]:
    """All stages."""
    with torch.inference_mode():
        return [
            verdict
            for stages in (sound_stages, face_stages, generation_stages, blend_stages)
            for verdict in stages(golden)
        ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.parity", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", type=Path, help="default: FOLDER/models")
    parser.add_argument("--published", action="store_true", help="run the libraries' networks")
    options = parser.parse_args()
    if (options.folder / "unet.npz").exists():
        verdicts = parity_fullsize.measure(options.folder)
    else:
        models = options.models or options.folder / "models"
        tree = find_tree(models)
        nets = networks.load_networks(tree)
        if options.published:
            from benchmarks.published_nets import published_networks

            nets = published_networks(tree)
        verdicts = measure(GoldenSet(options.folder, nets))
    print_table(verdicts)
    return 0 if all(verdict.passed for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
