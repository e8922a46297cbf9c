"""Nets on a device, warmed up and measured: what `engine` holds once it is loaded."""

import itertools
import logging
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from inference.engines.musetalk.audio.speech import StreamingWindow
from inference.engines.musetalk.constants import LATENT_SIZE
from inference.engines.musetalk.devices import (
    find_device,
    free_cached,
    is_out_of_memory,
    limit_memory,
    stream_of,
    synchronize,
    using,
)
from inference.engines.musetalk.execution import buckets, queueing
from inference.engines.musetalk.execution.batch import FaceJob, Queued, Renderer
from inference.engines.musetalk.execution.hearing import Hearing
from inference.engines.musetalk.execution.known_times import KnownTimes
from inference.engines.musetalk.execution.runner import Runner
from inference.engines.musetalk.execution.thread_priority import lower_thread_priority
from inference.engines.musetalk.nets.blocks import use_operations
from inference.engines.musetalk.networks import Networks
from inference.engines.musetalk.prepare.avatar import FaceClip
from inference.engines.musetalk.prepare.preparation import ClipPreparer
from inference.errors import EngineUnavailable
from inference.media.types import AudioContext, AudioWindow
from inference.timing import FRAME_MS

log = logging.getLogger(__name__)

TOO_SLOW_MS = 1_000.0
"""A batch that takes longer is no stream: it is measured once, and no larger one at all."""

MEASURE_S = 0.2
"""How long batches of one size are measured."""

OVERLAP_SIZE = 16
"""Batches of at most this size tell whether overlapping pays."""


@dataclass(slots=True)
class LoadedModel:
    """See the module."""

    nets: Networks
    device: torch.device
    runner: Runner
    renderer: Renderer
    preparer: ClipPreparer
    hearing: Hearing
    live: Callable[[], AbstractContextManager[Any]]
    """What a session waits for is done inside of what this makes."""
    beside: Callable[[], AbstractContextManager[Any]]
    """And what nobody waits for inside of what this makes."""
    overhead_ms: float = 0.0
    """What a call takes while the device does another's batch: hearing, gathering, handing out."""

    @property
    def milliseconds(self) -> dict[int, float]:
        """What a batch of each bucket takes, hearing and making: how far batches are apart."""
        return self.runner.milliseconds

    @property
    def concurrency(self) -> int:
        """Calls at the same time: the host works for one while the GPU works for the other."""
        return 2 if self.device.type == "cuda" else 1

    @property
    def is_gpu(self) -> bool:
        return bool(self.device.type != "cpu")

    @property
    def device_name(self) -> str:
        is_cuda = self.device.type == "cuda"
        return torch.cuda.get_device_name(self.device) if is_cuda else str(self.device)

    @property
    def max_batch(self) -> int:
        return self.runner.buckets[-1]

    def sessions(self, busy_ms: float) -> int:
        """Speaking sessions for which calls fill at most ``busy_ms`` of each frame's 40."""
        return buckets.jobs_carried(busy_ms, self._times())

    def lead_ms(self, sessions: int) -> float:
        """How long a mouth waits while ``sessions`` speak: until a call begins, and until it ends.

        At least two calls, also where the sessions are too many for this device.
        """
        times = self._times()
        least = 2 * buckets.call_at_rest(sessions, FRAME_MS, times)[1] + self.overhead_ms
        if sessions > self.sessions(FRAME_MS):
            return least
        found = queueing.answered_within(
            sessions,
            FRAME_MS,
            times,
            under_way=self.concurrency,
            overhead=self.overhead_ms,
        )
        return max(found, least)

    def _times(self) -> dict[int, float]:
        """`milliseconds` of the buckets that are left: memory may have run short since."""
        return {size: self.milliseconds[size] for size in self.runner.buckets}


