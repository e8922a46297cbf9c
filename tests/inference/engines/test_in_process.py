"""Calls of an engine in this process."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest

from inference.engines.access import MouthRequest, MouthResult
from inference.engines.base import RenderJob
from inference.engines.in_process import InProcessEngine
from inference.errors import AvatarInvalid
from inference.media.types import Patch, Picture
from tests.fakes import HeldPool, InlinePool


class BatchEngine:
    """Renders nothing, and records how many jobs came together."""

    name = "batch"
    context = None
    max_batch = 4
    concurrency = 1

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def listen(self, windows: Sequence[Any]) -> list[list[str]]:
        return [["features"] for _ in windows]

    def render(self, jobs: Sequence[RenderJob]) -> list[None]:
        self.batches.append([job.index for job in jobs])
        return [None] * len(jobs)


def _request(index: int, failure: Exception | None = None, deadline_s: float = 0.0) -> MouthRequest:
    def read_picture() -> Picture:
        if failure is not None:
            raise failure
        return np.full((6, 4), index, np.uint8)

    return MouthRequest(
        avatar=cast(Any, None),
        clip="idle_0",
        index=index,
        read_picture=read_picture,
        window=cast(Any, None),
        strength=1.0,
        deadline_s=deadline_s,
    )


@pytest.mark.parametrize("failure", [AvatarInvalid("clip idle_0: damaged"), OSError("gone")])
def test_a_picture_that_cannot_be_read_costs_its_own_session_alone(failure: Exception) -> None:
    engine = BatchEngine()
    access = InProcessEngine(
        cast(Any, engine), pool=InlinePool(), avatar_pool=InlinePool(), now_s=lambda: 0.0
    )
    results = access._make([_request(0), _request(1, failure), _request(2)])
    assert engine.batches == [[0, 2]]
    first, second, third = results
    assert second is failure
    for index, result in ((0, first), (2, third)):
        assert isinstance(result, MouthResult)
        assert result.picture is not None
        assert result.picture[0, 0] == index


def test_a_call_of_which_no_picture_can_be_read_renders_nothing() -> None:
    engine = BatchEngine()
    access = InProcessEngine(
        cast(Any, engine), pool=InlinePool(), avatar_pool=InlinePool(), now_s=lambda: 0.0
    )
    failure = AvatarInvalid("clip idle_0: damaged")
    assert access._make([_request(0, failure)]) == [failure]
    assert engine.batches == []


class WrittenEngine(BatchEngine):
    """Takes as long as its script says, and makes a mouth, none, or fails."""

    max_batch = 1

    def __init__(self, script: list[tuple[float, Any]]) -> None:
        super().__init__()
        self.script = script
        self.now_s = 100.0

    def render(self, jobs: Sequence[RenderJob]) -> list[Any]:
        self.batches.append([job.index for job in jobs])
        took_s, made = self.script.pop(0)
        self.now_s += took_s
        if isinstance(made, Exception):
            raise made
        return [made]


def _accessed(engine: WrittenEngine, pool: Any) -> InProcessEngine:
    return InProcessEngine(
        cast(Any, engine), pool=pool, avatar_pool=InlinePool(), now_s=lambda: engine.now_s
    )


MOUTH = Patch(0, 0, *(np.zeros((size, size), np.uint8) for size in (2, 1, 1)))


@pytest.mark.parametrize("quick", [RuntimeError("the device failed"), None])
def test_a_call_that_makes_no_mouth_says_nothing_of_how_long_one_takes(quick: Any) -> None:
    engine = WrittenEngine([(0.03, MOUTH), (0.0001, quick), (0.03, MOUTH), (0.03, MOUTH)])
    pool = HeldPool()
    access = _accessed(engine, pool)
    for index in range(2):
        access.submit(_request(index, deadline_s=200.0), lambda result: None)
    pool.is_held = True
    # The first cannot be made in time any more, the second can.
    access.submit(_request(2, deadline_s=engine.now_s + 0.02), lambda result: None)
    access.submit(_request(3, deadline_s=engine.now_s + 0.05), lambda result: None)
    pool.release()
    assert engine.batches == [[0], [1], [3], [2]]


def test_a_failure_is_logged_once_until_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    failures = [RuntimeError("the device failed") for _ in range(4)]
    engine = WrittenEngine([(0.0, made) for made in (*failures[:3], MOUTH, failures[3])])
    access = _accessed(engine, InlinePool())
    answers: list[Any] = []
    for index in range(5):
        access.submit(_request(index, deadline_s=200.0), answers.append)
    assert [isinstance(answer, RuntimeError) for answer in answers] == [True] * 3 + [False, True]
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
