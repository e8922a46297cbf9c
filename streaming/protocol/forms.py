"""The form of a client message as one sentence, for the ERROR that answers a wrong one.

Written by the types themselves, so that no second description can fall behind them.
"""

from functools import lru_cache
from typing import Any

import msgspec
from msgspec import inspect

from streaming.protocol.client_messages import ClientMessage


@lru_cache
def form_of(message: type[ClientMessage]) -> str:
    """Return what a message takes, as in ``{"data": {"active": true or false}}``.

    Args:
        message: One of `CLIENT_MESSAGES`.

    Returns:
        Its fields in the notation of JSON. Optional ones end in a question mark; what a type does
        not tell stands in angle brackets.
    """
    info = inspect.type_info(message)
    assert isinstance(info, inspect.StructType)
    return _struct(info)


def _struct(info: inspect.StructType) -> str:
    fields = (
        f'"{field.encode_name}"{"" if field.required else "?"}: {_form(field.type)}'
        for field in info.fields
    )
    return "{" + ", ".join(fields) + "}"


def _form(info: inspect.Type) -> str:
    if isinstance(info, inspect.Metadata):
        allowed = (info.extra_json_schema or {}).get("enum")
        if allowed:
            return _alternatives(allowed)
        description = str((info.extra_json_schema or {}).get("description", "")).rstrip(".")
        if description and isinstance(info.type, inspect.BytesType):
            return f"<base64 of {description}>"
        if (
            description
            and isinstance(info.type, inspect.StrType)
            and (info.type.pattern or info.type.max_length)
        ):
            return f"<{description}>"
        return _form(info.type)
    if isinstance(info, inspect.UnionType):
        return " | ".join(_form(one) for one in info.types if not isinstance(one, inspect.NoneType))
    if isinstance(info, inspect.LiteralType):
        return _alternatives(info.values)
    if isinstance(info, inspect.StructType):
        return _struct(info)
    if isinstance(info, inspect.VarTupleType):
        return f"[{_form(info.item_type)}, …]"
    return _NAMES.get(type(info), "any")


_NAMES: dict[type[inspect.Type], str] = {
    inspect.StrType: "string",
    inspect.BytesType: "base64",
    inspect.BoolType: "true | false",
    inspect.FloatType: "number",
    inspect.IntType: "integer",
}


def _alternatives(values: Any) -> str:
    return " | ".join(msgspec.json.encode(value).decode() for value in values)
