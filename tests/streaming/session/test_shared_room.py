"""Speech that waits in several sessions together."""

import pytest

from streaming.session.incoming_speech import SharedRoom
from tests.streaming.fakes import FakeGateway, numbered

SECOND = 16_000


class Together:
    """A session, and what waits in others."""

    def __init__(self, limit_s: float, *, version: str = "1.2") -> None:
        self.gateway = FakeGateway()
        self.gateway.init(protocol_version=version)
        self.worker = self.gateway.worker_claims()
        self.elsewhere, self.asked = 0, 0
        self.gateway.session.speech.shared_room = SharedRoom(limit_s, self._queued_elsewhere)

    def _queued_elsewhere(self) -> int:
        self.asked += 1
        return self.elsewhere


def test_what_waits_in_all_of_them_is_bounded() -> None:
    both = Together(10)
    both.elsewhere = 6 * SECOND
    both.gateway.client_speaks(numbered(0, 4 * SECOND))
    assert both.gateway.errors == []
    both.gateway.client_speaks(numbered(4 * SECOND, SECOND))
    error = both.gateway.last["data"]
    assert error["code"] == "RATE_LIMIT_EXCEEDED"
    assert "in all sessions of this subject" in error["message"]
    assert error["details"] == {
        "queued_ms": 10_000,
        "limit_ms": 10_000,
        "reason": "speech_per_subject",
        "retry_after_ms": 1_000,
        "chunk": 1,
        "utterance_id": None,
    }
    both.elsewhere = 5 * SECOND
    both.gateway.client_speaks(numbered(4 * SECOND, SECOND))
    assert len(both.gateway.errors) == 1, "there is room again"


def test_two_seconds_of_a_session_are_never_refused_nor_looked_at() -> None:
    both = Together(10)
    both.elsewhere = 100 * SECOND
    both.gateway.client_speaks(numbered(0, 2 * SECOND))
    assert (both.gateway.errors, both.asked) == ([], 0)
    both.gateway.client_speaks(numbered(2 * SECOND, 640))
    assert both.gateway.errors == ["RATE_LIMIT_EXCEEDED"]


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_a_session_s_own_limit_comes_first(version: str) -> None:
    both = Together(1_000, version=version)
    for second in range(60):
        both.gateway.client_speaks(numbered(second * SECOND, SECOND))
    assert both.gateway.errors == []
    both.gateway.client_speaks(numbered(60 * SECOND, SECOND))
    assert both.gateway.last["data"]["details"]["limit_ms"] == 60_000
    assert "reason" not in both.gateway.last["data"]["details"]
