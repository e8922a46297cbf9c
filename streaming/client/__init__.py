"""A client of the avatar stream: connect, speak, watch.

::

    async with AvatarClient("ws://localhost:8000", "me") as avatar:
        await avatar.send_audio(read_speech(Path("speech.wav")))
        async for event in avatar:
            ...

It stands alone: it shares nothing with the server but the types of the messages. Its rooms:

``connection``   the WebSocket; what may be sent
``events``       what arrives, typed
``wire``         the JSON text of both directions
``sound``        any sound file → 16 kHz mono PCM; when which chunk is to be sent
``decoding``     H.264 access units → pictures, and whether the stream is whole
``measurement``  what a stream was like: lateness, latency, gaps
``recording``    picture and sound → MP4
``conversation`` all of it together, as the command `talk` uses it
"""

from streaming.client.connection import AvatarClient
from streaming.client.errors import (
    ClientError,
    ConnectionLost,
    ProtocolBroken,
    RecordingFailed,
    ServerUnreachable,
    SessionRefused,
    SoundUnreadable,
)
from streaming.client.events import (
    ActionTriggered,
    Closing,
    Event,
    Frame,
    Interrupted,
    Ready,
    ServerError,
    StateChanged,
    Unknown,
)
from streaming.client.sound import read_speech

__all__ = [
    "ActionTriggered",
    "AvatarClient",
    "ClientError",
    "Closing",
    "ConnectionLost",
    "Event",
    "Frame",
    "Interrupted",
    "ProtocolBroken",
    "Ready",
    "RecordingFailed",
    "ServerError",
    "ServerUnreachable",
    "SessionRefused",
    "SoundUnreadable",
    "StateChanged",
    "Unknown",
    "read_speech",
]
