"""Calls of an engine in this process."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from inference.engines.access import MouthRequest, MouthResult
from inference.engines.base import RenderJob
from inference.engines.in_process import InProcessEngine
from inference.errors import AvatarInvalid
from inference.media.types import Picture
from tests.fakes import InlinePool


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


def _request(index: int, failure: Exception | None = None) -> MouthRequest:
    def read_picture() -> Picture:
        if failure is not None:
            raise failure
        return np.full((6, 4), index, np.uint8)

    return cast(
        MouthRequest,
        SimpleNamespace(
            avatar=None,
            clip="idle_0",
            index=index,
            read_picture=read_picture,
            window=None,
            strength=1.0,
        ),
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
