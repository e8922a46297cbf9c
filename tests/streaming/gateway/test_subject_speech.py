"""Speech of one subject over its sessions, as the settings bound it."""

import pytest

from avatars_app.access.principal import Principal
from streaming.gateway.registry import Registry
from streaming.gateway.subject_speech import bound_speech
from tests.streaming.fakes import numbered
from tests.streaming.gateway.test_registry import FakeConnection

SECOND = 16_000


def connection(registry: Registry, subject: str | None) -> FakeConnection:
    made = FakeConnection()
    made.principal = None if subject is None else Principal(subject)
    registry.enter(made)
    made.gateway.start()
    bound_speech(made.session, registry, made.principal)
    return made


@pytest.fixture(autouse=True)
def _limit(settings) -> None:
    settings.MAX_QUEUED_SPEECH_PER_SUBJECT_S = 10


def test_sessions_of_one_subject_share_what_may_wait() -> None:
    registry = Registry()
    one, two, other = (connection(registry, subject) for subject in ("ann", "ann", "bob"))
    one.gateway.client_speaks(numbered(0, 8 * SECOND))
    two.gateway.client_speaks(numbered(0, 3 * SECOND))
    other.gateway.client_speaks(numbered(0, 8 * SECOND))
    assert one.gateway.errors == other.gateway.errors == []
    assert two.gateway.last["data"]["details"]["reason"] == "speech_per_subject"
    one.gateway.client_sends("CLOSE")
    registry.leave(one)
    two.gateway.client_speaks(numbered(0, 3 * SECOND))
    assert len(two.gateway.errors) == 1


@pytest.mark.parametrize(("subject", "limit_s"), [(None, 10), ("ann", 0)])
def test_without_auth_or_a_limit_nothing_is_shared(settings, subject, limit_s) -> None:
    settings.MAX_QUEUED_SPEECH_PER_SUBJECT_S = limit_s
    registry = Registry()
    for one in [connection(registry, subject) for _ in range(2)]:
        one.gateway.client_speaks(numbered(0, 8 * SECOND))
        assert one.gateway.errors == []
        assert one.session.speech.shared_room is None
