"""Calls into the thread of an event loop, from the threads of requests and of jobs.

A loop's thread changes its objects between two of its own steps. Another thread that looks at them
may do so in the middle of one, as of a dict that grows while it is gone through.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

T = TypeVar("T")

WITHIN_S = 2.0
"""A loop that has not come to a call by then stands still, or has ended."""


def call_in_loop(loop: asyncio.AbstractEventLoop, function: Callable[[], T], otherwise: T) -> T:
    """Call a function in the thread of an event loop, and wait for it.

    Args:
        loop: It may run in this thread: then the function is called at once.
        function: It must not wait.
        otherwise: The answer of a loop that stands still or has ended.
    """
    if _is_in(loop):
        return function()
    answer: Future[T] = Future()

    def call() -> None:
        if answer.set_running_or_notify_cancel():
            try:
                answer.set_result(function())
            except Exception as error:  # noqa: BLE001 - it is the caller's, in the other thread
                answer.set_exception(error)

    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:  # it is closed
        return otherwise
    wait([answer], WITHIN_S)
    return otherwise if answer.cancel() else answer.result()


def _is_in(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
