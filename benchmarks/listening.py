"""``python -m benchmarks.listening SPEECH --whisper DIR [--frames 30]``

How near does the streaming window come to what the reference hears? SPEECH is a recording of 40 s
or more; DIR holds a published Whisper's ``config.json`` and weights. Tokens of frames all over the
first 28 s are compared, hidden state by hidden state (relative error, averaged), in two ways:

"as a whole": with the reference's encoding of the recording. The encoder adds its place in the 30 s
to everything, so the same sound at another place differs: the rows "begun ... earlier" tell by how
much the reference differs from itself when its recording merely starts elsewhere.

"same place": with the reference's encoding of 30 s of the recording in which the frame is where
the window has it. What is left is the future (and past) that the window does not hold.

"nearest": the share of frames whose tokens are nearer to the right frame than to either neighbor,
at the same place; "one frame late" is what a neighbor scores.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from inference.engines.musetalk import networks
from inference.engines.musetalk.audio import speech
from inference.engines.musetalk.audio.mel import log_mel
from inference.engines.musetalk.audio.recording import read_pcm, to_speech
from inference.engines.musetalk.audio.speech import EXACT_LOOK_AHEAD_SAMPLES, StreamingWindow
from inference.engines.musetalk.constants import (
    FEATURE_RATE_HZ,
    FEATURES_BEFORE,
    FEATURES_PER_FRAME,
    HIDDEN_STATES,
    SAMPLES_PER_FEATURE,
    SEGMENT_SAMPLES,
)
from inference.engines.musetalk.nets import whisper
from inference.timing import SAMPLES_PER_FRAME, SAMPLES_PER_MS

SECOND = 16_000


def load_encoder(folder: Path) -> Any:
    """Return the published encoder in ``folder``; the rest of Whisper may be missing there."""
    shape = whisper.WhisperShape.from_config(networks.read_config(folder / "config.json"))
    names = ("model.safetensors", "pytorch_model.bin")
    path = next(folder / name for name in names if (folder / name).exists())
    net = whisper.WhisperEncoder(shape)
    checkpoint = whisper.encoder_checkpoint(networks.read_checkpoint(path))
    net.load_state_dict({key: value.float() for key, value in checkpoint.items()})
    return net.eval().requires_grad_(False)


def choices() -> dict[str, StreamingWindow]:
    """Return what is compared, by name."""
    windows = {
        f"{length:g} s": StreamingWindow(before=round(length * SECOND))
        for length in (0.4, 1, 2, 4, 8)
    }
    windows["2 s, in the middle of 30 s"] = StreamingWindow(first_position=700)
    windows["2 s, at the end of 30 s"] = StreamingWindow(first_position=1_500 - 108)
    for level in (0.0, 1.5):
        windows[f"2 s, mel maximum at least {level:g}"] = StreamingWindow(mel_maximum=level)
    for after_ms in (40, 60, 80):
        windows[f"2 s, look-ahead {after_ms} ms"] = StreamingWindow(after=after_ms * SAMPLES_PER_MS)
    for more_ms in (40, 80, 200, 400):
        after = EXACT_LOOK_AHEAD_SAMPLES + more_ms * SAMPLES_PER_MS
        windows[f"2 s, look-ahead {after / SAMPLES_PER_MS:g} ms"] = StreamingWindow(after=after)
    return windows


def piece(samples: Tensor, begin: int, length: int) -> Tensor:
    """``samples[begin : begin + length]`` with zeros beyond both ends."""
    end = begin + length
    inside = samples[max(begin, 0) : max(end, 0)]
    left = max(-begin, 0)
    return torch.nn.functional.pad(inside, (left, length - left - len(inside)))


def heard(encoder: Any, samples: Tensor, window: StreamingWindow, frames: list[int]) -> Tensor:
    """Return the tokens of each frame through the window."""
    span = window.before + SAMPLES_PER_FRAME + window.after
    windows = torch.stack(
        [piece(samples, frame * SAMPLES_PER_FRAME - window.before, span) for frame in frames]
    )
    return torch.cat([window.tokens(encoder, some, 1) for some in windows.split(8)])[:, 0]


class Reference:
    """The published hearing of one recording, wherever in its 30 s a frame is to lie."""

    def __init__(self, encoder: Any, samples: Tensor) -> None:
        self._encoder = encoder
        self._samples = samples
        whole = speech.encode_recording(encoder, samples[:SEGMENT_SAMPLES])
        self._whole = speech.recording_tokens(whole, speech.frame_count(SEGMENT_SAMPLES))
        self._placed: dict[tuple[int, int], Tensor] = {}

    def whole(self, frames: list[int]) -> Tensor:
        return self._whole[frames]

    def placed(self, frames: list[int], place: int) -> Tensor:
        """Each frame's own first feature at position ``place`` of 30 s of real sound."""
        return torch.stack([self._at(frame, place) for frame in frames])

    def _at(self, frame: int, place: int) -> Tensor:
        if (frame, place) not in self._placed:
            begin = frame * SAMPLES_PER_FRAME - place * SAMPLES_PER_FEATURE
            mel = log_mel(piece(self._samples, begin, SEGMENT_SAMPLES)[None])
            features = self._encoder(mel)[0]
            first = place - FEATURES_BEFORE
            tokens = features[first : first + FEATURES_PER_FRAME].flatten(0, 1)
            self._placed[frame, place] = tokens
        return self._placed[frame, place]


