import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.protocol.client_messages import (
    CLIENT_MESSAGES,
    Action,
    Close,
    Generate,
    Init,
    StateChange,
)
from streaming.protocol.codec import MAX_MESSAGE_BYTES, dump, parse, quoted, type_of
from streaming.protocol.errors import ProtocolError
from streaming.protocol.server_messages import SERVER_MESSAGES, Error, FrameFields, VideoFrame
from tests.streaming.fakes import SESSION_ID, chunk, text

TYPES = [type_of(message) for message in CLIENT_MESSAGES]

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(["pcm_s16le", "idle", "action_1", SESSION_ID, "AAAA", 16000, 1, 25]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["type", "session_id", "data", "audio_chunk", "video_state", "format", "fps"]
            )
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
envelopes = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES) | json_values},
    optional={"session_id": json_values, "data": json_values},
)


def refusal(source: str) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        parse(source)
    error = caught.value
    assert error.code == "INVALID_MESSAGE"
    answer = json.loads(dump(Error.of(error, None)))
    assert answer["data"]["message"] == error.message
    return error


def parsed_or_refused(source: str) -> None:
    try:
        parse(source)
    except ProtocolError as error:
        answer = json.loads(dump(Error.of(error, None)))
        assert answer["type"] == "ERROR"
        assert len(answer["data"]["message"]) < 1_500


@given(st.text(st.characters(codec=None)))
def test_any_text_is_a_message_or_refused(source):
    parsed_or_refused(source)


@given(json_values)
def test_any_json_is_a_message_or_refused(value):
    parsed_or_refused(json.dumps(value))


@given(envelopes)
def test_any_envelope_is_a_message_or_refused(value):
    parsed_or_refused(json.dumps(value))


GOOD = {
    "INIT": text("INIT", user_id="ada"),
    "GENERATE": text("GENERATE", audio_chunk=chunk(b"\0\0"), video_state={"type": "speaking"}),
    "END_OF_SPEECH": text("END_OF_SPEECH", utterance_id="a:1"),
    "STATE_CHANGE": text("STATE_CHANGE", target_state="idle", base_video="idle_3"),
    "ACTION": text("ACTION", action_type="action_1", audio_chunk=chunk(b"\0\0")),
    "USER_SPEAKING": text("USER_SPEAKING", active=True),
    "INTERRUPT": text("INTERRUPT"),
    "CLOSE": text("CLOSE"),
    "PONG": text("PONG"),
}


def test_there_is_an_example_of_every_type():
    assert list(GOOD) == TYPES


@pytest.mark.parametrize("type_", TYPES)
@given(data=st.data())
def test_a_message_with_one_value_replaced_is_a_message_or_refused(type_, data):
    message = json.loads(GOOD[type_])
    place = message
    while True:
        key = data.draw(st.sampled_from(sorted(place)) if place else st.just("extra"))
        if not isinstance(place.get(key), dict) or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(json_values)
    parsed_or_refused(json.dumps(message))


@pytest.mark.parametrize("type_", TYPES)
def test_good_messages_parse(type_):
    assert type_of(type(parse(GOOD[type_]))) == type_


@pytest.mark.parametrize("type_", TYPES)
def test_unknown_fields_are_ignored(type_):
    message = json.loads(GOOD[type_])
    message["more"] = {"a": [1]}
    message["data"]["more"] = None
    assert parse(json.dumps(message)) == parse(GOOD[type_])


def test_optional_fields_may_be_null():
    init = parse(text("INIT", None, user_id="ada", video_config=None, auth_token=None))
    assert isinstance(init, Init)
    assert init.session_id is None
    generate = parse(text("GENERATE", audio_chunk=chunk(b"\0\0"), video_state=None))
    assert isinstance(generate, Generate)
    change = parse(text("STATE_CHANGE", target_state="idle", base_video=None))
    assert isinstance(change, StateChange)
    assert parse('{"type": "CLOSE"}') == Close()


