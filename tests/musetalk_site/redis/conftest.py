"""A proxy before Redis that can fall silent, and what is known of its outages: nothing yet."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from musetalk_site.redis import layers, leases
from musetalk_site.redis.availability import Availability
from tests.silent_proxy import SilentProxy


@pytest.fixture(autouse=True)
def availability(monkeypatch: pytest.MonkeyPatch) -> Availability:
    fresh = Availability()
    for module in (layers, leases):
        monkeypatch.setattr(module, "availability", fresh)
    return fresh


@pytest.fixture
def proxy(redis_url: str) -> Iterator[SilentProxy]:
    port = urlsplit(redis_url).port
    assert port is not None
    with SilentProxy(port) as proxy:
        yield proxy
