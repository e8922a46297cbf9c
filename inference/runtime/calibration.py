"""How many sessions can speak at once on these cores: measured, once for each machine.

Some speaking frames are made as the pipeline makes them, on one thread, and the processor time of
that thread is what counts, so that a busy neighbor does not. What the event loop takes beside is
known as a part of it. The result is kept in a file, by the model of the processor and the version
of this software.
"""

import itertools
import json
import logging
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference.assets.clips import AvatarClips, PictureCache
from inference.assets.library import AvatarLibrary
from inference.engines.base import Engine, RenderJob, RenderRefusal
from inference.errors import AvatarError
from inference.media.encoder import Encoder
from inference.media.profile import VideoProfile
from inference.media.types import AudioWindow
from inference.timing import FRAMES_PER_SECOND, SAMPLES_PER_FRAME

log = logging.getLogger(__name__)

FRAMES = 50
WARM_UP_FRAMES = 5
LOOP_SHARE = 1.0
"""What the event loop, hand-overs and crowded caches take beside a frame's own work, as a part of
it: 0.45 was measured on an AMD EPYC, 2 on a shared Xeon. What this gets wrong is corrected while
sessions speak (`learned_places`)."""


@dataclass(frozen=True, slots=True)
class CalibrationFile:
    """Where measurements are kept."""

    path: Path
    version: str

    @property
    def _key(self) -> str:
        return f"{_processor()} {self.version}"

    def read(self) -> float | None:
        """Processor time of a frame, s; None if none was measured here."""
        try:
            return float(json.loads(self.path.read_text())[self._key])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, frame_s: float) -> None:
        """Keep the processor time of a frame, s. Without a disk it is measured again next time."""
        part = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps({self._key: round(frame_s, 6)}))
            part.replace(self.path)
        except OSError as error:
            log.warning("the measured capacity could not be kept: %s", error)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return model.strip()


def warm_up(engine: Engine, library: AvatarLibrary, avatar: str, profile: VideoProfile) -> None:
    """Make some speaking frames, so that the first utterance is as quick as the others.

    The first calls of nets, codecs and libraries take 50 ms longer than those after them.

    Args:
        engine: Loaded.
        library: Where the avatar is.
        avatar: Its folder.
        profile: Of the video.
    """
    _make(_speaking_frames(engine, library, avatar, profile), WARM_UP_FRAMES, avatar)


def measure_frame_s(
    engine: Engine, library: AvatarLibrary, avatar: str, profile: VideoProfile
) -> float | None:
    """Processor time of a speaking frame, s; None without an avatar to measure on.

    Takes about half a second of one core.
    """
    frames = _speaking_frames(engine, library, avatar, profile)
    if not _make(frames, WARM_UP_FRAMES, avatar):
        return None
    began_s = time.thread_time()
    if not _make(frames, FRAMES, avatar):
        return None
    return (time.thread_time() - began_s) / FRAMES


def _make(frames: Iterator[bytes], count: int, avatar: str) -> bool:
    """Whether so many frames could be made."""
    try:
        return sum(1 for _ in itertools.islice(frames, count)) == count
    except Exception:  # whatever it is: sessions with other avatars may do well
        log.warning("speaking frames of %s could not be made", avatar, exc_info=True)
        return False


def _speaking_frames(
    engine: Engine, library: AvatarLibrary, avatar: str, profile: VideoProfile
) -> Iterator[bytes]:
    """Access units made as the pipeline makes them, without end; none without an avatar."""
    try:
        folder = library.find(avatar)
        clips = AvatarClips(folder, PictureCache(), profile=profile)
        opened = engine.open_avatar(folder, clips.manifest)
    except AvatarError as error:
        log.warning("speaking frames could not be tried: %s", error)
        return
    name, clip = next(iter(clips.index.items()))
    context = engine.context
    width = context.before + SAMPLES_PER_FRAME + context.after
    # A stream of sound: each window begins a frame after the one before, as a session's do.
    count = width + (FRAMES_PER_SECOND - 1) * SAMPLES_PER_FRAME
    sound = np.random.default_rng(7).normal(0, 0.1, count).astype(np.float32)
    encoder = Encoder(profile, qp=clips.live_qp)
    for number in itertools.count():
        index = number % clip.frames
        picture = clips[name].picture(index)
        start = number % FRAMES_PER_SECOND * SAMPLES_PER_FRAME
        window = AudioWindow(sound[start : start + width], frames=1)
        features = engine.listen([window])[0][0]
        job = RenderJob(avatar=opened, clip=name, index=index, picture=picture, features=features)
        made = engine.render([job])[0]
        yield encoder.encode(picture, None if isinstance(made, RenderRefusal) else made)
