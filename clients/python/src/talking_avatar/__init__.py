"""A client of the talking avatar server: speak, watch, and know when it was said.

::

    async with AvatarClient("ws://localhost:8000", "me") as avatar:
        utterance = await avatar.speak(pcm, sample_rate=24_000)
        played = await utterance
        print(played.played_ms, played.interrupted)

session    the protocol without a socket: what to send, what came; pure
client     the connection, lost and found again
utterance  speech that can be awaited
events     what comes from the server, typed
pictures   decoded pictures with their sound, when they are due (needs PyAV)
"""

from talking_avatar.client import AvatarClient
from talking_avatar.events import (
    AvatarError,
    Closed,
    ConnectionLost,
    Event,
    Frame,
    Interrupted,
    Reopened,
    Resumed,
    ServerError,
    SessionRefused,
    SpeechFinished,
    SpeechRefused,
    SpeechStarted,
    StateChanged,
    Warned,
)
from talking_avatar.utterance import Played, Utterance

__all__ = [
    "AvatarClient",
    "AvatarError",
    "Closed",
    "ConnectionLost",
    "Event",
    "Frame",
    "Interrupted",
    "Played",
    "Reopened",
    "Resumed",
    "ServerError",
    "SessionRefused",
    "SpeechFinished",
    "SpeechRefused",
    "SpeechStarted",
    "StateChanged",
    "Utterance",
    "Warned",
]
