"""Avatar sessions for `AgentSession`: the avatar in the agent's own process, or in a worker's.

`AvatarSession` starts a worker that joins the room as a participant of its own, on the agent's
behalf; decoding takes none of the agent's time. `LocalAvatarSession` publishes the tracks as the
agent itself, without another process or token.
"""

import asyncio
import os
from typing import Any

from livekit import api, rtc
from livekit.agents import AgentSession, UserStateChangedEvent, get_job_context
from livekit.agents.types import ATTRIBUTE_PUBLISH_ON_BEHALF
from livekit.agents.voice.avatar import AvatarRunner
from livekit.agents.voice.avatar import AvatarSession as BaseAvatarSession

from livekit_talking_avatar.generator import AvatarVideoGenerator, check_sample_rate
from livekit_talking_avatar.voice_inputs import LocalVoice, WorkerVoice
from livekit_talking_avatar.worker import Connection
from livekit_talking_avatar.worker_process import WorkerProcess

PROVIDER = "talking-avatar"


class LocalAvatarSession(BaseAvatarSession[Any]):
    """An avatar whose tracks the agent publishes itself."""

    def __init__(
        self, server: str, user_id: str, *, token: str | None = None, sample_rate: int = 24_000
    ) -> None:
        """Prepare.

        Args:
            server: ``ws://HOST:PORT`` of the talking avatar server, or with wss.
            user_id: Whose avatar.
            token: An API key or a token, where the server asks for one.
            sample_rate: Of the voice, Hz.
        """
        super().__init__()
        self._sample_rate = sample_rate
        self._generator = AvatarVideoGenerator(
            server, user_id, token=token, sample_rate=sample_rate
        )
        self._runner: AvatarRunner | None = None
        self._listening: AgentSession[Any] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def avatar_identity(self) -> str:
        """The agent's own; empty before `start`."""
        return "" if self._room is None else self._room.local_participant.identity

    @property
    def provider(self) -> str:
        """In metrics."""
        return PROVIDER

    async def start(self, agent_session: AgentSession[Any], room: rtc.Room) -> None:
        """Connect to the server and become the agent's voice; call it before the agent starts.

        Raises:
            AvatarError: The server opens no session; the agent's output is as it was.
        """
        await self._generator.start()
        await super().start(agent_session, room)
        output = LocalVoice(self._sample_rate)
        self._runner = AvatarRunner(
            room, audio_recv=output, video_gen=self._generator, options=self._generator.options
        )
        await self._runner.start()
        agent_session.output.replace_audio_tail(output)
        agent_session.on("user_state_changed", self._on_user_state_changed)
        self._listening = agent_session

    def _on_user_state_changed(self, event: UserStateChangedEvent) -> None:
        is_active = event.new_state == "speaking"
        task = asyncio.create_task(self._generator.user_speaking(is_active=is_active))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Take the avatar from the room; the agent has no voice after it."""
        if self._listening is not None:
            self._listening.off("user_state_changed", self._on_user_state_changed)
            self._listening = None
        if self._runner is not None:
            await self._runner.aclose()
            self._runner = None
        await self._generator.aclose()
        # The base class would remove this participant from the room, which is the agent itself.
        room = self._room
        self._room = None
        if room is not None:
            room.off("connection_state_changed", self._on_connection_state_changed)
        await super().aclose()


class AvatarSession(BaseAvatarSession[Any]):
    """An avatar in a worker process of its own, which joins the agent's room."""

    def __init__(
        self,
        server: str,
        user_id: str,
        *,
        token: str | None = None,
        sample_rate: int = 24_000,
        avatar_identity: str = "talking-avatar",
        avatar_name: str = "Avatar",
    ) -> None:
        """Prepare.

        Args:
            server: ``ws://HOST:PORT`` of the talking avatar server, or with wss.
            user_id: Whose avatar.
            token: An API key or a token, where the server asks for one.
            sample_rate: Of the voice, Hz.
            avatar_identity: Of the avatar as a participant of the room.
            avatar_name: What people in the room see.
        """
        super().__init__()
        check_sample_rate(sample_rate)
        self._server = server
        self._user_id = user_id
        self._token = token
        self._sample_rate = sample_rate
        self._identity = avatar_identity
        self._name = avatar_name
        self._worker: WorkerProcess | None = None

    @property
    def avatar_identity(self) -> str:
        """Of the avatar as a participant of the room."""
        return self._identity

    @property
    def provider(self) -> str:
        """In metrics."""
        return PROVIDER

    async def start(
        self,
        agent_session: AgentSession[Any],
        room: rtc.Room,
        *,
        livekit_url: str | None = None,
        livekit_api_key: str | None = None,
        livekit_api_secret: str | None = None,
    ) -> None:
        """Start the worker and become the agent's voice; call it before the agent starts.

        The address and the keys are taken from LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET
        unless they are given. The agent's first words wait until the avatar is in the room.

        Raises:
            ValueError: One of the three is missing.
        """
        url = livekit_url or os.environ.get("LIVEKIT_URL")
        key = livekit_api_key or os.environ.get("LIVEKIT_API_KEY")
        secret = livekit_api_secret or os.environ.get("LIVEKIT_API_SECRET")
        if not url or not key or not secret:
            raise ValueError(
                "Set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET, or give livekit_url, "
                "livekit_api_key and livekit_api_secret: the avatar joins the room by them."
            )
        await super().start(agent_session, room)
        agent_identity = _agent_identity(room)
        agent_session.output.replace_audio_tail(
            WorkerVoice(room, avatar_identity=self._identity, sample_rate=self._sample_rate)
        )
        connection = Connection(
            livekit_url=url,
            livekit_token=self._token_to_join(room, agent_identity, key, secret),
            server=self._server,
            user_id=self._user_id,
            token=self._token,
            agent_identity=agent_identity,
            sample_rate=self._sample_rate,
        )
        self._worker = WorkerProcess(connection, is_wanted=room.isconnected)

    def _token_to_join(self, room: rtc.Room, agent_identity: str, key: str, secret: str) -> str:
        """Return the token of a participant whose tracks count as the agent's."""
        return (
            api.AccessToken(key, secret)
            .with_kind("agent")
            .with_identity(self._identity)
            .with_name(self._name)
            .with_grants(api.VideoGrants(room_join=True, room=room.name))
            .with_attributes({ATTRIBUTE_PUBLISH_ON_BEHALF: agent_identity})
            .to_jwt()
        )

    async def aclose(self) -> None:
        """End the worker."""
        if self._worker is not None:
            await self._worker.aclose()
            self._worker = None
        await super().aclose()


def _agent_identity(room: rtc.Room) -> str:
    context = get_job_context(required=False)
    if context is not None:
        return context.local_participant_identity
    return room.local_participant.identity
