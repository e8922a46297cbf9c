"""The example speaks, in a real room."""

import asyncio
import importlib.util
import json
import types
import wave
from pathlib import Path

import pytest
from livekit.agents.utils.audio import audio_frames_from_file

EXAMPLE = Path(__file__).parents[1] / "examples" / "agent.py"


async def test_the_example_reads_a_file_aloud(
    avatar_server, joined, voice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, room = joined
    file = tmp_path / "speech.wav"
    with wave.open(str(file), "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(voice.sample_rate)
        wav.writeframes(voice.pcm[: 2 * voice.sample_rate])
    monkeypatch.setenv("AVATAR_SERVER", avatar_server.address)
    monkeypatch.setenv("SPEECH", str(file))
    spec = importlib.util.spec_from_file_location("example_agent", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)

    async def connect() -> None:
        """The room was joined."""

    await example.entrypoint(types.SimpleNamespace(connect=connect, room=room))
    async with asyncio.timeout(45):
        while not (said := [said for _, called, said in server.rpcs if "finished" in called]):
            await server.viewer.has_news()
    read = [frame.duration async for frame in audio_frames_from_file(str(file), sample_rate=24_000)]
    assert json.loads(said[0]) == {
        "playback_position": pytest.approx(sum(read), abs=0.01),
        "interrupted": False,
    }
    async with asyncio.timeout(45):
        await server.viewer.has_seen(25)
    await room.disconnect()
    async with asyncio.timeout(45):
        while server.peers:  # the worker leaves with the agent
            await asyncio.sleep(0.1)