@pytest.mark.parametrize(
    ("fields", "index", "form"),
    [({"action_index": 2}, 2, "v1.1"), ({"action_type": "action_1"}, 1, "v1.0")],
)
def test_both_forms_of_an_action(fields, index, form):
    action = parse(text("ACTION", **fields))
    assert isinstance(action, Action)
    assert (action.data.index, action.data.form) == (index, form)


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("", "not JSON"),
        ("hello", "not JSON"),
        ("{", "not JSON"),
        ('{"type": "CLOSE"} {"type": "CLOSE"}', "not JSON"),
        ('{"type": "CLOSE", "n": NaN}', "not JSON"),
        ("\ufeff{}", "not JSON"),
        ('"\\ud800"', "not JSON"),
        ('{"type": "CLOSE", "a": "\ud800"}', "not Unicode"),
        ("[]", "object with a type"),
        ("{}", "object with a type"),
        ('{"type": 5}', "object with a type"),
        ('{"type": "HELLO"}', "known are INIT, GENERATE"),
        (f'{{"type": "{"x" * 9_000}"}}', "known are INIT, GENERATE"),
        ("[" * 60_000, "object with a type"),
        ('{"type": "HELLO", "a": ' + "[" * 1_000_000, "nested too deeply"),
        ("9" * 5_000, "one of INIT"),
        ('{"type": "CLOSE", "data": 5}', '"data"?: {}'),
        (text("INIT", "me", user_id="ada"), "A UUID"),
        (text("INIT", SESSION_ID + "\n", user_id="ada"), "A UUID"),
        (text("INIT", 5, user_id="ada"), "A UUID"),
        (text("INIT"), "user_id"),
        (text("INIT", user_id="ada\n"), "the same as in the path"),
        (text("INIT", user_id="ada", video_config={"fps": 30}), '"fps"?: 25'),
        (text("INIT", user_id="ada", video_config={"resolution": "1x1"}), '"512x512"'),
        (text("INIT", user_id="ada", auth_token=5), "auth_token"),
        (text("GENERATE"), "audio_chunk"),
        (
            text("GENERATE", audio_chunk=chunk(b"")),
            "whole samples, channels interleaved; at most 10 s",
        ),
        (text("GENERATE", audio_chunk=chunk(b"abc")), "3 bytes"),
        (text("GENERATE", audio_chunk=chunk(b"\0" * 320_002)), "a message may have 10 s"),
        (text("GENERATE", audio_chunk=chunk(b"\0\0", channels=2)), "2 channel(s) has 4"),
        (
            text("GENERATE", audio_chunk=chunk(b"\0\0"), utterance_id="a b"),
            "used once in a session",
        ),
        (text("INIT", user_id="ada", protocol_version="2.0"), "newest version the client knows"),
        (text("INIT", user_id="ada", role="watch"), "watch_token"),
        (text("INIT", user_id="ada", last_frame_timestamp=0.5), "whole number"),
        (text("GENERATE", audio_chunk=chunk(b"", data="!!!!")), "base64"),
        (text("GENERATE", audio_chunk=chunk(b"", data="AAA")), "base64"),
        (text("GENERATE", audio_chunk=chunk(b"\0\0", sample_rate=11025)), "16000"),
        (text("GENERATE", audio_chunk=chunk(b"\0\0", channels=3)), '"channels": 1 | 2'),
        (text("GENERATE", audio_chunk=chunk(b"\0\0", channels=True)), '"channels": 1'),
        (text("GENERATE", audio_chunk=chunk(b"\0\0", format="opus")), "pcm_s16le"),
        (text("GENERATE", audio_chunk=chunk(b"\0\0", duration_ms="long")), "number"),
        (text("GENERATE", audio_chunk=chunk(b"\0\0"), video_state={}), "speaking"),
        (text("STATE_CHANGE", target_state="asleep"), '"idle" | "speaking"'),
        (text("STATE_CHANGE", target_state="x" * 9_000), '"idle" | "speaking"'),
        (text("STATE_CHANGE", target_state="idle", base_video=3), "A clip name"),
        (text("ACTION", action_index=3), "1 | 2"),
        (text("ACTION", action_type="wave"), "action_1"),
        (text("ACTION"), "exactly one"),
        (text("ACTION", action_index=1, action_type="action_1"), "exactly one"),
    ],
)
def test_a_refusal_says_what_is_allowed(source, hint):
    assert hint in refusal(source).message


