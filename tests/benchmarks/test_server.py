"""A server under test has nothing to do with the one that may run beside it."""

import pytest

from benchmarks.server import own_settings
from musetalk_site.configuration.environment import read

OF_A_SERVER_IN_PRODUCTION = {
    "ALLOWED_HOSTS": "avatar.example.org",
    "AUTH": "true",
    "CHANNEL_REDIS_URL": "redis://redis.example.org:6379/0",
    "DEFAULT_AVATAR": "ann",
    "MAX_SESSION_S": "60",
    "TRACES_URL": "https://traces.example.org/v1/traces",
    "WEBHOOK_URL": "https://backend.example.org/",
}


@pytest.mark.parametrize("place", ["environment", "file"])
def test_it_shares_neither_redis_nor_webhooks_and_refuses_nobody(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    production = {**OF_A_SERVER_IN_PRODUCTION, "MUSETALK_DECODER": "narrow", "PROCESSES": "3"}
    for name, text in production.items():
        if place == "environment":
            monkeypatch.setenv(name, text)
        else:
            monkeypatch.delenv(name, raising=False)
    found = read(own_settings(), file=production if place == "file" else {})
    defaults = read({})
    for name in OF_A_SERVER_IN_PRODUCTION:
        assert found[name] == defaults[name], name
    assert (found["PROCESSES"], found["MUSETALK_DECODER"]) == (3, "narrow"), "they say how fast"


def test_what_a_benchmark_says_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANNEL_REDIS_URL", "redis://redis.example.org:6379/0")
    found = read(own_settings(CHANNEL_REDIS_URL="redis://localhost:1/0", PROCESSES="2"))
    assert (found["CHANNEL_REDIS_URL"], found["PROCESSES"]) == ("redis://localhost:1/0", 2)
