"""Conversations of clients that exist, byte for byte: nothing may change for them unnoticed."""

from pathlib import Path

import pytest

from tests.streaming.recording import claim_ids, play

RECORDINGS = Path(__file__).parent / "recordings"


@pytest.mark.parametrize("name", ["version_1_1"])
def test_every_byte_is_as_recorded(name: str) -> None:
    recorded = (RECORDINGS / f"{name}.txt").read_text().splitlines()
    assert play(recorded) == recorded


def test_the_recording_of_1_1_shows_every_message_of_1_1() -> None:
    recorded = (RECORDINGS / "version_1_1.txt").read_text()
    for type_ in (
        *("INIT_SUCCESS", "VIDEO_FRAME", "ACTION_FRAME", "ACTION_TRIGGERED", "STATE_CHANGED"),
        *("INTERRUPTED", "CLOSE_ACK", "PING", "ERROR"),
    ):
        assert f'\ns {{"type":"{type_}"' in recorded
    assert len(claim_ids(recorded.splitlines())) == 2, "a worker was lost and replaced"
    for newer in ("SPEECH_STARTED", "SPEECH_FINISHED", "WARNING", "FRAME_INFO"):
        assert f's {{"type":"{newer}"' not in recorded
