import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.protocol.binary import HEADER, Sound, pack_frame, unpack_speech
from streaming.protocol.errors import ProtocolError
from tests.streaming.fakes import SESSION_ID


def speech(
    pcm: bytes,
    *,
    rate: int = 24_000,
    channels: int = 1,
    utterance_id: bytes = b"",
    version: int = 1,
    kind: int = 3,
) -> bytes:
    head = HEADER.pack(version, kind, 0, 0, 0, 0)
    return head + struct.pack(">IBB", rate, channels, len(utterance_id)) + utterance_id + pcm


def test_a_frame_with_everything():
    message = pack_frame(
        b"\0\0\0\1unit",
        frame_timestamp=1_240,
        is_keyframe=True,
        audio_timestamp=200,
        action_progress=1.0,
        sound=Sound(24_000, b"\1\2\3\4"),
    )
    assert message.hex(" ") == (
        "01 02 00 07 00 00 00 04 00 00 00 00 00 00 04 d8 00 00 00 00 00 00 00 c8"
        " ff ff 00 00 5d c0 01 02 03 04 00 00 00 01 75 6e 69 74"
    )


def test_a_plain_frame():
    message = pack_frame(b"unit", frame_timestamp=40, is_keyframe=False)
    assert message == struct.pack(">BBHIQQ", 1, 1, 0, 0, 40, 0) + b"unit"


def test_speech_is_the_message_that_it_would_be_in_json():
    message = unpack_speech(speech(b"\1\0\2\0", channels=2, utterance_id=b"a:1"), SESSION_ID)
    chunk = message.data.audio_chunk
    assert (message.session_id, message.data.utterance_id) == (SESSION_ID, "a:1")
    assert (chunk.sample_rate, chunk.channels, chunk.data) == (24_000, 2, b"\1\0\2\0")
    assert unpack_speech(speech(b"\0\0"), None).data.utterance_id is None


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        (b"", "at least 30 bytes"),
        (speech(b"\0\0", version=2), "version 1, kind 3"),
        (speech(b"\0\0", kind=1), "version 1, kind 3"),
        (speech(b"\0\0", rate=11_025), "8000, 16000"),
        (speech(b"\0\0", channels=3), "1 or 2 channels"),
        (speech(b"\0\0", utterance_id=b"a b"), "letters, digits"),
        (speech(b""), "no speech"),
        (speech(b"\0"), "whole samples"),
        (speech(b"\0\0", channels=2), "whole samples"),
        (speech(bytes(480_002)), "10 s"),
        (bytes(1024 * 1024 + 1), "too large"),
    ],
)
def test_a_refusal_says_what_is_allowed(message, hint):
    with pytest.raises(ProtocolError) as refused:
        unpack_speech(message, None)
    assert refused.value.code == "INVALID_MESSAGE"
    assert hint in refused.value.message


@given(st.binary(max_size=80))
def test_any_bytes_are_speech_or_refused(message):
    with contextlib.suppress(ProtocolError):
        unpack_speech(message, None)
