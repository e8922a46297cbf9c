"""A worker that joins a room as the avatar: an agent's voice in, audio and video tracks out.

The agent sends its voice as byte streams ``lk.audio_stream`` and calls ``lk.clear_buffer``; it is
called back with ``lk.playback_started`` and ``lk.playback_finished``.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from livekit import rtc
from livekit.agents.voice.avatar import AvatarRunner

from livekit_talking_avatar.generator import AvatarVideoGenerator
from livekit_talking_avatar.voice_inputs import RoomVoice

logger = logging.getLogger(__name__)


class WorkerFailed(Exception):
    """The worker cannot continue; the message says why."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a worker goes."""

    livekit_url: str
    livekit_token: str
    """Admits the avatar to the room."""
    server: str
    """``ws://HOST:PORT`` of the talking avatar server."""
    user_id: str
    """Whose avatar."""
    token: str | None = None
    """Of the server."""
    agent_identity: str | None = None
    """Whose voice; None: the first agent's in the room."""
    sample_rate: int = 24_000


async def run_worker(connection: Connection) -> None:
    """Join the room, and stay until the agent leaves it or the room is closed.

    Raises:
        AvatarError: The server opens no session.
        ConnectError: The room cannot be joined.
        WorkerFailed: The voice's way through the room is broken.
    """
    generator = AvatarVideoGenerator(
        connection.server,
        connection.user_id,
        token=connection.token,
        sample_rate=connection.sample_rate,
    )
    room = rtc.Room()
    async with generator:
        await room.connect(connection.livekit_url, connection.livekit_token)
        try:
            await serve_room(room, generator, agent_identity=connection.agent_identity)
        finally:
            await room.disconnect()


async def serve_room(
    room: rtc.Room, generator: AvatarVideoGenerator, *, agent_identity: str | None = None
) -> None:
    """Be the avatar of a room that was joined, until the agent leaves or the room is closed.

    Args:
        room: The room.
        generator: Started.
        agent_identity: Whose voice; None: the first agent's in the room.

    Raises:
        WorkerFailed: The voice's way through the room is broken.
    """
    is_over = asyncio.Event()

    def on_participant_disconnected(participant: rtc.RemoteParticipant) -> None:
        is_agent = participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
        if participant.identity == agent_identity or (agent_identity is None and is_agent):
            logger.info("agent %s left", participant.identity)
            is_over.set()

    def on_disconnected(*_: object) -> None:
        is_over.set()

    room.on("participant_disconnected", on_participant_disconnected)
    room.on("disconnected", on_disconnected)
    voice = RoomVoice(room, agent_identity=agent_identity)
    runner = AvatarRunner(room, audio_recv=voice, video_gen=generator, options=generator.options)
    over = asyncio.create_task(is_over.wait())
    starting = asyncio.create_task(runner.start())
    tasks: set[asyncio.Future[Any]] = {over, starting}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if is_over.is_set():
            return
        await starting
        running = asyncio.gather(runner.wait_for_complete(), voice.wait())
        tasks.add(running)
        await asyncio.wait(tasks - {starting}, return_when=asyncio.FIRST_COMPLETED)
        if not is_over.is_set():
            raise WorkerFailed("The room's voice ended.") from running.exception()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await runner.aclose()
        room.off("participant_disconnected", on_participant_disconnected)
        room.off("disconnected", on_disconnected)
