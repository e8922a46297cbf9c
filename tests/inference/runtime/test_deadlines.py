"""What happens when, on a held clock."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial

import pytest

from inference.runtime.clock import MonotonicClock
from inference.runtime.deadlines import EARLY_S, DeadlineQueue
from tests.fakes import ManualClock, settle

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


async def test_what_is_due_at_almost_the_same_moment_happens_in_one_turn(
    clock: ManualClock, deadlines: DeadlineQueue
) -> None:
    happened: list[tuple[float, float]] = []
    for after_s in (1.0, 1.0 + EARLY_S / 2, 1.0 + 3 * EARLY_S):
        deadlines.at(START_S + after_s, lambda now_s: happened.append((clock.now_s(), now_s)))
    await clock.advance(2)
    assert [at_s for at_s, _ in happened] == pytest.approx([101.0, 101.0, 101.0 + 3 * EARLY_S])
    told = [now_s for _, now_s in happened]
    assert told == pytest.approx([101.0, 101.0 + EARLY_S / 2, 101.0 + 3 * EARLY_S])


async def test_what_a_thread_hands_over_happens_before_what_it_is_for(
    clock: ManualClock, deadlines: DeadlineQueue
) -> None:
    happened: list[str] = []
    deadlines.at(START_S + 1, lambda now_s: happened.append("due"))
    await settle()
    thread = threading.Thread(
        target=deadlines.hand_over,
        args=(lambda now_s: happened.append("handed over"),),
        kwargs={"by_s": START_S + 1},
    )
    thread.start()
    thread.join()
    await settle()
    assert happened == [], "nobody was woken for it"
    await clock.advance(1)
    assert happened == ["handed over", "due"]


async def test_what_a_thread_hands_over_too_late_happens_at_once(
    clock: ManualClock, deadlines: DeadlineQueue
) -> None:
    happened: list[float] = []
    await clock.advance(2)
    thread = threading.Thread(
        target=deadlines.hand_over, args=(happened.append,), kwargs={"by_s": START_S + 1}
    )
    thread.start()
    thread.join()
    came = asyncio.Event()
    deadlines.at(START_S + 1, lambda now_s: came.set())  # behind what was handed over
    await asyncio.wait_for(came.wait(), 5)
    assert happened == [102.0]


async def test_what_is_handed_over_just_before_its_moment_happens_at_that_moment(
    clock: ManualClock, deadlines: DeadlineQueue
) -> None:
    """A turn that came a little early has let happen already what was due with it."""
    happened: list[tuple[str, float]] = []
    due_s = START_S + 1

    def note(name: str, now_s: float) -> None:
        happened.append((name, now_s))

    deadlines.at(due_s, partial(note, "due"))
    await clock.advance(1 - EARLY_S / 2)
    deadlines.hand_over(partial(note, "of another"), by_s=due_s - EARLY_S)
    await settle()
    deadlines.hand_over(partial(note, "late"), by_s=due_s)
    await settle()
    assert happened == [("of another", due_s - EARLY_S / 2), ("due", due_s), ("late", due_s)]


async def test_what_is_handed_over_after_the_loop_is_closed_is_forgotten(
    clock: ManualClock,
) -> None:
    deadlines = DeadlineQueue(clock)
    other = asyncio.new_event_loop()

    def run_and_close() -> None:
        with suppress(TimeoutError):
            other.run_until_complete(asyncio.wait_for(deadlines.run(), 0.01))
        other.close()

    await asyncio.to_thread(run_and_close)
    deadlines.hand_over(lambda now_s: None, by_s=START_S - 1)


async def test_a_fault_of_an_event_ends_it(clock: ManualClock) -> None:
    deadlines = DeadlineQueue(clock)

    def fault(now_s: float) -> None:
        raise ZeroDivisionError

    deadlines.at(START_S + 1, fault)
    running = asyncio.get_running_loop().create_task(deadlines.run())
    await clock.advance(2)
    with pytest.raises(ZeroDivisionError):
        await running


async def test_the_machines_clock_keeps_the_order_of_events() -> None:
    clock = MonotonicClock()
    deadlines = DeadlineQueue(clock)
    running = asyncio.get_running_loop().create_task(deadlines.run())
    await settle()
    happened: list[tuple[int, float]] = []
    done = asyncio.Event()
    begin_s = clock.now_s()

    def note(number: int, now_s: float) -> None:
        happened.append((number, now_s))

    for number in (3, 1, 2, 0):
        deadlines.at(begin_s + 0.03 * number, partial(note, number))
    deadlines.at(begin_s + 0.12, lambda now_s: done.set())
    await asyncio.wait_for(done.wait(), 5)
    assert [number for number, _ in happened] == [0, 1, 2, 3]
    assert all(at_s >= begin_s + 0.03 * number for number, at_s in happened)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
