"""The messages as people read them: their fields one by one, out of the schemas of the types."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from streaming.protocol.asyncapi import MessageType, examples_of, resolve, schemas
from streaming.protocol.client_messages import CLIENT_MESSAGES
from streaming.protocol.codec import type_of
from streaming.protocol.server_messages import SERVER_MESSAGES


@dataclass(frozen=True, slots=True)
class FieldReference:
    """One field; ``path`` says where it is, as in ``audio_chunk.format``."""

    path: str
    form: str
    is_required: bool
    description: SafeString


@dataclass(frozen=True, slots=True)
class MessageReference:
    name: str
    description: SafeString
    fields: tuple[FieldReference, ...]
    examples: tuple[SafeString, ...]
    """JSON texts, indented; what a person would not read of them is marked as `long`."""


@lru_cache
def client_references() -> tuple[MessageReference, ...]:
    return tuple(map(_reference, CLIENT_MESSAGES))


@lru_cache
def server_references() -> tuple[MessageReference, ...]:
    return tuple(map(_reference, SERVER_MESSAGES))


def _reference(message: MessageType) -> MessageReference:
    schema = schemas()[message.__name__]
    return MessageReference(
        name=type_of(message),
        description=_prose(schema.get("description", "")),
        fields=tuple(_fields(schema["properties"]["data"])),
        examples=tuple(
            _listing(json.dumps(_without_nulls(example), indent=2, ensure_ascii=False))
            for example in examples_of(message)
        ),
    )


def _fields(schema: dict[str, Any], parent: str = "") -> Iterator[FieldReference]:
    """Yield the fields of an object, each followed by its own."""
    owner = resolve(_without_null(schema))
    for name, field in owner.get("properties", {}).items():
        inner = _without_null(field)
        path = parent + name
        yield FieldReference(
            path=path,
            form=_form(field),
            is_required=name in owner.get("required", ()),
            description=_prose(
                field.get("description")
                or inner.get("description")
                or resolve(inner).get("description", "")
            ),
        )
        if "$ref" in inner:
            yield from _fields(inner, parent=f"{path}.")


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Of a schema that also allows null, the other one."""
    others: list[dict[str, Any]] = [
        one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"
    ]
    return others[0]


def _form(schema: dict[str, Any]) -> str:
    inner = _without_null(schema)
    if "$ref" in inner:
        return "object"
    if "enum" in inner:
        return " | ".join(json.dumps(value) for value in inner["enum"])
    if inner.get("contentEncoding") == "base64":
        return "base64"
    if inner.get("type") == "array":
        return f"list of {_form(inner['items'])}"
    return str(inner.get("type", "anything"))


def _without_nulls(value: Any) -> Any:
    """Leave out of an example the optional fields that are not given."""
    if isinstance(value, dict):
        return {
            key: _without_nulls(one)
            for key, one in value.items()
            if one is not None or key == "session_id"
        }
    return value


def _prose(text: str) -> SafeString:
    """Return a docstring's text as HTML."""
    marked = re.sub(r"`(.+?)`", r"<code>\1</code>", escape(text))
    return mark_safe(marked)  # noqa: S308  our own docstrings, escaped


def _listing(text: str) -> SafeString:
    marked = re.sub(r"[A-Za-z0-9+/=]{80,}", r"<span class=long>\g<0></span>", escape(text))
    return mark_safe(marked)  # noqa: S308  our own examples, escaped