def error(found: Tensor, wanted: Tensor) -> Tensor:
    """Relative error per frame, the mean over hidden states: they differ in size by ten times."""
    found, wanted = (x.unflatten(-2, (-1, HIDDEN_STATES)) for x in (found, wanted))
    off = (found - wanted).square().sum((-3, -1)).sqrt()
    return (off / wanted.square().sum((-3, -1)).sqrt()).mean(-1)


def report(encoder: Any, samples: Tensor, count: int) -> Iterator[str]:
    """Yield the lines of the table."""
    frames = [round(50 + index * 650 / count) for index in range(count)]
    reference = Reference(encoder, samples)
    yield (
        f"{'':32} {'as a whole':>10} {'same place':>10} {'p95':>6} {'nearest':>8} {'ahead ms':>9} "
        f"{'GFLOP':>6} {'ms':>6}"
    )
    for before_s in (2, 10):
        place = round(before_s * FEATURE_RATE_HZ)
        off = error(reference.placed(frames, place), reference.whole(frames)).mean()
        yield f"{f'reference, begun {before_s} s earlier':32} {off:10.3f}"
    late = [frame + 1 for frame in frames]
    place = StreamingWindow().before // SAMPLES_PER_FEATURE
    right = reference.placed(frames, place)
    off = error(reference.placed(late, place), right).mean()
    yield f"{'reference, one frame late':32} {'':10} {off:10.3f}"
    for name, window in choices().items():
        with FlopCounterMode(display=False) as counter:
            heard(encoder, samples, window, frames)
        began = time.perf_counter()  # not while operations are counted, which takes time itself
        found = heard(encoder, samples, window, frames)
        cost_ms = (time.perf_counter() - began) * 1_000 / count
        cost = counter.get_total_flops() / count / 1e9
        place = window.first_position + window.before // SAMPLES_PER_FEATURE
        near = error(found, reference.placed(frames, place))
        other = torch.stack(
            [
                error(found, reference.placed([frame + step for frame in frames], place))
                for step in (-1, 1)
            ]
        ).amin(0)
        off = error(found, reference.whole(frames)).mean()
        yield (
            f"{name:32} {off:10.3f} {near.mean():10.3f} {near.quantile(0.95):6.3f} "
            f"{(near < other).float().mean():8.1%} {window.after / SAMPLES_PER_MS:9.1f} "
            f"{cost:6.2f} {cost_ms:6.1f}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.listening", description=__doc__)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--whisper", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(1)
    samples = torch.from_numpy(to_speech(*read_pcm(options.recording)))
    with torch.inference_mode():
        for line in report(load_encoder(options.whisper), samples, options.frames):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
