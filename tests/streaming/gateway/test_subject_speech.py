"""Speech of one subject over its sessions, as the settings bound it."""

from collections.abc import Mapping

import pytest

from avatars_app.access.principal import Principal
from streaming.gateway.registry import Registry
from streaming.gateway.subject_speech import SubjectSpeech
from tests.streaming.fakes import numbered
from tests.streaming.gateway.test_registry import FakeConnection

SECOND = 16_000


def connection(registry: Registry, subject: str | None) -> FakeConnection:
    made = FakeConnection()
    made.principal = None if subject is None else Principal(subject)
    registry.enter(made)
    made.gateway.start()
    registry.subject_speech.bound(made.session, made.principal)
    return made


class OtherProcess:
    """The way to a process that receives each message at once."""

    def __init__(self, other: SubjectSpeech) -> None:
        self.other = other
        self.told: list[Mapping[str, int]] = []

    def speech_waits(self, samples: Mapping[str, int]) -> None:
        self.told.append(dict(samples))
        self.other.update_elsewhere(samples)


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


def two_processes() -> tuple[Registry, Registry, OtherProcess]:
    """Two processes of a machine, and the way from the first to the second."""
    here, there = Registry(), Registry()
    here.subject_speech.peers = way = OtherProcess(there.subject_speech)
    there.subject_speech.peers = OtherProcess(here.subject_speech)
    return here, there, way


def test_what_waits_in_another_process_counts(settings) -> None:
    settings.MAX_QUEUED_SPEECH_PER_SUBJECT_S = 20
    here, there, _ = two_processes()
    one, two, other = (
        connection(registry, subject)
        for registry, subject in ((here, "ann"), (there, "ann"), (there, "bob"))
    )
    for second in range(0, 16, 8):
        one.gateway.client_speaks(numbered(second * SECOND, 8 * SECOND))
    two.gateway.client_speaks(numbered(0, 8 * SECOND))
    assert two.gateway.last["data"]["details"]["reason"] == "speech_per_subject"
    other.gateway.client_speaks(numbered(0, 8 * SECOND))
    assert other.gateway.errors == []
    one.gateway.client_sends("INTERRUPT")
    here.subject_speech.report()
    two.gateway.client_speaks(numbered(0, 8 * SECOND))
    assert len(two.gateway.errors) == 1, "there is room again"


def test_the_others_get_a_message_at_each_ten_seconds_of_it() -> None:
    here, _, way = two_processes()
    one = connection(here, "ann")
    for tenth in range(95):
        one.gateway.client_speaks(numbered(tenth * SECOND // 10, SECOND // 10))
    assert way.told == []
    one.gateway.client_speaks(numbered(9 * SECOND + SECOND // 2, SECOND // 2))
    assert way.told == [{"ann": 10 * SECOND}]
    here.subject_speech.report()
    assert len(way.told) == 1, "nothing has changed"
    one.gateway.client_sends("CLOSE")
    here.leave(one)
    here.subject_speech.report()
    here.subject_speech.report()
    assert way.told[1:] == [{"ann": 0}]


def test_a_process_that_is_alone_tells_nobody() -> None:
    registry = Registry()
    one = connection(registry, "ann")
    one.gateway.client_speaks(numbered(0, 10 * SECOND))
    registry.subject_speech.report()
    assert one.gateway.errors == []
