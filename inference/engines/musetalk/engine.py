"""MuseTalk as an `inference.engines.base.Engine`.

torch is imported when an engine loads, not when this module is.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from inference.assets.manifest import ClipEntry, Manifest
from inference.engines.base import (
    CLOSE_WITHIN_S,
    EngineState,
    Features,
    LoadedAvatar,
    RenderJob,
    RenderRefusal,
)
from inference.engines.musetalk.audio.feature_packing import pack, unpack
from inference.engines.musetalk.audio.silence_gate import REACH_SAMPLES, speech_weight
from inference.engines.musetalk.circuit_breaker import CircuitBreaker
from inference.engines.musetalk.device_lifecycle import DeviceLifecycle
from inference.engines.musetalk.execution.known_times import KnownTimes
from inference.engines.musetalk.free_memory import has_memory_for
from inference.engines.musetalk.prepare.avatar import FaceClip, kept_in, read_clip
from inference.engines.musetalk.prepare.background import (
    BackgroundPreparation,
    MuseTalkAvatar,
    Progress,
    Task,
)
from inference.engines.musetalk.weights import Decoder, ModelTree, find_tree
from inference.errors import EngineStopped, EngineUnavailable
from inference.media.types import AudioContext, AudioWindow, Patch, Rectangle
from inference.timing import ENCODING_S, FRAME_MS, SAMPLES_PER_FRAME, SAMPLES_PER_MS

if TYPE_CHECKING:
    from inference.engines.musetalk.loaded import LoadedModel
    from inference.engines.musetalk.networks import Networks

log = logging.getLogger(__name__)

CONTEXT_BEFORE_SAMPLES = 32_000
"""Two seconds: more brings hardly anything (docs/performance.md)."""

DEFAULT_LOOK_AHEAD_MS = 80
"""Two chunks of 40 ms. A frame's features reach 92.5 ms beyond it: what the last 12.5 ms add is
small (docs/performance.md), and waiting for them costs a third chunk."""

LEAST_LEAD_S = 0.03
MOST_LEAD_S = 0.4
"""A slower device shows no mouth (`circuit_breaker`), but requests are answered within it."""

RESERVED_SHARE = 0.25
"""So many sessions more are expected to begin while one speaks: leads are chosen for them, too."""

CAPACITY_MARGIN = 0.8
"""The share of a frame's 40 ms that the engine may fill. With more, waiting grows faster than the
number of sessions, and by that the age of the sound that all of them show (docs/performance.md)."""

MEMORY_TO_READ = 3
"""What reading the weights may need, in sizes of their files: half precision becomes single."""

Prepares = Literal["all", "wanted", "none"]
"""Which clips that lack latents are prepared: all of an avatar that is opened, or those that
a session shows speaking, or none."""


class MuseTalkEngine:
    """MuseTalk 1.5 on one device. What it carries and how it is called are measured at `load`."""

    name = "musetalk"

    def __init__(
        self,
        model_path: Path,
        *,
        device: str = "auto",
        use_float16: bool = True,
        decoder: Decoder = "sd",
        look_ahead_ms: int = DEFAULT_LOOK_AHEAD_MS,
        max_batch: int = 32,
        memory_gb: float = 0,
        storage: Path | None = None,
        prepares: Prepares | None = None,
        times_file: Path | None = None,
    ) -> None:
        """Set up.

        ``prepares`` None is "all" on a GPU, which takes seconds for a clip; else "wanted".

        ``memory_gb``: the most that is taken of a GPU's memory; 0 is all. ``storage``: the folder
        that prepared clips of avatars outside of it are written to; None: the avatar's own.
        ``times_file``: where what batches take is kept for the next process; None: nowhere.
        """
        self.context = AudioContext(CONTEXT_BEFORE_SAMPLES, look_ahead_ms * SAMPLES_PER_MS)
        self.max_batch = self._max_batch = max_batch
        self.concurrency = 1
        self._leads_s = [LEAST_LEAD_S]
        """For 1, 2, … speaking sessions."""
        self._model_path = Path(model_path)
        self._device = device
        self._use_float16 = use_float16
        self._decoder: Decoder = decoder
        self._storage = storage
        self._memory_gb = memory_gb
        self._prepares = prepares
        self._times_file = times_file
        self._read_ahead: Networks | None = None
        """The networks, from `read_ahead` to `load`."""
        self.nets = DeviceLifecycle(self._load)
        self._circuit_breaker = CircuitBreaker(MOST_LEAD_S - ENCODING_S)
        self.preparation = BackgroundPreparation()
        self._is_closing = threading.Event()

    def load(self) -> None:
        """Load nets, warm up, measure; EngineUnavailable says what is missing or does not fit."""
        self.nets.begin()

    def read_ahead(self) -> None:
        """Do what of `load` takes no memory of the device, if there is memory of the host for it.

        For a process that stands by: the networks are read, and nothing is done with them.
        """
        tree = find_tree(self._model_path)
        if has_memory_for(MEMORY_TO_READ * tree.size_bytes):
            self._read_ahead = self._read(tree)

    def close(self) -> None:
        """Stop preparation after the picture in progress, and loading after the step in progress.

        A thread inside torch must not meet the end of the interpreter: Python would end it there,
        which C++ answers by aborting the process.
        """
        self._is_closing.set()
        self.preparation.close(CLOSE_WITHIN_S)

    def _read(self, tree: ModelTree) -> "Networks":
        """Return the networks that were read ahead, to keep them no longer; or read them."""
        from inference.engines.musetalk.networks import load_networks

        nets, self._read_ahead = self._read_ahead, None
        return nets or load_networks(tree, decoder=self._decoder)

    def _check_open(self) -> None:
        if self._is_closing.is_set():
            raise EngineStopped("the engine was closed")

    def _load(self) -> "LoadedModel":
        loaded = self._load_nets()
        self.max_batch, self.concurrency = loaded.max_batch, loaded.concurrency
        sessions = loaded.sessions(FRAME_MS * CAPACITY_MARGIN)
        self._leads_s = leads_s(loaded.lead_ms, max(sessions, 1))
        log.info(
            "musetalk on %s: carries %d speaking sessions, batches of at most %d, begun %.0f ms "
            "before a picture is due where one speaks, %.0f ms where all do; beside the device a "
            "call takes %.1f ms",
            loaded.device_name,
            sessions,
            self.max_batch,
            self._leads_s[0] * 1_000,
            self._leads_s[-1] * 1_000,
            loaded.overhead_ms,
        )
        self._circuit_breaker.learned(loaded.milliseconds[1] / 1_000)
        if not sessions:
            log.warning(
                "musetalk is too slow here: a picture takes %.0f ms, and 25 a second are wanted; "
                "mouths will move jerkily or not at all",
                loaded.milliseconds[1],
            )
        return loaded

    def _load_nets(self) -> "LoadedModel":
        try:
            import torch  # noqa: F401 -- the first import of this package's torch side
        except ImportError:
            raise EngineUnavailable(
                "torch is not installed: .venv/bin/pip install -r requirements.txt"
            ) from None
        self._check_open()
        from inference.engines.musetalk.loaded import load_nets

        tree = find_tree(self._model_path)
        known_times = None
        if self._times_file is not None:
            known_times = KnownTimes(self._times_file, f"{tree.fingerprint}, {self._decoder}")
        return load_nets(
            partial(self._read, tree),
            device=self._device,
            use_float16=self._use_float16,
            context=self.context,
            max_batch=self._max_batch,
            memory_gb=self._memory_gb,
            check_open=self._check_open,
            known_times=known_times,
        )

    @property
    def capacity(self) -> int | None:
        """Speaking sessions, with a margin; fewer after memory ran short."""
        loaded = self.nets.loaded
        return None if loaded is None else loaded.sessions(FRAME_MS * CAPACITY_MARGIN)

    def lead_for(self, speaking: int) -> float:
        """As long as mouths wait where a few more speak: those may begin during an utterance."""
        expected = speaking + max(1, int(speaking * RESERVED_SHARE))
        return self._leads_s[min(expected, len(self._leads_s)) - 1]

    def state(self) -> EngineState:
        return self.nets.trouble or EngineState(message=self.preparation.status)

    def open_avatar(self, folder: Path, manifest: Manifest) -> MuseTalkAvatar:
        """Return what is prepared of the avatar, at once.

        See `Prepares` for clips that are not prepared yet.

        Until a clip is prepared its pictures are shown as they are. AvatarInvalid if the files are
        damaged.
        """
        avatar = MuseTalkAvatar(manifest.name, {})
        missing: list[ClipEntry] = []
        kept = kept_in(folder, self._storage)
        for entry in manifest.clips:
            faces = read_clip(kept, entry.name, entry.frames, manifest.version)
            if faces is None:
                missing.append(entry)
            else:
                avatar.clips[entry.name] = faces
        if not missing:
            return avatar
        order = ("speaking", "idle", "action")
        missing.sort(key=lambda entry: order.index(entry.state))
        tasks = [
            Task(avatar, entry.name, self._preparing(folder, manifest, entry)) for entry in missing
        ]
        is_gpu = self.nets.loaded is not None and self.nets.loaded.is_gpu
        match self._prepares or ("all" if is_gpu else "wanted"):
            case "all":
                self.preparation.submit(tasks)
            case "wanted":
                avatar.offered = {task.clip: task for task in tasks}
        log.warning(
            "avatar %s: %d of %d clips show no speech until they are prepared for MuseTalk; "
            "`.venv/bin/python manage.py prepare_musetalk` does that in advance",
            manifest.name,
            len(missing),
            len(manifest.clips),
        )
        return avatar

    def _preparing(
        self, folder: Path, manifest: Manifest, entry: ClipEntry
    ) -> Callable[[Progress], FaceClip]:
        def prepare(progress: Progress) -> FaceClip:
            from inference.engines.musetalk.prepare.clip_files import prepare_clip

            with self.nets.beside() as loaded:
                return prepare_clip(
                    folder,
                    manifest,
                    entry,
                    loaded.preparer,
                    progress,
                    storage=self._storage,
                    waits=False,
                )

        return prepare

    def is_ready(self, avatar: LoadedAvatar, clip: str) -> bool:
        """Whether the clip is prepared."""
        return clip in cast(MuseTalkAvatar, avatar).clips

    def region(self, avatar: LoadedAvatar, clip: str, index: int) -> Rectangle | None:
        """Return what is under the patch; None for a picture without a face."""
        faces = cast(MuseTalkAvatar, avatar).clips.get(clip)
        if faces is None or not faces.has_face(index):
            return None
        return faces.patch(index)

    def listen(self, windows: Sequence[AudioWindow]) -> list[list[Features]]:
        """Tokens of each frame with the weight of its mouth, see `pack`.

        Windows of one length are encoded together.
        """
        with self.nets.live() as loaded:
            tokens = loaded.hearing.tokens(windows)
        return [
            [pack(one, weight) for one, weight in zip(frames, weights, strict=True)]
            for frames, weights in zip(tokens, map(self._weights, windows), strict=True)
        ]

    def _weights(self, window: AudioWindow) -> list[float]:
        """Return how much of each frame's mouth is shown, 0..1.

        Of a window of several frames, each is judged by what one of its own would hold.
        """
        reach, frame = min(self.context.before, REACH_SAMPLES), SAMPLES_PER_FRAME
        first, length = self.context.before - reach, reach + frame + self.context.after
        near = AudioWindow(window.sound[first:], window.frames).samples
        return [
            speech_weight(near[begin : begin + length], reach, reach + frame)
            for begin in range(0, window.frames * frame, frame)
        ]

    def render(self, jobs: Sequence[RenderJob]) -> list[Patch | RenderRefusal | None]:
        """Patches; None in silence and for pictures without a face."""
        from inference.engines.musetalk.execution.batch import FaceJob

        patches: list[Patch | RenderRefusal | None] = [None] * len(jobs)
        wanted: list[int] = []
        faces: list[FaceJob] = []
        for number, job in enumerate(jobs):
            avatar = cast(MuseTalkAvatar, job.avatar)
            clip = avatar.clips.get(job.clip)
            tokens, weight = unpack(job.features)
            if weight * job.strength <= 0:
                continue
            if clip is None:
                patches[number] = RenderRefusal(self.preparation.prioritize(avatar, job.clip))
            elif clip.has_face(job.index):
                wanted.append(number)
                faces.append(FaceJob(clip, job.index, job.picture, tokens, weight * job.strength))
        if not faces:
            return patches
        began_s = time.monotonic()
        if not self._circuit_breaker.may_begin(began_s):
            withheld = RenderRefusal(self._circuit_breaker.reason)
            return [withheld if n in wanted else patch for n, patch in enumerate(patches)]
        with self.nets.live() as loaded:
            finished = loaded.renderer.render(faces)
        self._circuit_breaker.took(time.monotonic() - began_s)
        for number, patch in zip(wanted, finished, strict=True):
            patches[number] = patch
        return patches


def leads_s(waits_ms: Callable[[int], float], sessions: int) -> list[float]:
    """How early pictures are begun where 1, 2, … ``sessions`` speak, in seconds.

    The call that must end first, one's own, and what comes after; more for more sessions.

    Args:
        waits_ms: How long a mouth waits while so many speak.
        sessions: How many may at most.
    """
    waits = accumulate((waits_ms(count) for count in range(1, sessions + 1)), max)
    return [min(max(ms / 1_000 + ENCODING_S, LEAST_LEAD_S), MOST_LEAD_S) for ms in waits]
