"""Text to message and back.

The types in `client_messages` and `server_messages` are the contract. Whatever describes the
protocol to machines is generated from their two registries, `CLIENT_MESSAGES` and
`SERVER_MESSAGES`, and never written a second time.

Every message is one JSON object ``{"type", "session_id", "data"}``. Fields that are not known here
are ignored, so that a newer client can talk to an older server. An optional field may also be null.

`parse` raises `ProtocolError` and nothing else, whatever the text: what a client wrote is never a
fault of ours. Its sentence says what was wrong, then what is allowed.
"""

import re
from typing import get_args

import msgspec

from streaming.protocol.client_messages import CLIENT_MESSAGES, AnyClientMessage, ClientMessage
from streaming.protocol.errors import ProtocolError
from streaming.protocol.server_messages import ServerMessage

MAX_MESSAGE_BYTES = 64 * 1024

_MAX_QUOTED = 40
_MAX_PROBLEM = 200


class _Envelope(msgspec.Struct):
    type: str


def type_of(message: type[ClientMessage] | type[ServerMessage]) -> str:
    """The message's name on the wire."""
    return str(message.__struct_config__.tag)


_CLIENT_TYPES = {type_of(message): message for message in CLIENT_MESSAGES}
_KNOWN_TYPES = ", ".join(_CLIENT_TYPES)
_client_decoder: msgspec.json.Decoder[AnyClientMessage] = msgspec.json.Decoder(AnyClientMessage)
_envelope_decoder = msgspec.json.Decoder(_Envelope)
_encoder = msgspec.json.Encoder()

assert set(CLIENT_MESSAGES) == set(get_args(AnyClientMessage))


def parse(text: str) -> AnyClientMessage:
    """The message of a client's text; ProtocolError (INVALID_MESSAGE) if it is none."""
    if len(text) > MAX_MESSAGE_BYTES:
        raise too_large()
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise _invalid("The text is not Unicode: it has half a surrogate pair.") from None
    if len(encoded) > MAX_MESSAGE_BYTES:
        raise too_large()
    try:
        try:
            return _client_decoder.decode(encoded)
        except msgspec.ValidationError as error:
            raise _explained(encoded, str(error)) from None
    except msgspec.DecodeError as error:
        raise _invalid(
            f'This is not JSON ({error}); a message is {{"type", "session_id", "data"}}.'
        ) from None
    except RecursionError:
        raise _invalid("The JSON is nested too deeply; no message has over 4 levels.") from None


def dump(message: ServerMessage | ClientMessage) -> str:
    """The JSON text of a message; bytes become base64."""
    return _encoder.encode(message).decode()


def too_large() -> ProtocolError:
    return _invalid(f"The message is too large; allowed are {MAX_MESSAGE_BYTES} bytes.")


def not_text() -> ProtocolError:
    return _invalid("Binary messages are not spoken here; send JSON as text.")


def quoted(text: str) -> str:
    """A client's own words, short and printable enough to be said back."""
    return "'" + re.sub(r"[^ -~…]", "?", _cut(text, _MAX_QUOTED)) + "'"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[:length] + "…"


def _invalid(message: str) -> ProtocolError:
    return ProtocolError("INVALID_MESSAGE", message)


def _explained(encoded: bytes, problem: str) -> ProtocolError:
    """What is wrong with JSON that is no message, and what its type takes.

    May raise what a decoder raises: the text was only read up to the first wrong field.
    """
    try:
        name = _envelope_decoder.decode(encoded).type
    except msgspec.ValidationError as error:
        return _invalid(f"{error}; a message is an object with a type, one of {_KNOWN_TYPES}.")
    if name not in _CLIENT_TYPES:
        return _invalid(f"There is no message type {quoted(name)}; known are {_KNOWN_TYPES}.")
    # A pattern says less to a person than the sentence that follows.
    problem = _cut(re.sub(r" matching regex '.*'", " of another form", problem), _MAX_PROBLEM)
    return _invalid(f"{name}: {problem}. It takes {_CLIENT_TYPES[name].takes}.")
