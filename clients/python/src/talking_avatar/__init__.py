"""A client of the talking avatar server: speak, watch, and know when it was said.

::

    async with AvatarClient("ws://localhost:8000", "me") as avatar:
        utterance = await avatar.speak(pcm, sample_rate=24_000)
        played = await utterance
        print(played.played_ms, played.interrupted)

client       a session: speak, interrupt, change the picture, take events
utterance    speech that can be awaited
audio        any form of speech → pieces; speech as a microphone gives it
chained_ogg  the links of an Ogg file
events       what comes from the server, typed
errors       what can go wrong
close_codes  how a server ends a connection, in words
measurement  what a stream was like: lateness, latency, gaps

With PyAV (``talking-avatar[video]``):

pictures     decoded pictures with their sound, when they are due
decoding     access units → pictures, and whether the stream is whole
recording    a session → MP4
observation  a session in the background: measured, decoded, recorded
sound_files  sound files → speech

Below them:

connection   a session's connection, lost and found again
watch_tokens more watch tokens, from servers that ask for credentials
opening      how a WebSocket is opened, and why it could not be
liveness     whether the other end still lives
event_queue  events until a program takes them
session      a session without a socket: what to send, what came; pure
wire         how messages are written; pure
"""

from talking_avatar.audio import as_spoken
from talking_avatar.client import AvatarClient
from talking_avatar.errors import (
    AvatarError,
    ConnectionLost,
    ProtocolBroken,
    RecordingFailed,
    ServerUnreachable,
    SessionRefused,
    SoundUnreadable,
    SpeechRefused,
)
from talking_avatar.events import (
    ActionTriggered,
    Closed,
    Event,
    Frame,
    Interrupted,
    Reopened,
    Resumed,
    ServerError,
    SessionInfo,
    SpeechFinished,
    SpeechStarted,
    StateChanged,
    Warned,
)
from talking_avatar.utterance import Played, Utterance

__all__ = [
    "ActionTriggered",
    "AvatarClient",
    "AvatarError",
    "Closed",
    "ConnectionLost",
    "Event",
    "Frame",
    "Interrupted",
    "Played",
    "ProtocolBroken",
    "RecordingFailed",
    "Reopened",
    "Resumed",
    "ServerError",
    "ServerUnreachable",
    "SessionInfo",
    "SessionRefused",
    "SoundUnreadable",
    "SpeechFinished",
    "SpeechRefused",
    "SpeechStarted",
    "StateChanged",
    "Utterance",
    "Warned",
    "as_spoken",
]