@pytest.mark.parametrize("depth", [100, 12_000, 200_000])
def test_objects_that_have_no_end_are_refused_however_deep(depth):
    """Python 3.14 reads as deep as its stack allows."""
    message = refusal('{"type": "CLOSE", "a": ' + '{"a":' * depth).message
    assert "not JSON" in message or "nested too deeply" in message


def test_the_size_counts_in_bytes():
    fits = '{"type": "CLOSE", "a": "' + "é" * (MAX_MESSAGE_BYTES // 2 - 20) + '"}'
    assert len(fits.encode()) < MAX_MESSAGE_BYTES
    assert parse(fits) == Close()
    assert "1048576 bytes" in refusal(fits.replace("é", "éé")[: MAX_MESSAGE_BYTES - 100]).message
    assert "1048576 bytes" in refusal("x" * (MAX_MESSAGE_BYTES + 1)).message


def test_real_chunk_sizes_are_taken():
    for size in (2, 640, 1_280, 2_048, 32_000, 320_000):
        message = parse(text("GENERATE", audio_chunk=chunk(b"\1" * size)))
        assert isinstance(message, Generate)
        assert message.data.audio_chunk.data == b"\1" * size


def test_numbers_follow_json_schema():
    init = parse(text("INIT", user_id="ada", video_config={"fps": 25.0}, acknowledged_ms=40.0))
    assert isinstance(init, Init)
    assert init.data.video_config is not None
    numbers = init.data.video_config.fps, init.data.acknowledged_ms
    assert [(type(number), number) for number in numbers] == [(int, 25), (int, 40)]
    generate = parse(text("GENERATE", audio_chunk=chunk(b"\0\0", sample_rate=24e3, channels=1.0)))
    assert isinstance(generate, Generate)
    assert generate.data.audio_chunk.sample_rate == 24_000
    action = parse(text("ACTION", action_index=2.0))
    assert isinstance(action, Action)
    assert action.data.index == 2


@pytest.mark.parametrize(
    ("version", "is_understood"),
    [(None, False), ("1.0", False), ("1.1", False), ("1.2", True), ("1.10", True)],
)
def test_who_is_sent_what_version_1_2_added(version, is_understood):
    init = parse(text("INIT", user_id="ada", protocol_version=version))
    assert isinstance(init, Init)
    assert init.data.speaks_1_2 is is_understood


@given(st.text(st.characters(codec=None)))
def test_what_is_quoted_is_short_and_printable(words):
    said = quoted(words)
    assert len(said) <= 43
    assert said.isprintable()


def test_a_frame_on_the_wire():
    message = VideoFrame(
        session_id=SESSION_ID,
        data=FrameFields(
            frame_data=b"\x00\x01",
            frame_timestamp=80,
            keyframe=True,
            state="idle",
            base_video="idle_0",
        ),
    )
    assert json.loads(dump(message)) == {
        "type": "VIDEO_FRAME",
        "session_id": SESSION_ID,
        "data": {
            "frame_data": "AAE=",
            "frame_timestamp": 80,
            "keyframe": True,
            "state": "idle",
            "base_video": "idle_0",
        },
    }


@pytest.mark.parametrize("registry", [CLIENT_MESSAGES, SERVER_MESSAGES])
def test_a_schema_comes_out_of_the_types(registry):
    schemas, components = msgspec.json.schema_components(registry)
    assert len(schemas) == len(registry)
    for message in registry:
        properties = components[message.__name__]["properties"]
        assert properties["type"] == {"enum": [type_of(message)]}
        assert {"type", "session_id", "data"} == set(properties)
