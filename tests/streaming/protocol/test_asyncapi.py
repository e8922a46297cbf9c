"""The machine-readable description of the stream follows the message types."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from streaming.protocol.asyncapi import ALL_MESSAGES, MessageType, document, examples_of
from streaming.protocol.client_messages import CLIENT_MESSAGES
from streaming.protocol.codec import dump, parse, type_of
from streaming.protocol.errors import CLOSE_MEANINGS, ERROR_MEANINGS
from streaming.protocol.examples import CLIENT_EXAMPLES, SERVER_EXAMPLES
from streaming.protocol.server_messages import SERVER_MESSAGES

DOCUMENT = document(host="localhost:8000", is_secure=False)


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_every_reference_leads_somewhere() -> None:
    found = set(references(DOCUMENT))
    assert found
    for reference in found:
        part: Any = DOCUMENT
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]


@pytest.mark.parametrize(
    ("action", "messages"), [("receive", CLIENT_MESSAGES), ("send", SERVER_MESSAGES)]
)
def test_an_operation_has_the_messages_of_its_direction(
    action: str, messages: tuple[MessageType, ...]
) -> None:
    (operation,) = [one for one in DOCUMENT["operations"].values() if one["action"] == action]
    names = [reference["$ref"].rsplit("/", 1)[1] for reference in operation["messages"]]
    assert names == [type_of(message) for message in messages]


@pytest.mark.parametrize("message", ALL_MESSAGES, ids=type_of)
def test_every_message_has_a_summary_and_a_real_example(message: MessageType) -> None:
    described = DOCUMENT["components"]["messages"][type_of(message)]
    assert described["summary"]
    assert described["examples"]
    for example in examples_of(message):
        assert example["type"] == type_of(message)
        assert isinstance(msgspec.convert(example, message), message)


def test_examples_of_a_client_are_taken_by_the_server() -> None:
    for example in CLIENT_EXAMPLES:
        assert parse(dump(example)) == example


def test_no_example_is_of_an_unknown_type() -> None:
    assert {type(example) for example in (*CLIENT_EXAMPLES, *SERVER_EXAMPLES)} == set(ALL_MESSAGES)


def _texts(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for name, value in part.items():
            if name in {"description", "summary"} and isinstance(value, str):
                yield value
            yield from _texts(value)
    elif isinstance(part, list):
        for value in part:
            yield from _texts(value)


def test_descriptions_are_markdown() -> None:
    texts = list(_texts(DOCUMENT))
    assert len(texts) > 50
    for text in texts:
        assert "``" not in text
        assert "\n  " not in text


def test_a_message_within_a_session_requires_its_id() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for message in CLIENT_MESSAGES:
        is_required = "session_id" in schemas[message.__name__].get("required", ())
        assert is_required == (type_of(message) not in {"INIT", "CLOSE", "PONG"})


def test_error_and_close_codes_are_there() -> None:
    for code, _, _ in ERROR_MEANINGS:
        assert f"| {code} |" in DOCUMENT["info"]["description"]
    for close_code in CLOSE_MEANINGS:
        assert f"| {close_code} |" in DOCUMENT["info"]["description"]
