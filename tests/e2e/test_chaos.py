"""The attacks of ``make chaos``, a small part of each."""

import asyncio
import sys

import pytest

from tests.chaos import frame_fuzz, parser_fuzz, session_fuzz
from tests.chaos.__main__ import OUTAGES, QUICK, _uploads
from tests.chaos.raw_socket import PING, frame
from tests.processes import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.lasting]


def test_mutated_messages_are_taken_or_refused():
    result = parser_fuzz.run(QUICK.inputs, first_seed=1_000)
    assert result.holds, result.escapes
    assert " 0 valid" not in result.measured, "most of the grammar would not be reached"


def test_an_escape_of_the_parser_is_found(monkeypatch):
    def fail(text: str) -> None:
        if "INTERRUPT" in text:
            raise KeyError(text)

    monkeypatch.setattr(parser_fuzz, "parse", fail)
    assert "KeyError" in parser_fuzz.run(200).escapes[0]


def test_random_conversations_end_without_a_fault():
    result = session_fuzz.run(QUICK.steps, first_seed=1_000)
    assert result.holds, result.escapes


def test_an_escape_of_the_session_is_found_and_can_be_repeated(monkeypatch):
    def fail(self: object, message: object, now_s: float) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("streaming.session.worker_link.WorkerLink.receive", fail)
    first = session_fuzz.run(2_000).escapes
    assert "ZeroDivisionError" in first[0]
    assert session_fuzz.run(2_000).escapes == first


@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel has no such limits")
def test_damaged_uploads_are_prepared_or_refused():
    result = _uploads(QUICK.uploads)
    assert result.holds, result.escapes
    assert "refused" in result.measured


@pytest.mark.timeout(300)
def test_hostile_frames_end_their_own_connection_alone(server):
    attack = frame_fuzz.attack(
        server.address, server.port, lambda: server.process.output, random_frames=20
    )
    result = asyncio.run(attack)
    assert result.holds, result.escapes


def test_frames_are_as_the_standard_says():
    assert frame(PING) == bytes([0x89, 0x80, 0, 0, 0, 0])
    assert frame(2, bytes(300))[:4] == bytes([0x82, 0x80 | 126, 1, 44])
    assert frame(2, length=2**40)[:10] == bytes([0x82, 0x80 | 127, 0, 0, 1, 0, 0, 0, 0, 0])


def test_the_outages_are_tests_that_exist():
    assert all((ROOT / path).is_file() for path in OUTAGES.values())
