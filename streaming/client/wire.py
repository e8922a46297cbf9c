"""The JSON text of both directions, by the message types that the server has too.

What is sent is built here from plain values; what arrives becomes an event. A message of a type
that is not known is no fault: a newer server may have more to say.
"""

from functools import reduce
from operator import or_
from typing import Any, Literal, cast

import msgspec
from msgspec import UNSET

from inference.assets.manifest import ClipState
from streaming.client.errors import ProtocolBroken
from streaming.client.events import (
    ActionTriggered,
    Closing,
    Event,
    Frame,
    Interrupted,
    Ping,
    Ready,
    ServerError,
    StateChanged,
    Unknown,
)
from streaming.protocol import client_messages as client
from streaming.protocol import server_messages as server
from streaming.protocol.codec import dump, type_of

# ---- client → server


def init(session_id: str, user_id: str, auth_token: str | None = None) -> str:
    fields = client.InitFields(
        user_id=user_id, video_config=client.VideoConfig(), auth_token=auth_token
    )
    return dump(client.Init(session_id=session_id, data=fields))


def generate(session_id: str, pcm: bytes, clip: str | None = None) -> str:
    """``clip``: the one wanted under this utterance, by its standard name, such as speaking_3."""
    fields = client.GenerateFields(
        audio_chunk=client.SpeechChunk(
            format="pcm_s16le", sample_rate=16_000, channels=1, data=pcm
        ),
        video_state=client.VideoState(type=_state_of(clip), base_video=clip) if clip else None,
    )
    return dump(client.Generate(session_id=session_id, data=fields))


def state_change(session_id: str, state: str, clip: str | None = None) -> str:
    fields = client.StateChangeFields(target_state=cast(ClipState, state), base_video=clip)
    return dump(client.StateChange(session_id=session_id, data=fields))


def action(session_id: str, index: int, *, is_v1_0: bool = False) -> str:
    fields = (
        client.ActionFields(action_type=cast(Literal["action_1", "action_2"], f"action_{index}"))
        if is_v1_0
        else client.ActionFields(action_index=cast(Literal[1, 2], index))
    )
    return dump(client.Action(session_id=session_id, data=fields))


def interrupt(session_id: str) -> str:
    return dump(client.Interrupt(session_id=session_id))


def close(session_id: str) -> str:
    return dump(client.Close(session_id=session_id))


def pong(session_id: str) -> str:
    return dump(client.Pong(session_id=session_id))


def _state_of(clip: str) -> ClipState:
    return cast(ClipState, clip.partition("_")[0])


# ---- server → client

_decoder: msgspec.json.Decoder[server.ServerMessage] = msgspec.json.Decoder(
    cast(Any, reduce(or_, cast(Any, server.SERVER_MESSAGES)))
)
_KNOWN_TYPES = {type_of(message) for message in server.SERVER_MESSAGES}


class _Envelope(msgspec.Struct):
    type: str


def parse(text: str | bytes, received_s: float) -> Event:
    """The event in a message that arrived at ``received_s``; ProtocolBroken if it is none."""
    try:
        message = _decoder.decode(text)
    except msgspec.DecodeError as error:
        return _unknown(text, error)
    match message:
        case server.ActionFrame(data=fields):
            return _frame(fields, received_s, fields.action_progress)
        case server.VideoFrame(data=fields):
            return _frame(fields, received_s, None)
        case server.InitSuccess(data=ready):
            return Ready(
                session_id=message.session_id or "",
                is_lipsync_ready=ready.model_loaded,
                clips=tuple(ready.available_videos),
                default_clip=ready.default_video,
                engine=ready.engine,
                codec=ready.video.codec,
            )
        case server.StateChanged(data=changed):
            return StateChanged(changed.current_state, changed.current_video)
        case server.ActionTriggered(data=triggered):
            return ActionTriggered(triggered.action_index)
        case server.Interrupted(data=interrupted):
            return Interrupted(interrupted.dropped_ms, received_s)
        case server.Error(data=error_fields):
            return ServerError(error_fields.code, error_fields.message, error_fields.details or {})
        case server.CloseAck(data=ack):
            return Closing(ack.reason)
        case server.Ping():
            return Ping()
        case _:
            return Unknown(type_of(type(message)))


def _frame(fields: server.FrameFields, received_s: float, progress: float | None) -> Frame:
    return Frame(
        access_unit=fields.frame_data,
        timestamp_ms=fields.frame_timestamp,
        received_s=received_s,
        is_idr=fields.keyframe,
        state=fields.state,
        clip=fields.base_video,
        audio_timestamp_ms=None if fields.audio_timestamp is UNSET else fields.audio_timestamp,
        action_progress=progress,
    )


def _unknown(text: str | bytes, error: msgspec.DecodeError) -> Unknown:
    """The message of a type that is not known; ProtocolBroken if it is merely wrong."""
    try:
        name = msgspec.json.decode(text, type=_Envelope).type
    except msgspec.DecodeError:
        name = None
    if name is None or name in _KNOWN_TYPES:
        raise ProtocolBroken(f"The server sent what is no message of the protocol: {error}")
    return Unknown(name)
