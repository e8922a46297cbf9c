"""An agent that reads a sound file aloud with a face; no model and no key of any vendor.

LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET, AVATAR_SERVER and SPEECH (a sound file) are in its
environment. ``python agent.py dev`` waits for rooms; join one with any LiveKit client.
"""

import os

from livekit.agents import Agent, AgentSession, JobContext, WorkerOptions, cli
from livekit.agents.utils.audio import audio_frames_from_file

from livekit_talking_avatar import AvatarSession


async def entrypoint(job: JobContext) -> None:
    await job.connect()
    session: AgentSession[None] = AgentSession()
    avatar = AvatarSession(os.environ["AVATAR_SERVER"], "me")
    await avatar.start(session, job.room)
    await session.start(Agent(instructions="You read aloud."), room=job.room)
    await session.say("", audio=audio_frames_from_file(os.environ["SPEECH"], sample_rate=24_000))


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
