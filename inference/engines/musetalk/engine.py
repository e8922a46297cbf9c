"""The door: `inference.engines.base.Engine`, made of this room's parts.

torch is imported when an engine loads, not when this module is.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from inference.engines.base import (
    AudioContext,
    AudioWindow,
    Features,
    Patch,
    RenderJob,
)
from inference.engines.musetalk.avatar import MuseTalkAvatar, read_clip
from inference.engines.musetalk.background import BackgroundPreparation, Task
from inference.engines.musetalk.constants import TOKENS
from inference.engines.musetalk.silence import speech_weight
from inference.engines.musetalk.weights import find_tree
from inference.errors import EngineError, EngineOutOfMemory, EngineUnavailable
from inference.manifest import ClipEntry, Manifest
from inference.timing import FRAME_MS, SAMPLES_PER_FRAME, SAMPLES_PER_MS

if TYPE_CHECKING:
    from inference.engines.musetalk.loaded import LoadedNets

log = logging.getLogger(__name__)

CONTEXT_BEFORE_SAMPLES = 32_000
"""Two seconds: more brings hardly anything (docs/performance.md)."""

DEFAULT_LOOK_AHEAD_MS = 93
"""A frame's features reach 92.5 ms beyond it."""

RECOVERY_S = 10.0
"""After a fault of the device the nets are loaded anew, at most this often."""

CAPACITY_MARGIN = 0.7
"""The share of a frame's 40 ms that the engine may fill: the rest is for what else happens."""

Decoder = Literal["sd", "taesd"]


