"""``python -m benchmarks.listening SPEECH --whisper DIR [--seconds 24]``

How near does the streaming window come to what the reference hears? SPEECH is a recording; its
first 30 s are encoded the reference's way (whole, knowing its future), then frame by frame through
many choices of window. The table gives, for the tokens of each choice, the error relative to the
reference's tokens, the share of frames whose tokens are nearer to the right frame than to either
neighbour, the look-ahead, and the cost. The rows "one frame early" and "one frame late" are the
yardstick: what the reference's own neighbouring frame would score. DIR holds a published Whisper's
``config.json`` and weights.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from inference.engines.musetalk import networks, speech
from inference.engines.musetalk.constants import HIDDEN_STATES, SEGMENT_SAMPLES
from inference.engines.musetalk.nets import whisper
from inference.engines.musetalk.recording import read_pcm, to_speech
from inference.engines.musetalk.speech import EXACT_LOOK_AHEAD_SAMPLES, StreamingWindow
from inference.timing import SAMPLES_PER_FRAME, SAMPLES_PER_MS

SECOND = 16_000


def load_encoder(folder: Path) -> Any:
    """The published encoder in ``folder``; the rest of Whisper may be missing there."""
    shape = whisper.WhisperShape.from_config(networks.read_config(folder / "config.json"))
    names = ("model.safetensors", "pytorch_model.bin")
    path = next(folder / name for name in names if (folder / name).exists())
    net = whisper.WhisperEncoder(shape)
    checkpoint = whisper.encoder_checkpoint(networks.read_checkpoint(path))
    net.load_state_dict({key: value.float() for key, value in checkpoint.items()})
    return net.eval().requires_grad_(False)


def choices() -> dict[str, StreamingWindow]:
    """What is compared, by name."""
    exact = EXACT_LOOK_AHEAD_SAMPLES
    windows = {
        f"{length} s": StreamingWindow(before=round(length * SECOND))
        for length in (0.4, 1, 2, 4, 8)
    }
    windows["2 s, in the middle of 30 s"] = StreamingWindow(first_position=700)
    windows["2 s, at the end of 30 s"] = StreamingWindow(first_position=1_500 - 108)
    for level in (-1.0, 0.0, 1.0):
        windows[f"2 s, mel maximum at least {level:g}"] = StreamingWindow(mel_maximum=level)
    for after_ms in (40, 80):
        windows[f"2 s, look-ahead {after_ms} ms"] = StreamingWindow(after=after_ms * SAMPLES_PER_MS)
    for more_ms in (40, 80, 200, 400):
        after = exact + more_ms * SAMPLES_PER_MS
        windows[f"2 s, look-ahead {after / SAMPLES_PER_MS:g} ms"] = StreamingWindow(after=after)
    return windows


def windows_of(samples: Tensor, window: StreamingWindow, frames: list[int]) -> Tensor:
    """``[frames, before + 640 + after]``, zeros before the recording."""
    padded = torch.nn.functional.pad(samples, (window.before, window.after))
    span = window.before + SAMPLES_PER_FRAME + window.after
    starts = [frame * SAMPLES_PER_FRAME for frame in frames]
    return torch.stack([padded[start : start + span] for start in starts])


def padded_tokens(
    encoder: whisper.WhisperEncoder, windows: Tensor, window: StreamingWindow
) -> Tensor:
    """The window at the head of 30 s of zeros: how others stream."""
    padded = torch.nn.functional.pad(windows, (0, SEGMENT_SAMPLES - windows.shape[1]))
    return window.tokens(encoder, padded, 1)


def error(found: Tensor, wanted: Tensor) -> Tensor:
    """Relative error per frame, the mean over hidden states: they differ in size by ten times."""
    by_state = (x.unflatten(-2, (-1, HIDDEN_STATES)) for x in (found, wanted))
    found, wanted = by_state
    off = (found - wanted).square().sum((-3, -1)).sqrt()
    return (off / wanted.square().sum((-3, -1)).sqrt()).mean(-1)


def row(name: str, found: Tensor, wanted: Tensor, frames: list[int], extra: str) -> str:
    right = error(found, wanted[frames])
    near = torch.stack([error(found, wanted[[f + d for f in frames]]) for d in (-1, 1)]).amin(0)
    share = (right < near).float().mean()
    return f"{name:32} {right.mean():8.3f} {right.quantile(0.95):8.3f} {share:8.1%} {extra}"


def report(encoder: whisper.WhisperEncoder, samples: Tensor, seconds: int) -> list[str]:
    """The lines of the table."""
    samples = samples[:SEGMENT_SAMPLES]
    count = speech.frame_count(len(samples))
    wanted = speech.recording_tokens(speech.encode_recording(encoder, samples), count)
    frames = list(range(25, min(25 + 25 * seconds, count - 25), 3))
    lines = [
        f"{'window':32} {'error':>8} {'p95':>8} {'nearest':>8} {'look-ahead':>10} {'GFLOP':>6} "
        f"{'ms':>6}"
    ]
    for name, step in (("one frame early", -1), ("one frame late", 1)):
        found = wanted[[frame + step for frame in frames]]
        lines.append(row(name, found, wanted, frames, ""))
    for name, window in choices().items():
        windows = windows_of(samples, window, frames)
        began = time.perf_counter()
        with FlopCounterMode(display=False) as counter:
            found = torch.cat([window.tokens(encoder, one, 1) for one in windows.split(8)])[:, 0]
        cost_ms = (time.perf_counter() - began) * 1_000 / len(frames)
        cost = counter.get_total_flops() / len(frames) / 1e9
        extra = f"{window.after / SAMPLES_PER_MS:10.1f} {cost:6.2f} {cost_ms:6.1f}"
        lines.append(row(name, found, wanted, frames, extra))
    window, some = StreamingWindow(), frames[::8]
    windows = windows_of(samples, window, some)
    found = torch.cat([padded_tokens(encoder, one, window) for one in windows.split(1)])[:, 0]
    lines.append(row("2 s, then zeros to 30 s", found, wanted, some, f"{92.5:10.1f}  36.94"))
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.listening", description=__doc__)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--whisper", type=Path, required=True)
    parser.add_argument("--seconds", type=int, default=24)
    options = parser.parse_args()
    torch.set_num_threads(1)
    samples = torch.from_numpy(to_speech(*read_pcm(options.recording)))
    with torch.inference_mode():
        print("\n".join(report(load_encoder(options.whisper), samples, options.seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
