"""The Python client library against real servers."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import av
import numpy as np
import pytest

from benchmarks.server import app_processes
from talking_avatar import (
    AvatarClient,
    ConnectionLost,
    Frame,
    Played,
    Reopened,
    Resumed,
    SessionRefused,
    SpeechFinished,
    SpeechRefused,
    SpeechStarted,
)
from talking_avatar.pictures import pictures
from tests.e2e.conftest import Serve
from tests.e2e.talking import Server
from tests.media import assert_decodes

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "clients" / "python"
TONE = (9_000 * np.sin(np.arange(48_000) * 0.06)).astype(np.int16)


@pytest.mark.parametrize("is_binary", [True, False])
async def test_an_utterance_is_awaited(server: Server, is_binary: bool) -> None:
    async with AvatarClient(server.address, "ann", is_binary=is_binary) as avatar:
        utterance = await avatar.speak(TONE[:24_000], sample_rate=24_000)
        await asyncio.wait_for(utterance.started.wait(), 5)
        played = await asyncio.wait_for(utterance, 5)
        assert (played.played_ms, played.interrupted) == (1_000, False)
        again = await avatar.speak(TONE[:8_000].tobytes())
        assert (await asyncio.wait_for(again, 5)).played_ms == 500


async def test_a_synthesizer_streams_its_speech(server: Server) -> None:
    async def pieces():
        for at in range(0, 24_000, 1_111):
            yield TONE[at : min(at + 1_111, 24_000)]
            await asyncio.sleep(0)

    async with AvatarClient(server.address, "ann", receive=["events"]) as avatar:
        utterance = await avatar.speak(pieces(), sample_rate=24_000)
        assert (await asyncio.wait_for(utterance, 5)).played_ms == 1_000


async def test_an_interrupt_says_what_was_dropped(server: Server) -> None:
    async with AvatarClient(server.address, "ann") as avatar:
        utterance = await avatar.speak(TONE, sample_rate=16_000)
        await asyncio.wait_for(utterance.started.wait(), 5)
        await asyncio.sleep(0.5)
        dropped_ms = await asyncio.wait_for(avatar.interrupt(), 2)
        played = await asyncio.wait_for(utterance, 2)
        assert played.interrupted
        assert played.played_ms + dropped_ms == pytest.approx(3_000, abs=1)


async def test_pictures_come_with_their_sound_and_in_time(server: Server) -> None:
    received = ["video", "audio", "events"]
    async with AvatarClient(server.address, "ann", receive=received) as avatar:
        speaking = asyncio.create_task(avatar.speak(TONE[:24_000], sample_rate=24_000))
        loop = asyncio.get_running_loop()
        seen, heard, times = [], b"", []
        async for picture in pictures(avatar):
            seen.append(picture)
            times.append(loop.time())
            heard += picture.sound.data if picture.sound else b""
            if len(seen) == 75:
                break
        await speaking
        assert seen[0].pixels.shape == (512, 512, 3)
        assert heard == TONE[:24_000].tobytes()
        # Not before it is due; on a busy machine later.
        assert 0.035 < (times[-1] - times[5]) / (len(times) - 6) < 0.12


async def test_a_client_that_reads_no_frames_still_learns_how_it_ended(server: Server) -> None:
    async with AvatarClient(server.address, "ann") as avatar:
        await asyncio.sleep(0.5)
        utterance = await avatar.speak(TONE[:16_000])
        await asyncio.wait_for(utterance, 5)


async def test_the_first_frame_that_is_read_is_a_keyframe(server: Server) -> None:
    async with AvatarClient(server.address, "ann") as avatar:
        await asyncio.sleep(1.5)
        units = []
        async for frame in avatar.frames():
            units.append(frame.data)
            if len(units) == 60:
                break
        assert len(assert_decodes(units)) == 60


async def test_a_lost_connection_is_found_again(server: Server) -> None:
    async with AvatarClient(server.address, "ann") as avatar:
        events = avatar.events()
        utterance = await avatar.speak(TONE, sample_rate=16_000)
        await asyncio.wait_for(utterance.started.wait(), 5)
        units, spoken, resumed = [], [], 0
        avatar.abort()
        async with asyncio.timeout(15):
            async for event in events:
                resumed += isinstance(event, Resumed)
                if isinstance(event, Frame):
                    units.append(event.data)
                    if event.audio_timestamp_ms is not None:
                        spoken.append(event.audio_timestamp_ms)
                if utterance.is_over:
                    break
        assert resumed == 1
        assert (await utterance).played_ms == 3_000
        assert spoken == sorted(set(spoken)), "nothing is said twice"
        left_out = set(range(spoken[0], 3_000, 40)) - set(spoken)
        assert len(left_out) < 10, "a reader on a busy machine may be spared some frames"
        assert_decodes(units[next(i for i, u in enumerate(units) if b"\x00\x00\x01\x67" in u) :])


@pytest.mark.lasting
async def test_a_killed_process_costs_no_speech(share: Serve) -> None:
    server = share(PROCESSES="2")
    async with AvatarClient(server.address, "ann") as avatar:
        for _ in range(3):
            utterance = await avatar.speak(TONE, sample_rate=16_000)
            await asyncio.wait_for(utterance.started.wait(), 10)
            await asyncio.sleep(0.3)
            for child in app_processes(server.process.pid).values():
                if any(c.raddr and c.status == "ESTABLISHED" for c in child.net_connections()):
                    child.send_signal(signal.SIGKILL)
                    break
            played = await asyncio.wait_for(utterance, 20)
            assert (played.played_ms, played.interrupted) == (3_000, False)


async def test_a_session_that_cannot_be_resumed_is_opened_again(share: Serve) -> None:
    server = share(RESUME_S="0")
    async with AvatarClient(server.address, "ann") as avatar:
        events, before = avatar.events(), avatar.session_id
        utterance = await avatar.speak(TONE)
        avatar.abort()
        async with asyncio.timeout(10):
            async for event in events:
                if isinstance(event, Reopened):
                    break
        assert avatar.session_id != before
        with pytest.raises(ConnectionLost):
            await utterance
        again = await avatar.speak(TONE[:8_000])
        assert (await asyncio.wait_for(again, 5)).played_ms == 500


async def test_speech_beyond_the_capacity_is_refused(share: Serve) -> None:
    server = share(SPEAKING_PLACES="1")
    async with (
        AvatarClient(server.address, "ann") as ann,
        AvatarClient(server.address, "bob") as bob,
    ):
        first = await ann.speak(TONE)
        await asyncio.wait_for(first.started.wait(), 5)
        with pytest.raises(SpeechRefused) as refused:
            await asyncio.wait_for(await bob.speak(TONE[:6_400]), 5)
        assert refused.value.retry_after_ms == 1_000
        await asyncio.wait_for(first, 10)


async def test_refusals_are_said(share: Serve) -> None:
    server = share(AUTH="true", AUTH_SECRET="a secret of thirty-two bytes or more")
    with pytest.raises(SessionRefused, match="UNAUTHORIZED"):
        async with AvatarClient(server.address, "ann"):
            pass
    with pytest.raises(ConnectionLost, match="cannot be reached"):
        async with AvatarClient("ws://127.0.0.1:1", "ann"):
            pass
    with pytest.raises(ValueError, match="no server's address"):
        async with AvatarClient("ftp://x", "ann"):
            pass


def test_it_needs_neither_our_server_nor_pyav() -> None:
    code = (
        "import sys\n"
        "others = ('django', 'av', 'numpy', 'streaming', 'inference')\n"
        "sys.modules.update(dict.fromkeys(others))\n"
        "import talking_avatar"
    )
    env = {**os.environ, "PYTHONPATH": str(CLIENT / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.lasting
async def test_speech_longer_than_what_is_sent_ahead_is_whole_without_frames(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("talking_avatar.client.AHEAD_MS", 800)
    async with AvatarClient(server.address, "ann", receive=["events"]) as avatar:
        utterance = await avatar.speak(TONE.tobytes() * 2)
        played = await utterance
    assert played == Played(len(TONE) * 2 // 16, interrupted=False)


async def test_a_synthesizer_that_pauses_is_one_utterance(server: Server) -> None:
    async def stalling() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield TONE[:8_000].tobytes()
            await asyncio.sleep(1.2)

    async with AvatarClient(server.address, "ann") as avatar:
        events = avatar.events()
        told = []

        async def note() -> None:
            async for event in events:
                if isinstance(event, SpeechStarted | SpeechFinished):
                    told.append(event)

        noting = asyncio.create_task(note())
        utterance = await avatar.speak(stalling())
        assert await utterance == Played(1_500, interrupted=False)
        await asyncio.sleep(0.1)
        noting.cancel()
    assert told == [SpeechStarted(utterance.id), SpeechFinished(utterance.id, 1_500, False)]


async def test_an_interrupt_in_a_pause_ends_the_utterance_and_no_later_one(server: Server) -> None:
    resumed = asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        yield TONE[:8_000].tobytes()
        await resumed.wait()
        yield TONE[:8_000].tobytes()

    async with AvatarClient(server.address, "ann") as avatar:
        speaking = asyncio.create_task(avatar.speak(stalling()))
        await asyncio.sleep(1.5)
        interrupting = asyncio.create_task(avatar.interrupt())
        await asyncio.sleep(0)
        later = await avatar.speak(TONE[:16_000].tobytes())
        assert await interrupting == 0
        resumed.set()
        assert await (await speaking) == Played(500, interrupted=True)
        assert await later == Played(1_000, interrupted=False)


async def test_nothing_to_say_is_over_at_once(server: Server) -> None:
    async with AvatarClient(server.address, "ann") as avatar:
        assert await (await avatar.speak(b"")) == Played(0, interrupted=False)


def example(name: str, *arguments: str) -> str:
    env = {**os.environ, "PYTHONPATH": str(CLIENT / "src")}
    done = subprocess.run(
        [sys.executable, str(CLIENT / "examples" / name), *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_examples_do_what_they_say(server: Server, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "speech.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(TONE[:16_000].tobytes())
    assert example("say.py", server.address, "ann", str(tmp_path / "speech.wav")) == (
        "played 1000 ms\n"
    )
    example("record.py", server.address, "ann", str(tmp_path / "out.mp4"), "2")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) >= 50
    assert "heard 24000 samples" in example("watch.py", server.address, "ann")


def test_an_example_ends_cleanly_on_ctrl_c(server: Server, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(CLIENT / "src")}
    program = subprocess.Popen(
        [
            sys.executable,
            str(CLIENT / "examples" / "record.py"),
            server.address,
            "ann",
            str(tmp_path / "out.mp4"),
            "60",
        ],
        env=env,
        stderr=subprocess.PIPE,
        text=True,
        # A shell ignores it for tests in the background, and their children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with program:
        while not (tmp_path / "out.mp4").exists():
            assert program.poll() is None
        program.send_signal(signal.SIGINT)
        assert program.wait(10) == 130
        assert "Traceback" not in (program.stderr.read() if program.stderr else "")


def test_the_readme_s_program_runs(server: Server) -> None:
    text = (CLIENT / "README.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    env = {**os.environ, "PYTHONPATH": str(CLIENT / "src")}
    code = code.replace("ws://localhost:8000", server.address)
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout == "1000 False\n", done.stderr
