"""An engine in this process: its calls run in a pool, most urgent requests first.

While the engine works, requests gather (see `batcher`). The estimate of a call's time lets the
batcher pass over what cannot be finished in time.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

from inference.assets.manifest import Manifest
from inference.engines.access import Answer, MouthRequest, MouthResult, traced
from inference.engines.base import Engine, EngineState, LoadedAvatar, RenderJob
from inference.engines.batcher import Batcher
from inference.metrics import CallMetrics

log = logging.getLogger(__name__)

_DECAY = 1.1
"""The estimate is a decaying minimum: each slower call raises it by at most 10 %."""


class InProcessEngine:
    """Implements `access.EngineAccess`. Lives on one event loop."""

    def __init__(
        self, engine: Engine, *, pool: Executor, avatar_pool: Executor, now_s: Callable[[], float]
    ) -> None:
        """Take an engine that is loaded, or will be before the first request.

        Args:
            engine: The engine.
            pool: Where its calls run; ``engine.concurrency`` threads.
            avatar_pool: Where its avatars are opened.
            now_s: The clock.
        """
        self.engine = engine
        self.name = engine.name
        self.context = engine.context
        self._pool = pool
        self._avatar_pool = avatar_pool
        self._now_s = now_s
        self._batcher: Batcher[MouthRequest] = Batcher(concurrency=engine.concurrency)
        self._answers: dict[MouthRequest, Answer] = {}
        self.calls = CallMetrics()
        self._call_s = 0.0
        """The shortest call, lately: underestimating makes a frame late, overestimating skips
        frames that would have made it."""

    @property
    def lead_s(self) -> float:
        return self.engine.lead_s

    @property
    def capacity(self) -> int | None:
        return self.engine.capacity

    @property
    def speaking_elsewhere(self) -> int:
        return 0

    def report_speaking(self, sessions: int) -> None:
        return None

    @property
    def waiting(self) -> int:
        return len(self._batcher)

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
        _, self._answers[request] = traced("engine.mouth", request, answer)
        self._batcher.submit(request, request.deadline_s)
        self._start_calls()

    def withdraw(self, request: MouthRequest) -> None:
        if self._answers.pop(request, None) is not None:
            self._batcher.withdraw(request)

    def _start_calls(self) -> None:
        while requests := self._batcher.start_call(
            self.engine.max_batch, end_s=self._now_s() + self._call_s
        ):
            answers = [self._answers.pop(request) for request in requests]
            future = asyncio.get_running_loop().run_in_executor(
                self._pool, _call, self.engine, requests
            )

            def done(
                future: "asyncio.Future[list[MouthResult]]",
                answers: list[Answer] = answers,
                began_s: float = self._now_s(),
            ) -> None:
                self._batcher.end_call()
                took_s = self._now_s() - began_s
                self.calls.sizes.count(len(answers))
                self.calls.durations.count(took_s)
                self._call_s = min(took_s, _DECAY * self._call_s) if self._call_s else took_s
                self._hand_out(answers, future)
                self._start_calls()

            future.add_done_callback(done)

    def _hand_out(self, answers: list[Answer], future: "asyncio.Future[list[MouthResult]]") -> None:
        error = future.exception()
        if error is None:
            for answer, result in zip(answers, future.result(), strict=True):
                answer(result)
            return
        log.error("the %s engine failed", self.name, exc_info=error, extra={"engine": self.name})
        failure = error if isinstance(error, Exception) else RuntimeError(repr(error))
        for answer in answers:
            answer(failure)


def _call(engine: Engine, requests: list[MouthRequest]) -> list[MouthResult]:
    """Extract features for all, then render all. Runs in the engine's pool."""
    features = engine.listen([request.window for request in requests])
    pictures = [request.read_picture() for request in requests]
    made = engine.render(
        [
            RenderJob(
                avatar=request.avatar,
                clip=request.clip,
                index=request.index,
                picture=picture,
                features=frames[0],
                strength=request.strength,
            )
            for request, frames, picture in zip(requests, features, pictures, strict=True)
        ]
    )
    return [MouthResult(*each) for each in zip(made, pictures, strict=True)]
