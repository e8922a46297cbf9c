"""Doing something for many items in threads, a little ahead of who wants the results.

The results come in the order of the items. As many items as asked for are under way, and no more:
what is made and not yet wanted would only take memory.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")

_END = object()


def drawn(items: Iterable[Item], thread: Executor, ahead: int) -> Iterator[Item]:
    """Yield ``items`` while the next ones are drawn.

    Args:
        items: Only one thread draws them.
        thread: An executor of one thread.
        ahead: How many are drawn before they are wanted.
    """
    iterator = iter(items)
    waiting: deque[Future[object]] = deque(
        thread.submit(next, iterator, _END) for _ in range(ahead)
    )
    while (item := waiting.popleft().result()) is not _END:
        waiting.append(thread.submit(next, iterator, _END))
        yield item  # type: ignore[misc]


def mapped(
    work: Callable[[Item], Made], items: Iterable[Item], threads: Executor, ahead: int
) -> Iterator[Made]:
    """Yield ``work(item)`` of each item, in order.

    Args:
        work: Called in the threads.
        items: Drawn by the caller's thread.
        threads: Where the work is done.
        ahead: How many items are under way before their results are wanted.
    """
    waiting: deque[Future[Made]] = deque()
    for item in items:
        waiting.append(threads.submit(work, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
