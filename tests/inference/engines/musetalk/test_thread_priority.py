"""Who gives way to whom."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from inference.engines.musetalk.execution.thread_priority import NICENESS, lower_thread_priority

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads have no niceness")


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_a_thread_and_those_it_starts_give_way() -> None:
    def work() -> tuple[int, int]:
        lower_thread_priority()
        with ThreadPoolExecutor(1) as pool:
            return niceness(), pool.submit(niceness).result()

    before = niceness()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(work).result() == (max(NICENESS, before), max(NICENESS, before))
    assert niceness() == before


def test_the_main_thread_does_not() -> None:
    before = niceness()
    lower_thread_priority()
    assert niceness() == before
