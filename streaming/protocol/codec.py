"""Text to message and back.

The types in `client_messages` and `server_messages` are the contract. Whatever describes the
protocol to machines or people is generated from their two registries, `CLIENT_MESSAGES` and
`SERVER_MESSAGES`, and never written a second time.

Every message is one JSON object ``{"type", "session_id", "data"}``. Unknown fields are ignored, so
that a newer client can talk to an older server. An optional field may also be null.

`parse` raises `ProtocolError` and nothing else, whatever the text: what a client wrote is never a
fault of the server. The error says what was wrong, then what is allowed.
"""

import re

import msgspec

from streaming.protocol.client_messages import CLIENT_MESSAGES, AnyClientMessage, ClientMessage
from streaming.protocol.errors import ProtocolError
from streaming.protocol.forms import form_of
from streaming.protocol.server_messages import ServerMessage

MAX_MESSAGE_BYTES = 1024 * 1024
"""Larger messages close the connection with 1009."""

_MAX_QUOTED = 40
_MAX_PROBLEM = 200


class _Envelope(msgspec.Struct):
    type: str


def type_of(message: type[ClientMessage] | type[ServerMessage]) -> str:
    """Return the message's name on the wire."""
    return str(message.__struct_config__.tag)


_CLIENT_TYPES = {type_of(message): message for message in CLIENT_MESSAGES}
_KNOWN_TYPES = ", ".join(_CLIENT_TYPES)
_client_decoder: msgspec.json.Decoder[AnyClientMessage] = msgspec.json.Decoder(AnyClientMessage)
_envelope_decoder = msgspec.json.Decoder(_Envelope)
_encoder = msgspec.json.Encoder()


def parse(text: str) -> AnyClientMessage:
    """Decode a client's text.

    Args:
        text: One WebSocket text message.

    Returns:
        The typed message.

    Raises:
        ProtocolError: INVALID_MESSAGE; says what was wrong and what is allowed.
    """
    if len(text) > MAX_MESSAGE_BYTES:
        raise too_large()
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise invalid_message("The text is not Unicode: it has half a surrogate pair.") from None
    if len(encoded) > MAX_MESSAGE_BYTES:
        raise too_large()
    try:
        try:
            return _client_decoder.decode(encoded)
        except msgspec.ValidationError as error:
            raise _explained(encoded, str(error)) from None
    except msgspec.DecodeError as error:
        raise invalid_message(
            f'This is not JSON ({error}); a message is {{"type", "session_id", "data"}}.'
        ) from None
    except RecursionError:
        raise invalid_message(
            "The JSON is nested too deeply; no message has more than 4 levels."
        ) from None


def dump(message: ServerMessage | ClientMessage) -> str:
    """Return the JSON text of a message; bytes become base64."""
    return _encoder.encode(message).decode()


def too_large() -> ProtocolError:
    return invalid_message(f"The message is too large; allowed are {MAX_MESSAGE_BYTES} bytes.")


def not_text() -> ProtocolError:
    return invalid_message(
        "Binary messages need the subprotocol musetalk.v1.binary; send JSON as text."
    )


def invalid_message(message: str, **details: object) -> ProtocolError:
    return ProtocolError("INVALID_MESSAGE", message, **details)


def quoted(text: str) -> str:
    """Text of a client, short and printable enough to be repeated in an error."""
    return "'" + re.sub(r"[^ -~…]", "?", _shortened(text, _MAX_QUOTED)) + "'"


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[:length] + "…"


def _explained(encoded: bytes, problem: str) -> ProtocolError:
    """Return what is wrong with JSON that is no message, and what its type takes.

    May raise what a decoder raises: the text was only read up to the first wrong field.
    """
    try:
        name = _envelope_decoder.decode(encoded).type
    except msgspec.ValidationError as error:
        return invalid_message(
            f"{error}; a message is an object with a type, one of {_KNOWN_TYPES}."
        )
    if name not in _CLIENT_TYPES:
        return invalid_message(
            f"There is no message type {quoted(name)}; known are {_KNOWN_TYPES}."
        )
    # A pattern says less to a person than the sentence that follows.
    problem = _shortened(re.sub(r" matching regex '.*'", " of another form", problem), _MAX_PROBLEM)
    return invalid_message(f"{name}: {problem}. It takes {form_of(_CLIENT_TYPES[name])}.")
