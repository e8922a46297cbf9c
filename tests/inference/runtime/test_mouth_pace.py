"""Fewer mouths while frames are late, and all of them again."""

from collections.abc import Callable

import pytest

from inference.runtime.mouth_pace import LATE_S, MOST_PATIENCE_S, MOST_STEPS, WINDOW_S, MouthPace

FRAME_S = 0.04
LATE = LATE_S + 0.01


class Process:
    """Four sessions of a process, and how late their frames are."""

    def __init__(self) -> None:
        self.pace = MouthPace()
        self.now_s = 100.0
        self.seen: list[int] = []

    def run(self, seconds: float, lateness_s: Callable[[int], float]) -> None:
        """Time passes; the lateness may depend on how many mouths are made."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            for _ in range(4):
                self.pace.frame_sent(lateness_s(self.pace.every), self.now_s)
            self.seen.append(self.pace.every)
            self.now_s += FRAME_S

    def share_late(self, limit: int) -> float:
        """For which part of the time more mouths were made than fit."""
        return sum(every < limit for every in self.seen) / len(self.seen)


@pytest.fixture
def process() -> Process:
    return Process()


def in_time(every: int) -> float:
    return 0.0


def late(every: int) -> float:
    return LATE


def test_all_mouths_are_made_in_time(process: Process) -> None:
    process.run(60, in_time)
    assert set(process.seen) == {1}


def test_late_frames_leave_fewer_mouths_step_by_step(process: Process) -> None:
    process.run(1, in_time)
    process.run(MOST_STEPS * 2 * WINDOW_S, late)
    assert sorted(set(process.seen)) == [1, 2, 4]
    process.run(60, late)
    assert process.pace.every == 4, "some are always made"


def test_it_recovers_by_itself(process: Process) -> None:
    process.run(30, late)
    process.run(4, in_time)
    assert process.pace.every == 1


def test_single_late_frames_change_nothing(process: Process) -> None:
    for _ in range(100):
        process.run(0.3, in_time)
        process.pace.frame_sent(1.0, process.now_s)
    assert set(process.seen) == {1}


@pytest.mark.parametrize("fits", [2, 4])
def test_where_the_load_stays_it_is_tried_again_ever_more_rarely(
    process: Process, fits: int
) -> None:
    def as_loaded(every: int) -> float:
        return 0.0 if every >= fits else LATE

    process.run(30, as_loaded)
    process.seen.clear()
    process.run(120, as_loaded)
    assert process.share_late(fits) < 0.12
    process.seen.clear()
    process.run(MOST_PATIENCE_S * (MOST_STEPS + 2), in_time)
    assert process.seen[-1] == 1


def test_after_a_long_time_without_lateness_it_is_as_quick_as_in_the_beginning(
    process: Process,
) -> None:
    process.run(60, lambda every: 0.0 if every >= 2 else LATE)
    process.run(5 * MOST_PATIENCE_S, in_time)
    process.run(2, late)
    process.run(4, in_time)
    assert process.pace.every == 1


def test_a_lonely_session_is_judged_too() -> None:
    pace, now_s = MouthPace(), 0.0
    for _ in range(50):
        pace.frame_sent(LATE, now_s)
        now_s += FRAME_S
    assert pace.every == 4