def load_nets(
    read: Callable[[], Networks],
    *,
    device: str,
    use_float16: bool,
    context: AudioContext,
    max_batch: int,
    memory_gb: float = 0,
    check_open: Callable[[], None] = lambda: None,
    known_times: KnownTimes | None = None,
) -> LoadedModel:
    """Load, warm up and measure; EngineUnavailable if files, device or memory are not enough.

    Half precision that does not work on this device gives way to single, for which the networks are
    read again. ``read``: returns them, float32 on the CPU, and keeps nothing of them.
    ``check_open`` is called between steps; what it raises ends the load. ``known_times``: where a
    process before this one has kept what it measured; None: it is measured now.
    """
    where = find_device(device)
    if memory_gb:
        limit_memory(where, memory_gb)
    _set_up(where)
    dtype = torch.float16 if use_float16 and where.type != "cpu" else torch.float32
    sizes = [size for size in buckets.SIZES if size <= max_batch] or [1]
    if where.type == "cpu":
        sizes = sizes[:3]
    place = partial(_place, where, sizes=sizes, context=context, check_open=check_open)
    with _as_unavailable(where), using(where):
        loaded = place(read(), dtype)
        if dtype is torch.float16 and not _is_finite(loaded):
            log.warning("%s: half precision gives no numbers here; single is used", where)
            del loaded  # the device may not hold both
            free_cached(where)
            loaded = place(read(), torch.float32)
        synchronize(where)
        with loaded.live():
            _choose_overlap(loaded, check_open)
            _measure_or_recall(loaded, check_open, known_times)
            _measure_overhead(loaded, check_open)
    return loaded


@contextmanager
def _as_unavailable(where: torch.device) -> Iterator[None]:
    """Make EngineUnavailable of what the device raises inside."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        if is_out_of_memory(error):
            raise EngineUnavailable(
                f"{where} has too little memory for MuseTalk (about 4 GB): {reason}"
            ) from error
        raise EngineUnavailable(f"{where} cannot run MuseTalk: {reason}") from error


def _set_up(where: torch.device) -> None:
    """Set what holds for all that this process runs on the device."""
    if where.type == "cpu":
        lower_thread_priority()
    if where.type == "cuda":
        # Parity is measured in full float32; the nets that run live are in half precision.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True


def _place(
    where: torch.device,
    nets: Networks,
    dtype: torch.dtype,
    *,
    sizes: Sequence[int],
    context: AudioContext,
    check_open: Callable[[], None],
) -> LoadedModel:
    """Move nets to the device, and warm up what runs there."""
    check_open()
    nets = nets.to(where, dtype)
    runner = Runner(nets, where, dtype, buckets=sizes)
    if where.type != "cpu":
        runner.warm_up(check_open=check_open)
    preparer = ClipPreparer(nets.encoder, nets.face_parsing, where)
    use_operations(nets.encoder, runner.operations)
    window = StreamingWindow(before=context.before, after=context.after)
    hearing = Hearing(nets.whisper, window, where, buckets=runner.buckets)
    if where.type != "cpu":
        hearing.warm_up(check_open)
    beside = stream_of(where, is_urgent=False)
    if where.type == "cuda":
        check_open()
        with beside():
            preparer.warm_up()
    return LoadedModel(
        nets=nets,
        device=where,
        runner=runner,
        renderer=Renderer(runner, nets.width),
        preparer=preparer,
        hearing=hearing,
        live=stream_of(where, is_urgent=True),
        beside=beside,
    )


def _is_finite(loaded: LoadedModel) -> bool:
    """Whether a picture can be made of latents and tokens of the usual size."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 8, LATENT_SIZE, LATENT_SIZE, generator=generator)
    noise = torch.randn(1, loaded.hearing.samples, generator=generator)
    [tokens] = loaded.hearing.tokens([AudioWindow(0.1 * noise[0].numpy(), 1)])
    return bool(loaded.runner.generate(latents, torch.from_numpy(tokens))[1].all())


def _measure_or_recall(
    loaded: LoadedModel,
    check_open: Callable[[], None],
    known: KnownTimes | None,
) -> None:
    """What a batch of each bucket takes, from the file of the process before, if it fits."""
    runner = loaded.runner
    key = f"{loaded.device_name}, {runner.dtype}"
    times = {} if known is None else known.read(key)
    recalled = tuple(size for size in runner.buckets if size in times)
    if not recalled:
        _measure_all(loaded, check_open)
        if known is not None and max(runner.milliseconds.values()) <= TOO_SLOW_MS:
            known.write(key, runner.milliseconds)  # others may be better on a quieter machine
        return
    runner.buckets = recalled
    runner.milliseconds = {size: times[size] for size in recalled}
    # The first call takes longer than those after it, and shows that there can be one.
    if (batch := _starting(loaded, recalled[0])()) is None:
        runner.forget(recalled[0])
    else:
        batch.wait()


