"""The command `talk`, as its user starts it, but in this process."""

import asyncio
import io
import socket
import sys

import av
import pytest
from django.core.management import CommandError, call_command

from streaming.protocol.errors import ProtocolError
from tests.clients.python.fake_avatar_server import Manners, fake_avatar_server
from tests.clients.python.test_sound_files import tone, write_sound, write_wav


async def talk(server, *arguments):
    """Runs the command in a thread, since it has a loop of its own; gives what it printed."""
    out = io.StringIO()
    await asyncio.to_thread(
        call_command, "talk", "--server", server, *map(str, arguments), stdout=out
    )
    return out.getvalue()


@pytest.mark.parametrize("fast", [(), ("--fast",)])
async def test_it_speaks_records_and_measures(tmp_path, fast):
    speech = write_wav(tmp_path / "speech.wav", rate_hz=44_100, channels=2, seconds=1.0)
    video = tmp_path / "out.mp4"
    async with fake_avatar_server() as server:
        printed = await talk(server, "--audio-file", speech, "--output", video, *fast)
    for name in ("time to first frame", "frames per second", "jitter", "audio to frame", "bytes"):
        assert name in printed
    assert "decode errors        0" in printed
    with av.open(str(video)) as container:
        assert len(container.streams.audio) == 1
        assert sum(1 for _ in container.decode(video=0)) >= 45
    if fast:
        assert "audio to frame       -" in printed


async def test_it_warns_of_a_side_that_is_inverted(tmp_path):
    left = tone(seconds=0.4)
    speech = write_sound(tmp_path / "speech.wav", [left, -left], 16_000)
    async with fake_avatar_server() as server:
        printed = await talk(server, "--audio-file", speech)
    assert f"Warning: {speech} has one side inverted" in printed


async def test_it_takes_commands_from_the_keyboard(tmp_path, monkeypatch):
    speech = write_wav(tmp_path / "my speech.wav", seconds=0.3)
    typed = f"state idle idle_2\naction 1\nfly\n\nspeak '{speech}'\nspeak nowhere.wav\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    async with fake_avatar_server() as server:
        printed = await talk(server, "--interactive")
    assert "< state idle, clip idle_2" in printed
    assert "< action 1 follows" in printed
    assert "? fly" in printed
    assert "? There is no file nowhere.wav" in printed
    assert "of them with speech  8" in printed


async def test_it_fails_when_the_stream_is_broken(tmp_path):
    speech = write_wav(tmp_path / "speech.wav")
    async with fake_avatar_server(Manners(lost_frames=frozenset({4}))) as server:
        with pytest.raises(CommandError, match="could not be decoded"):
            await talk(server, "--audio-file", speech)


async def test_it_fails_when_the_session_is_refused(tmp_path):
    video = tmp_path / "out.mp4"
    refusal = ProtocolError("MODEL_NOT_FOUND", "There is no avatar.")
    async with fake_avatar_server(Manners(refusal=refusal)) as server:
        with pytest.raises(CommandError, match="There is no avatar"):
            await talk(server, "--audio-file", write_wav(tmp_path / "a.wav"), "--output", video)
    assert not video.exists()


def test_nothing_answers(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(CommandError, match="is the server running"):
            call_command(
                "talk",
                "--server",
                f"ws://127.0.0.1:{free.getsockname()[1]}",
                "--audio-file",
                str(write_wav(tmp_path / "a.wav")),
            )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Say what to speak"),
        (["--audio-file", "nowhere.wav"], "There is no file nowhere.wav"),
        (["--audio-file", __file__], "is not a sound file"),
        (["--audio-file", "a.wav", "--video-state", "../etc"], "is no clip"),
    ],
)
def test_what_it_needs_is_said(arguments, words):
    with pytest.raises(CommandError, match=words):
        call_command("talk", "--server", "ws://localhost:1", *arguments)
