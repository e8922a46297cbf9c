"""An engine in this process: its calls run in a pool, most urgent requests first.

While the engine works, requests gather (see `batcher`), and the thread that ends a call begins the
next one: the event loop is asked for nothing in between. The estimate of a call's time lets the
batcher pass over what cannot be finished in time.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from pathlib import Path

from inference.assets.manifest import Manifest
from inference.core_turns import CoreTurns
from inference.engines.access import Answer, MouthRequest, MouthResult, traced
from inference.engines.base import Engine, EngineState, LoadedAvatar, RenderJob
from inference.engines.batcher import Batcher
from inference.errors import AvatarInvalid
from inference.media.types import Patch, Picture
from inference.metrics import CallMetrics

log = logging.getLogger(__name__)

_DECAY = 1.1
"""The estimate is a decaying minimum: each slower call raises it by at most 10 %."""


class InProcessEngine:
    """Implements `access.EngineAccess`. Asked from one event loop; answers from its pool."""

    def __init__(
        self,
        engine: Engine,
        *,
        pool: Executor,
        avatar_pool: Executor,
        now_s: Callable[[], float],
        turns: CoreTurns | None = None,
    ) -> None:
        """Take an engine that is loaded, or will be before the first request.

        Args:
            engine: The engine.
            pool: Where its calls run, and their answers; ``engine.concurrency`` threads.
            avatar_pool: Where its avatars are opened.
            now_s: The clock.
            turns: What calls and their answers take turns with; None: they do without.
        """
        self.engine = engine
        self.name = engine.name
        self.context = engine.context
        self._pool = pool
        self._avatar_pool = avatar_pool
        self._now_s = now_s
        self._turns = turns
        self._lock = threading.Lock()
        """Held for what follows: the loop submits, the pool's threads take."""
        self._batcher: Batcher[MouthRequest] = Batcher()
        self._answers: dict[MouthRequest, Answer] = {}
        self._working = 0
        """Threads that make calls, or are about to."""
        self._calls = CallMetrics()
        self._speaking = 0
        self._call_s = 0.0
        """The shortest call that made a mouth, lately: underestimating makes a frame late,
        overestimating skips frames that would have made it."""
        self._failure: str | None = None
        """Why the latest call failed; None: it did not."""

    @property
    def lead_s(self) -> float:
        return self.engine.lead_for(self._speaking)

    @property
    def capacity(self) -> int | None:
        return self.engine.capacity

    @property
    def speaking_elsewhere(self) -> int:
        return 0

    def report_speaking(self, sessions: int) -> None:
        self._speaking = sessions

    @property
    def waiting(self) -> int:
        return len(self._batcher)

    @property
    def calls(self) -> CallMetrics:
        with self._lock:
            return self._calls.copy()

    async def open_avatar(self, folder: Path, manifest: Manifest) -> LoadedAvatar:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._avatar_pool, self.engine.open_avatar, folder, manifest
        )

    def close_avatar(self, avatar: LoadedAvatar) -> None:
        return None

    def is_ready(self, avatar: LoadedAvatar, clip: str) -> bool:
        return self.engine.is_ready(avatar, clip)

    def state(self) -> EngineState:
        return self.engine.state()

    def submit(self, request: MouthRequest, answer: Answer) -> None:
        _, answer = traced("engine.mouth", request, answer)
        with self._lock:
            self._answers[request] = answer
            self._batcher.submit(request, request.deadline_s)
            is_thread_free = self._working < self.engine.concurrency
            self._working += is_thread_free
        if is_thread_free:
            self._pool.submit(self._work)

    def withdraw(self, request: MouthRequest) -> None:
        with self._lock:
            if self._answers.pop(request, None) is not None:
                self._batcher.withdraw(request)

    def _work(self) -> None:
        """Make call after call, until nothing waits. Runs in the engine's pool."""
        is_working = True
        while is_working:
            with nullcontext() if self._turns is None else self._turns.turn():
                is_working = self._make_call()

    def _make_call(self) -> bool:
        """Make what is most urgent now; False, and the thread is free, if nothing waits."""
        with self._lock:
            requests = self._batcher.next_batch(
                self.engine.max_batch, end_s=self._now_s() + self._call_s
            )
            if not requests:
                self._working -= 1
                return False
            answers = [self._answers.pop(request) for request in requests]
        for answer, result in zip(answers, self._make(requests), strict=True):
            try:
                answer(result)
            except Exception:  # the thread continues for the other sessions
                log.exception("a mouth could not be handed over")
        return True

    def _make(self, requests: Sequence[MouthRequest]) -> Sequence[MouthResult | Exception]:
        began_s = self._now_s()
        results: Sequence[MouthResult | Exception]
        try:
            results = _call(self.engine, requests)
            self._failure = None
        except Exception as error:
            if repr(error) != self._failure:  # and not for each mouth until it is over
                log.exception("the %s engine failed", self.name, extra={"engine": self.name})
            self._failure = repr(error)
            results = [error] * len(requests)
        self._count(results, self._now_s() - began_s)
        return results

    def _count(self, results: Sequence[MouthResult | Exception], took_s: float) -> None:
        # A call that fails, or finds nothing but silence, says nothing of how long a mouth takes.
        has_mouth = any(
            isinstance(result, MouthResult) and isinstance(result.made, Patch) for result in results
        )
        with self._lock:
            self._calls.sizes.count(len(results))
            self._calls.durations.count(took_s)
            if has_mouth:
                self._call_s = min(took_s, _DECAY * self._call_s) if self._call_s else took_s


def _call(engine: Engine, requests: Sequence[MouthRequest]) -> list[MouthResult | Exception]:
    """Extract features for all, then render those whose pictures can be read."""
    features = engine.listen([request.window for request in requests])
    pictures = [_read(request) for request in requests]
    jobs = [
        RenderJob(
            avatar=request.avatar,
            clip=request.clip,
            index=request.index,
            picture=picture,
            features=frames[0],
            strength=request.strength,
        )
        for request, frames, picture in zip(requests, features, pictures, strict=True)
        if not isinstance(picture, Exception)
    ]
    made = iter(engine.render(jobs) if jobs else [])
    return [
        picture if isinstance(picture, Exception) else MouthResult(next(made), picture)
        for picture in pictures
    ]


def _read(request: MouthRequest) -> Picture | Exception:
    """Return the picture of a request; an avatar that is damaged costs the others nothing."""
    try:
        return request.read_picture()
    except AvatarInvalid as error:
        log.warning("a picture cannot be read: %s", error)
        return error
    except Exception as error:
        log.exception("a picture cannot be read")
        return error
