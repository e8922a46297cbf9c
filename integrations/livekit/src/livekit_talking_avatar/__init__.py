"""A self-hosted talking avatar for LiveKit agents.

::

    avatar = AvatarSession("ws://localhost:8000", "me")
    await avatar.start(agent_session, room)

sessions        `AvatarSession` starts a worker, `LocalAvatarSession` needs none
worker_process  keeps a worker running
worker          joins a room as the avatar
voice_inputs    where an agent's voice comes from: `LocalVoice`, `RoomVoice`
voice_queue     its way to the runner: every segment ends exactly once
generator       the server's pictures and the agent's voice for LiveKit's `AvatarRunner`
playout         when each of them leaves; pure
segment         what of an agent's speech was sent, and what was heard
pictures        H.264 → I420
voice_format    audio of any format → mono at one rate
"""

from livekit_talking_avatar.generator import AvatarVideoGenerator
from livekit_talking_avatar.sessions import AvatarSession, LocalAvatarSession
from livekit_talking_avatar.voice_inputs import LocalVoice, RoomVoice
from livekit_talking_avatar.worker import Connection, WorkerFailed, run_worker, serve_room

__all__ = [
    "AvatarSession",
    "AvatarVideoGenerator",
    "Connection",
    "LocalAvatarSession",
    "LocalVoice",
    "RoomVoice",
    "WorkerFailed",
    "run_worker",
    "serve_room",
]
