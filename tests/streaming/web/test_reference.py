"""What the protocol page tells of each message."""

import html
import json
import re

import pytest

from streaming.protocol.asyncapi import ALL_MESSAGES
from streaming.protocol.client_messages import CLIENT_MESSAGES
from streaming.protocol.codec import type_of
from streaming.web.reference import MessageReference, client_references, server_references

REFERENCES = (*client_references(), *server_references())


def reference(name: str) -> MessageReference:
    (found,) = [one for one in REFERENCES if one.name == name]
    return found


def test_every_message_is_there_in_order() -> None:
    assert [one.name for one in REFERENCES] == [type_of(message) for message in ALL_MESSAGES]
    assert len(client_references()) == len(CLIENT_MESSAGES)


def test_fields_are_reported_with_form_and_necessity() -> None:
    fields = {field.path: field for field in reference("GENERATE").fields}
    assert fields["audio_chunk"].form == "object"
    assert fields["audio_chunk.sample_rate"].form.startswith("8000 | 16000 | 22050")
    assert fields["audio_chunk.data"].form == "base64"
    assert fields["audio_chunk.data"].is_required
    assert not fields["video_state"].is_required
    assert fields["video_state.type"].form == '"action" | "idle" | "speaking"'
    offered = {field.path: field for field in reference("INIT_SUCCESS").fields}
    assert offered["available_videos"].form == "list of string"
    assert "<code>codec</code>" in offered["video"].description


@pytest.mark.parametrize("one", REFERENCES, ids=lambda one: one.name)
def test_examples_are_json_behind_their_marks(one: MessageReference) -> None:
    for example in one.examples:
        message = json.loads(html.unescape(re.sub("<[^>]*>", "", example)))
        assert message["type"] == one.name


def test_what_nobody_reads_is_marked_as_long() -> None:
    example = reference("GENERATE").examples[0]
    assert example.count("<span class=long>") == 1


@pytest.mark.parametrize("one", REFERENCES, ids=lambda one: one.name)
def test_every_field_has_a_meaning(one: MessageReference) -> None:
    assert [field.path for field in one.fields if not field.description] == []
