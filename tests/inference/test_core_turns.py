"""Turns on the cores of a process."""

import threading
import time
from collections.abc import Callable

import pytest

from inference.core_turns import MOST_WAIT_S, CoreTurns

SOON_S = 10.0
"""Long enough for any thread to get there."""


class Worker:
    """A thread that takes a turn, and keeps it until `end`."""

    def __init__(self, turns: CoreTurns, *, is_urgent: bool = False) -> None:
        self.has_turn = threading.Event()
        self._may_end = threading.Event()
        self._turns = turns
        self._is_urgent = is_urgent
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        with self._turns.turn(is_urgent=self._is_urgent):
            self.has_turn.set()
            self._may_end.wait(SOON_S)

    def end(self) -> None:
        self._may_end.set()
        self._thread.join(SOON_S)
        assert not self._thread.is_alive()


def _until(holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + SOON_S
    while not holds():
        assert time.monotonic() < end_s
        threading.Event().wait(0.001)


def test_no_more_work_at_once_than_there_are_cores() -> None:
    turns = CoreTurns(2)
    first, second = Worker(turns), Worker(turns)
    assert first.has_turn.wait(SOON_S)
    assert second.has_turn.wait(SOON_S)
    third = Worker(turns)
    assert not third.has_turn.wait(3 * MOST_WAIT_S)
    first.end()
    assert third.has_turn.wait(SOON_S)
    second.end()
    third.end()


def test_what_is_urgent_goes_before_what_waited_longer() -> None:
    turns = CoreTurns(1)
    order = []

    def work(name: str, *, is_urgent: bool) -> None:
        with turns.turn(is_urgent=is_urgent):
            order.append(name)

    with turns.turn():
        threads = []
        for name, is_urgent in (("mouth", False), ("picture", True)):
            thread = threading.Thread(target=work, args=(name,), kwargs={"is_urgent": is_urgent})
            thread.start()
            threads.append(thread)
            waiting = turns._urgent if is_urgent else turns._others
            _until(lambda waiting=waiting: len(waiting) == 1)  # type: ignore[misc]
    for thread in threads:
        thread.join(SOON_S)
    assert order == ["picture", "mouth"]


def test_what_is_urgent_does_not_wait_for_work_that_is_stuck() -> None:
    turns = CoreTurns(1)
    stuck = Worker(turns)
    assert stuck.has_turn.wait(SOON_S)
    urgent, other = Worker(turns, is_urgent=True), Worker(turns)
    assert urgent.has_turn.wait(SOON_S)
    urgent.end()
    assert not other.has_turn.wait(3 * MOST_WAIT_S), "the core is still taken"
    stuck.end()
    assert other.has_turn.wait(SOON_S)
    other.end()
    assert turns._free == 1


def test_a_fault_ends_the_turn() -> None:
    turns = CoreTurns(1)
    with pytest.raises(ValueError, match="damaged"), turns.turn():
        raise ValueError("damaged")
    with turns.turn():
        pass


def test_no_turn_is_lost_among_many_threads() -> None:
    """Half of them urgent, so that some stop waiting just as they are given a turn."""
    turns = CoreTurns(2)

    def work(number: int) -> None:
        for count in range(40):
            with turns.turn(is_urgent=(number + count) % 2 == 0):
                threading.Event().wait(0.0005 * (number % 3) + (MOST_WAIT_S if count == 20 else 0))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON_S)
    assert turns._free == 2
    assert not turns._urgent
    assert not turns._others