def _measure_all(loaded: LoadedModel, check_open: Callable[[], None]) -> None:
    """Measure what a batch of each bucket takes.

    None larger than one that is too slow for a stream, or that memory is short of.
    """
    runner = loaded.runner
    for size in runner.buckets:
        took_ms = _measure(loaded, size, check_open)
        if took_ms is None:
            runner.forget(size)
            break
        runner.milliseconds[size] = took_ms
        log.info("batches of %d take %.1f ms", size, took_ms)
        if took_ms > TOO_SLOW_MS:
            # What is larger would keep the start waiting for minutes, and gain nothing.
            runner.buckets = tuple(runner.milliseconds)
            break


def _measure_overhead(loaded: LoadedModel, check_open: Callable[[], None]) -> None:
    """Measure what the smallest batch takes more where no other is under way."""
    if loaded.concurrency > 1:
        size = loaded.runner.buckets[0]
        alone_ms = _measure(loaded, size, check_open, under_way=1)
        loaded.overhead_ms = max(0.0, (alone_ms or 0.0) - loaded.milliseconds[size])


def _choose_overlap(loaded: LoadedModel, check_open: Callable[[], None]) -> None:
    """Decode one batch beside the UNet of the next if that is faster on this device."""
    runner = loaded.runner
    if not runner.overlaps:
        return
    size = max(size for size in runner.buckets if size <= max(OVERLAP_SIZE, runner.buckets[0]))
    beside_ms = _measure(loaded, size, check_open)
    runner.overlaps = False
    alone_ms = _measure(loaded, size, check_open)
    if beside_ms is None or alone_ms is None:
        return
    runner.overlaps = beside_ms < alone_ms
    log.info(
        "batches of %d take %.1f ms with the decoder beside the next UNet, %.1f ms without",
        size,
        beside_ms,
        alone_ms,
    )


def _measure(
    loaded: LoadedModel,
    size: int,
    check_open: Callable[[], None],
    *,
    under_way: int | None = None,
) -> float | None:
    """How many milliseconds batches for ``size`` sessions are apart, from sound to patches.

    ``under_way``: how many at the same time; None: as many as in the stream. None if memory is too
    short for it. The median over `MEASURE_S`, without the first, which finds the device idle; where
    they are slow, the second one alone.
    """
    start = _starting(loaded, size)
    queued: deque[Queued] = deque()
    ends_s: list[float] = []
    end_s = time.perf_counter() + MEASURE_S
    while len(ends_s) < 3 or time.perf_counter() < end_s:
        check_open()
        if (batch := start()) is None:
            return None
        queued.append(batch)
        if len(queued) < (under_way or loaded.concurrency):
            continue
        queued.popleft().wait()
        ends_s.append(time.perf_counter())
        if len(ends_s) == 2 and (ends_s[1] - ends_s[0]) * 1_000 > TOO_SLOW_MS:
            break
    for batch in queued:
        batch.wait()
    return statistics.median(after - before for before, after in itertools.pairwise(ends_s)) * 1_000


def _starting(loaded: LoadedModel, size: int) -> Callable[[], Queued | None]:
    """What hears ``size`` sessions and starts their batch; None if memory is too short for it."""
    silence = np.zeros(loaded.hearing.samples, np.float32)
    windows = [AudioWindow(silence, 1)] * size
    picture = np.full((768, 512), 128, np.uint8)
    faces = FaceClip(
        np.zeros((1, 8, LATENT_SIZE, LATENT_SIZE), np.float16),
        np.full((1, 192, 256), 255, np.uint8),
        np.array([[128, 128, 384, 448, 128, 256, 256, 192]], np.int32),
    )

    def start() -> Queued | None:
        heard = loaded.hearing.tokens(windows)
        jobs = [FaceJob(faces, 0, picture, one[0], 1.0) for one in heard]
        return loaded.renderer.queue_if_it_fits(jobs)

    return start
