"""What happens when, on a held clock."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial

import pytest

from inference.runtime.deadlines import DeadlineQueue
from tests.fakes import ManualClock

START_S = 100.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def deadlines(clock: ManualClock) -> AsyncIterator[DeadlineQueue]:
    deadlines = DeadlineQueue(clock)
    running = asyncio.get_running_loop().create_task(deadlines.run())
    yield deadlines
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_events_happen_at_their_moments_in_order(
    clock: ManualClock, deadlines: DeadlineQueue
) -> None:
    happened: list[tuple[str, float]] = []

    def note(name: str, now_s: float) -> None:
        happened.append((name, now_s))

    for name, after_s in [("third", 3.0), ("first", 1.0), ("second", 2.0)]:
        deadlines.at(START_S + after_s, partial(note, name))
    await clock.advance(0.9)
    assert happened == []
    await clock.advance(1.5)
    assert happened == [("first", 101.0), ("second", 102.0)]
    await clock.advance(5)
    assert happened[2:] == [("third", 103.0)]


async def test_events_of_one_moment_keep_their_order(
    clock: ManualClock, deadlines: DeadlineQueue
) -> None:
    happened: list[int] = []

    def note(number: int, _now_s: float) -> None:
        happened.append(number)

    for number in range(20):
        deadlines.at(START_S + 1, partial(note, number))
    await clock.advance(2)
    assert happened == list(range(20))


async def test_what_an_event_puts_down_happens_too(
    clock: ManualClock, deadlines: DeadlineQueue
) -> None:
    ticks: list[float] = []

    def tick(now_s: float) -> None:
        ticks.append(now_s)
        deadlines.at(START_S + 0.04 * (len(ticks) + 1), tick)

    deadlines.at(START_S + 0.04, tick)
    await clock.advance(1.0)
    assert ticks == pytest.approx([START_S + 0.04 * n for n in range(1, 26)])


async def test_an_earlier_event_wakes_the_loop(
    clock: ManualClock, deadlines: DeadlineQueue
) -> None:
    happened: list[float] = []
    deadlines.at(START_S + 10, happened.append)
    await clock.advance(1)
    deadlines.at(START_S + 2, happened.append)
    await clock.advance(1)
    assert happened == [102.0]


async def test_after_a_stall_all_that_is_due_happens_late(
    clock: ManualClock, deadlines: DeadlineQueue
) -> None:
    happened: list[float] = []
    for after_s in (1, 2, 3):
        deadlines.at(START_S + after_s, happened.append)
    clock.stall(2.5)
    await clock.advance(0)
    assert happened == [102.5, 102.5]
