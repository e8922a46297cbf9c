"""A clock you can hold, pools without threads, and an engine that shows the sound's loudness."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import numpy as np

from inference.assets.manifest import Manifest
from inference.engines.base import EngineState, Features, LoadedAvatar, RenderJob, RenderRefusal
from inference.media.types import AudioContext, AudioWindow, Patch, Rectangle
from inference.timing import SAMPLES_PER_FRAME

MOUTH = (slice(300, 340), slice(220, 292))
"""Rows and columns of the rectangle that `LoudnessEngine` paints."""

MOUTH_MIDDLE = (slice(306, 334), slice(228, 284))
"""What the soft edges of a repeated mouth leave alone."""


class ManualTimer:
    """A call that `ManualClock` makes."""

    def __init__(self, when_s: float, callback: Callable[[], None]) -> None:
        self.when_s, self.callback, self.is_cancelled = when_s, callback, False

    def cancel(self) -> None:
        self.is_cancelled = True


class ManualClock:
    """Time passes when a test says so."""

    def __init__(self) -> None:
        self._now_s = 100.0
        self._timers: list[ManualTimer] = []

    def now_s(self) -> float:
        return self._now_s

    def call_at(self, when_s: float, callback: Callable[[], None]) -> ManualTimer:
        timer = ManualTimer(when_s, callback)
        self._timers.append(timer)
        return timer

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass, stopping at each moment for which there is a timer."""
        target_s = self._now_s + seconds
        await settle()
        while True:
            self._timers = [timer for timer in self._timers if not timer.is_cancelled]
            first = min(self._timers, key=lambda timer: timer.when_s, default=None)
            if first is None or first.when_s > target_s:
                break
            self._timers.remove(first)
            self._now_s = max(self._now_s, first.when_s)
            first.callback()
            await settle()
        self._now_s = target_s
        await settle()

    def stall(self, seconds: float) -> None:
        """Time passes while nobody gets to run."""
        self._now_s += seconds


async def settle() -> None:
    """Let everything that can run without time passing run."""
    for _ in range(12):
        await asyncio.sleep(0)


class InlinePool(Executor):
    """Does the work at once, in the caller's thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - an executor hands on whatever was raised
            future.set_exception(error)
        return future


class HeldPool(Executor):
    """Does the work when `release` says so: an engine that is late."""

    def __init__(self) -> None:
        self.is_held = False
        self._held: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        if not self.is_held:
            return InlinePool().submit(fn, *args, **kwargs)
        future: Future[Any] = Future()
        self._held.append((future, lambda: fn(*args, **kwargs)))
        return future

    @property
    def held(self) -> int:
        """How many pieces of work wait for `release`."""
        return len(self._held)

    def release(self) -> None:
        self.is_held = False
        for future, work in self._held:
            future.set_result(work())
        self._held.clear()


class LoudnessEngine:
    """Paints a rectangle whose luma is 40 + 160 × loudness: easy to read off a decoded picture."""

    name = "loudness"
    max_batch = 4
    concurrency = 1
    lead_s = 0.03
    capacity: int | None = None

    def __init__(self, *, after: int = 0) -> None:
        self.context = AudioContext(before=320, after=after)
        self.windows: list[AudioWindow] = []
        self.fails = False
        self.withholds = ""
        self.is_lost = False

    def load(self) -> None:
        return None

    def lead_for(self, speaking: int) -> float:
        return self.lead_s

    def open_avatar(self, folder: Path, manifest: Manifest) -> LoadedAvatar:
        return manifest.version

    def close(self) -> None:
        return None

    def is_ready(self, avatar: LoadedAvatar, clip: str) -> bool:
        return True

    def region(self, avatar: LoadedAvatar, clip: str, index: int) -> Rectangle | None:
        rows, columns = MOUTH
        return Rectangle(
            columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start
        )

    def listen(self, windows: Sequence[AudioWindow]) -> list[list[Features]]:
        if self.fails:
            raise RuntimeError("the fake engine was set to fail")
        self.windows += windows
        begin = self.context.before
        return [
            [np.abs(w.samples[begin : begin + SAMPLES_PER_FRAME]).mean(keepdims=True)]
            for w in windows
        ]

    def render(self, jobs: Sequence[RenderJob]) -> list[Patch | RenderRefusal | None]:
        if self.withholds:
            return [RenderRefusal(self.withholds) for _ in jobs]
        return [self._patch(40 + 160 * float(job.features[0]) * job.strength) for job in jobs]

    def state(self) -> EngineState:
        return EngineState(is_healthy=not self.fails, is_lost=self.is_lost)

    @staticmethod
    def _patch(luma: float) -> Patch:
        rows, columns = MOUTH
        height, width = rows.stop - rows.start, columns.stop - columns.start
        neutral = np.full((height // 2, width // 2), 128, np.uint8)
        plane = np.full((height, width), round(luma), np.uint8)
        return Patch(columns.start, rows.start, plane, neutral, neutral)