class MuseTalkEngine:
    """MuseTalk 1.5 on one device. ``capacity`` and ``max_batch`` are measured at `load`."""

    name = "musetalk"

    def __init__(
        self,
        model_path: Path,
        *,
        device: str = "auto",
        use_float16: bool = True,
        decoder: Decoder = "sd",
        compiled: bool = False,
        look_ahead_ms: int = DEFAULT_LOOK_AHEAD_MS,
        max_batch: int = 32,
        prepares: bool | None = None,
    ) -> None:
        """``prepares`` None: clips that lack latents are prepared here if the device is a GPU.

        ``compiled``: torch compiles the nets, minutes at the first start, kept under
        ``model_path / "compiled"``.
        """
        self.context = AudioContext(CONTEXT_BEFORE_SAMPLES, look_ahead_ms * SAMPLES_PER_MS)
        self.max_batch = max_batch
        self.concurrency = 1
        self.lead_s = 0.03
        self.capacity: int | None = None
        self._model_path = Path(model_path)
        self._device = device
        self._use_float16 = use_float16
        self._decoder: Decoder = decoder
        self._compiled = compiled
        self._prepares = prepares
        self._loaded: LoadedNets | None = None
        self._failed_s: float | None = None
        self._lock = threading.Lock()
        self.preparation = BackgroundPreparation()

    # ---- life

    def load(self) -> None:
        """Load nets, warm up, measure; EngineUnavailable says what is missing or does not fit."""
        try:
            import torch  # noqa: F401 -- the first import of this room's torch side
        except ImportError:
            raise EngineUnavailable(
                "torch is not installed: pip install -r requirements.txt"
            ) from None
        from inference.engines.musetalk.loaded import load_nets

        if self._compiled:
            os.environ.setdefault(
                "TORCHINDUCTOR_CACHE_DIR", str((self._model_path / "compiled").resolve())
            )
        self._loaded = load_nets(
            find_tree(self._model_path),
            device=self._device,
            use_float16=self._use_float16,
            tiny=self._decoder == "taesd",
            compiled=self._compiled,
            context=self.context,
            max_batch=self.max_batch,
        )
        self._failed_s = None
        self.max_batch = self._loaded.max_batch
        self.capacity = self._loaded.sessions(FRAME_MS * CAPACITY_MARGIN)
        log.info(
            "musetalk on %s: carries %d speaking sessions, batches of at most %d",
            self._loaded.device_name,
            self.capacity,
            self.max_batch,
        )
        if not self.capacity:
            log.warning(
                "musetalk is too slow here for 25 pictures a second: a mouth will move jerkily"
            )

    # ---- avatars

    def open_avatar(self, folder: Path, manifest: Manifest) -> MuseTalkAvatar:
        """What is prepared of the avatar, at once; clips that are not yet are queued.

        Until a clip is prepared its pictures are shown as they are. AvatarInvalid if the files are
        damaged.
        """
        avatar = MuseTalkAvatar(manifest.name, {})
        missing: list[ClipEntry] = []
        for entry in manifest.clips:
            faces = read_clip(folder, entry.name, entry.frames, manifest.version)
            if faces is None:
                missing.append(entry)
            else:
                avatar.clips[entry.name] = faces
        if missing and self._does_prepare():
            order = ("speaking", "idle", "action")
            missing.sort(key=lambda entry: order.index(entry.state))
            self.preparation.submit(
                [
                    Task(avatar, entry.name, self._preparing(avatar, folder, manifest, entry))
                    for entry in missing
                ]
            )
        elif missing:
            log.warning(
                "avatar %s: %d clips lack latents and show no speech; prepare them where a GPU is",
                manifest.name,
                len(missing),
            )
        return avatar

    def _does_prepare(self) -> bool:
        if self._prepares is not None:
            return self._prepares
        return self._loaded is not None and self._loaded.is_gpu

    def _preparing(
        self, avatar: MuseTalkAvatar, folder: Path, manifest: Manifest, entry: ClipEntry
    ) -> Callable[[], None]:
        def prepare() -> None:
            from inference.engines.musetalk.clip_files import prepare_clip

            loaded = self._nets()
            avatar.clips[entry.name] = prepare_clip(folder, manifest, entry, loaded.preparer)

        return prepare

    # ---- work

    def listen(self, windows: Sequence[AudioWindow]) -> list[list[Features]]:
        """Tokens of each frame with the weight of its mouth, see `pack`.

        Windows of one length are encoded together.
        """
        with self._guarded() as loaded:
            tokens = loaded.tokens(windows)
        heard: list[list[Features]] = []
        span = SAMPLES_PER_FRAME + self.context.after
        for window, frames in zip(windows, tokens, strict=True):
            weights = [
                # Of a window of several frames, each is judged by what one of its own would hold.
                speech_weight(
                    window.samples[begin - self.context.before : begin + span],
                    self.context.before,
                    self.context.before + SAMPLES_PER_FRAME,
                )
                for begin in range(
                    self.context.before,
                    self.context.before + window.frames * SAMPLES_PER_FRAME,
                    SAMPLES_PER_FRAME,
                )
            ]
            heard.append([pack(one, weight) for one, weight in zip(frames, weights, strict=True)])
        return heard

    def render(self, jobs: Sequence[RenderJob]) -> list[Patch | None]:
        """Patches; None in silence, for clips not prepared yet, and for pictures without a face."""
        from inference.engines.musetalk.batch import FaceJob

        patches: list[Patch | None] = [None] * len(jobs)
        wanted: list[int] = []
        faces: list[FaceJob] = []
        for number, job in enumerate(jobs):
            avatar = cast(MuseTalkAvatar, job.avatar)
            clip = avatar.clips.get(job.clip)
            tokens, weight = unpack(job.features)
            if clip is None:
                self.preparation.hurry(avatar, job.clip)
            elif clip.has_face(job.index) and weight * job.strength > 0:
                wanted.append(number)
                faces.append(FaceJob(clip, job.index, job.picture, tokens, weight * job.strength))
        if faces:
            with self._guarded() as loaded:
                finished = loaded.renderer.render(faces)
            for number, patch in zip(wanted, finished, strict=True):
                patches[number] = patch
        return patches

    def _nets(self) -> "LoadedNets":
        """The nets; after a fault they are loaded again when `RECOVERY_S` has passed."""
        with self._lock:
            if self._loaded is None:
                if self._failed_s is None:
                    raise EngineError("the engine is not loaded")
                if time.monotonic() - self._failed_s < RECOVERY_S:
                    raise EngineError("the device failed; the engine is coming back")
                self._failed_s = time.monotonic()
                self.load()
            assert self._loaded is not None
            return self._loaded

    def _guarded(self) -> "_Guard":
        return _Guard(self)

    def fail(self, error: BaseException) -> None:
        """The device failed: let go of the nets, to be loaded anew."""
        log.error("musetalk: the device failed: %s", error)
        self._loaded = None
        self._failed_s = time.monotonic()


class _Guard:
    """Turns the device's faults into the engine's errors."""

    def __init__(self, engine: MuseTalkEngine) -> None:
        self._engine = engine

    def __enter__(self) -> "LoadedNets":
        return self._engine._nets()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        import torch

        if isinstance(error, torch.OutOfMemoryError):
            raise EngineOutOfMemory("the device's memory is too small for one picture") from error
        if isinstance(error, RuntimeError):
            self._engine.fail(error)
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise EngineError(f"the device failed: {reason}") from error


def pack(tokens: NDArray[np.float32], weight: float) -> Features:
    """``[50, width]`` and 0..1 → float32 ``[50 * width + 1]``."""
    return np.append(tokens.ravel(), np.float32(weight)).astype(np.float32, copy=False)


def unpack(features: Features) -> tuple[NDArray[np.float32], float]:
    """The inverse of `pack`."""
    return features[:-1].reshape(TOKENS, -1), float(features[-1])
