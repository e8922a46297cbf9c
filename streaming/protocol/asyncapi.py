"""The AsyncAPI 3 document of the stream, made from the message types.

The schemas are msgspec's own of `CLIENT_MESSAGES` and `SERVER_MESSAGES`; what this module adds is
how they hang together: one channel, what is received on it and what is sent.
"""

import inspect
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec

from inference.assets.names import NAME_RULE
from streaming.protocol.address import STREAM_PATH
from streaming.protocol.client_messages import CLIENT_MESSAGES, ClientMessage
from streaming.protocol.codec import type_of
from streaming.protocol.errors import CLOSE_MEANINGS, ERROR_MEANINGS
from streaming.protocol.examples import CLIENT_EXAMPLES, SERVER_EXAMPLES
from streaming.protocol.server_messages import SERVER_MESSAGES, ServerMessage

VERSION = "1.2"

VALID_AT_ANY_TIME = {"INIT", "CLOSE", "PONG"}
"""Messages that need no session."""

_SCHEMAS = "#/components/schemas/"

MessageType = type[ClientMessage] | type[ServerMessage]
ALL_MESSAGES: tuple[MessageType, ...] = (*CLIENT_MESSAGES, *SERVER_MESSAGES)


@lru_cache
def schemas() -> dict[str, dict[str, Any]]:
    """JSON Schema of every message and of what it is made of, by the type's name.

    The codec takes a message without ``session_id`` apart, to say what is missing; that the session
    requires one is added here.
    """
    _, components = msgspec.json.schema_components(ALL_MESSAGES, ref_template=_SCHEMAS + "{name}")
    for schema in components.values():
        if "description" in schema:
            schema["description"] = _markdown(schema["description"])
    for message in CLIENT_MESSAGES:
        if type_of(message) not in VALID_AT_ANY_TIME:
            schema = components[message.__name__]
            schema["required"] = ["type", "session_id", "data"]
            schema["properties"]["session_id"] = {
                "type": "string",
                "description": "The id in INIT_SUCCESS.",
            }
    return components


def _markdown(docstring: str) -> str:
    """Return a docstring as CommonMark, without the indentation of its lines."""
    return inspect.cleandoc(docstring).replace("``", "`")


def resolve(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema itself, where another one is referred to."""
    if "$ref" not in schema:
        return schema
    return schemas()[schema["$ref"].removeprefix(_SCHEMAS)]


def examples_of(message: MessageType) -> list[Any]:
    """Its examples, as what JSON is made of."""
    return [
        msgspec.to_builtins(example)
        for example in (*CLIENT_EXAMPLES, *SERVER_EXAMPLES)
        if type(example) is message
    ]


def document(*, host: str, is_secure: bool) -> dict[str, Any]:
    """Return the whole document, for a server that answers at ``host`` (with its port)."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Talking avatar: the stream",
            "version": VERSION,
            "description": (
                "Speech in, a live talking avatar out. One WebSocket is one session. Every message "
                "is a JSON object of type, session_id and data; the first one is INIT.\n\n"
                f"{_errors()}"
            ),
        },
        "defaultContentType": "application/json",
        "servers": {
            "here": {"host": host, "protocol": "wss" if is_secure else "ws"},
        },
        "channels": {
            "stream": {
                "address": STREAM_PATH,
                "parameters": {"user_id": {"description": f"Whose avatar is shown: {NAME_RULE}"}},
                "messages": {
                    type_of(message): {"$ref": f"#/components/messages/{type_of(message)}"}
                    for message in ALL_MESSAGES
                },
                "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
            }
        },
        "operations": {
            "fromClient": _operation("receive", "What a client may send.", CLIENT_MESSAGES),
            "toClient": _operation("send", "What the server sends.", SERVER_MESSAGES),
        },
        "components": {
            "messages": {type_of(message): _message(message) for message in ALL_MESSAGES},
            "schemas": schemas(),
        },
    }


def _errors() -> str:
    """Tables of error and close codes, which AsyncAPI has no place of its own for."""
    errors = "\n".join(f"| {code} | {when} | {then} |" for code, when, then in ERROR_MEANINGS)
    closes = "\n".join(f"| {code} | {meaning} |" for code, meaning in CLOSE_MEANINGS.items())
    return (
        f"| ERROR code | when | afterwards |\n|---|---|---|\n{errors}\n\n"
        f"| close code | meaning |\n|---|---|\n{closes}\n"
    )


def _operation(action: str, summary: str, messages: Iterable[MessageType]) -> dict[str, Any]:
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": "#/channels/stream"},
        "messages": [
            {"$ref": f"#/channels/stream/messages/{type_of(message)}"} for message in messages
        ],
    }


def _message(message: MessageType) -> dict[str, Any]:
    summary = schemas()[message.__name__].get("description")
    return {
        "name": type_of(message),
        **({"summary": summary} if summary else {}),
        "payload": {"$ref": _SCHEMAS + message.__name__},
        "examples": [{"payload": example} for example in examples_of(message)],
    }
