"""How messages are written: JSON text both ways, and the binary form of frames and speech.

Pure functions; what the messages mean to a session is in `session`.
"""

import base64
import json
import struct
from typing import Any

from talking_avatar.errors import ProtocolBroken
from talking_avatar.events import (
    ActionTriggered,
    Closed,
    Event,
    Frame,
    Interrupted,
    ServerError,
    SessionInfo,
    Sound,
    SpeechFinished,
    SpeechStarted,
    StateChanged,
    Warned,
)

JSON_SUBPROTOCOL = "musetalk.v1.json"
BINARY_SUBPROTOCOL = "musetalk.v1.binary"

_HEADER = struct.Struct(">BBHIQQ")
_SPEECH = struct.Struct(">IBB")
_KEYFRAME, _HAS_AUDIO_TIMESTAMP, _HAS_SOUND = 1, 2, 4
_KIND_ACTION, _KIND_SPEECH = 2, 3
_SOUND_RATE = struct.Struct(">I")

Message = dict[str, Any]


def dump(type_: str, session_id: str, data: Message) -> str:
    """Return the text of a message."""
    return json.dumps({"type": type_, "session_id": session_id, "data": data})


def dump_speech(utterance_id: str, pcm: bytes, sample_rate: int, channels: int) -> bytes:
    """Return the binary form of a chunk of speech."""
    name = utterance_id.encode()
    head = _HEADER.pack(1, _KIND_SPEECH, 0, 0, 0, 0)
    return head + _SPEECH.pack(sample_rate, channels, len(name)) + name + pcm


def audio_chunk(pcm: bytes, sample_rate: int, channels: int) -> Message:
    """Return a chunk of speech, as a field of a JSON message."""
    return {
        "format": "pcm_s16le",
        "sample_rate": sample_rate,
        "channels": channels,
        "data": base64.b64encode(pcm).decode(),
    }


def parse(text: str | bytes, received_s: float) -> tuple[str, Message, Event | None]:
    """Parse a text message.

    Args:
        text: The message.
        received_s: When it came.

    Returns:
        Its type, its data, and the event that it is, if any: a newer server may say more.

    Raises:
        ProtocolBroken: It is no message of the protocol.
    """
    try:
        message = json.loads(text)
        type_, data = message["type"], message.get("data") or {}
        return type_, data, _event(type_, data, received_s)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        shown = text[:80] if isinstance(text, str) else text[:80].decode(errors="replace")
        raise ProtocolBroken(
            f"The server sent what is no message of the protocol ({error!r}): {shown}"
        ) from None


def _event(type_: str, data: Message, received_s: float) -> Event | None:
    match type_:
        case "VIDEO_FRAME" | "ACTION_FRAME":
            sound = data.get("audio")
            return Frame(
                base64.b64decode(data["frame_data"]),
                data["frame_timestamp"],
                data["keyframe"],
                data.get("audio_timestamp"),
                Sound(sound["sample_rate"], base64.b64decode(sound["data"])) if sound else None,
                data.get("action_progress"),
                data.get("state", ""),
                data.get("base_video", ""),
                received_s,
            )
        case "SPEECH_STARTED":
            return SpeechStarted(data["utterance_id"])
        case "SPEECH_FINISHED":
            return SpeechFinished(data["utterance_id"], data["played_ms"], data["interrupted"])
        case "STATE_CHANGED":
            return StateChanged(data["current_state"], data["current_video"])
        case "ACTION_TRIGGERED":
            return ActionTriggered(data["action_index"])
        case "INTERRUPTED":
            return Interrupted(data["dropped_ms"])
        case "WARNING":
            return Warned(data["reason"], data.get("in_ms"), data.get("ms"))
        case "ERROR":
            return ServerError(data["code"], data["message"], data.get("details") or {})
        case "CLOSE_ACK":
            return Closed(data["reason"])
        case _:
            return None


def parse_frame(message: bytes, state: str, clip: str, received_s: float) -> Frame:
    """Parse a binary message, which is a frame.

    Args:
        message: Its bytes.
        state: What it shows, as the last FRAME_INFO said.
        clip: The same.
        received_s: When it came.

    Raises:
        ProtocolBroken: It is no message of the protocol.
    """
    try:
        _, kind, flags, sound_bytes, timestamp, audio_timestamp = _HEADER.unpack_from(message)
        at = _HEADER.size
        progress: float | None = None
        if kind == _KIND_ACTION:
            progress = int.from_bytes(message[at : at + 2], "big") / 65_535
            at += 2
        sound: Sound | None = None
        if flags & _HAS_SOUND:
            (rate,) = _SOUND_RATE.unpack_from(message, at)
            at += _SOUND_RATE.size
            sound = Sound(rate, message[at : at + sound_bytes])
            at += sound_bytes
    except struct.error:
        raise ProtocolBroken(
            f"The server sent {len(message)} bytes that are no frame of the protocol."
        ) from None
    return Frame(
        message[at:],
        timestamp,
        bool(flags & _KEYFRAME),
        audio_timestamp if flags & _HAS_AUDIO_TIMESTAMP else None,
        sound,
        progress,
        state,
        clip,
        received_s,
    )


def session_info(data: Message) -> SessionInfo:
    """Return what INIT_SUCCESS says of the session.

    Raises:
        ProtocolBroken: Fields are missing.
    """
    try:
        video = data["video"]
        return SessionInfo(
            data["engine"],
            data["model_loaded"],
            tuple(data["available_videos"]),
            data["default_video"],
            video["codec"],
            video["width"],
            video["height"],
            data.get("limits") or {},
        )
    except (KeyError, TypeError) as error:
        raise ProtocolBroken(f"The server's INIT_SUCCESS is not whole: {error!r}.") from None
