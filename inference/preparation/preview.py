"""A short video of a new avatar that speaks, for the person to judge."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme.engine import VisemeEngine
from inference.engines.viseme.renderers.warp import WarpedMouth
from inference.engines.viseme.shape import MouthShape
from inference.media.compositor import paste
from inference.media.types import AudioWindow, Picture
from inference.timing import FRAMES_PER_SECOND, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

_SAMPLE = Path(__file__).parent / "sample_speech.flac"
"""Synthesized with flite, voice slt."""


def write_preview(path: Path, pictures: Sequence[Picture], landmarks: NDArray[np.float32]) -> None:
    """Write an MP4 of a clip that says the sample sentence.

    ``landmarks`` float32 ``[frames, 468, 2]``, those of ``pictures``. EngineUnavailable if the
    viseme engine cannot run here.
    """
    engine = VisemeEngine()
    engine.load()
    samples = _sample_speech()
    frames = len(samples) // SAMPLES_PER_FRAME
    window = np.pad(samples, (engine.context.before, engine.context.after))
    shapes = engine.listen([AudioWindow(window, frames)])[0]
    mouth = WarpedMouth({"": landmarks})
    height, width = pictures[0].shape[0] * 2 // 3, pictures[0].shape[1]
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        video = container.add_stream("libx264", rate=FRAMES_PER_SECOND)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.options = {"crf": "21", "preset": "veryfast"}
        sound = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
        for frame, features in enumerate(shapes):
            index = frame % len(pictures)
            shape = MouthShape.from_features(features)
            patch = mouth.render("", index, pictures[index], shape)
            shown = pictures[index] if patch is None else paste(pictures[index], patch)
            coded = av.VideoFrame.from_ndarray(shown, format="yuv420p")
            coded.pts, coded.time_base = frame, Fraction(1, FRAMES_PER_SECOND)
            container.mux(video.encode(coded))
        container.mux(video.encode(None))
        spoken = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        spoken.sample_rate, spoken.pts = SAMPLE_RATE_HZ, 0
        container.mux(sound.encode(spoken))
        container.mux(sound.encode(None))


def _sample_speech() -> NDArray[np.float32]:
    """Return the sample sentence, float32 16 kHz mono in -1..1, padded to whole frames."""
    with av.open(str(_SAMPLE)) as container:
        pcm = np.concatenate([part.to_ndarray().ravel() for part in container.decode(audio=0)])
    short = -len(pcm) % SAMPLES_PER_FRAME
    return np.pad(pcm.astype(np.float32) / 32768, (0, short))
