"""`ENGINE=musetalk`: prepared, served and seen, with the small networks of the tests on a CPU."""

import asyncio
import base64
import json
import shutil
import signal
from pathlib import Path

import av
import numpy as np
import psutil
import pytest

pytest.importorskip("torch")

from inference.engines.musetalk.prepare.avatar import read_clip
from tests.e2e.talking import Server
from tests.factories import make_avatar, mesh_of_a_face
from tests.inference.engines.musetalk.test_engine import WEIGHTS
from tests.processes import Process, free_port

pytestmark = [pytest.mark.slow, pytest.mark.lasting, pytest.mark.timeout(300)]

MUSETALK = {"ENGINE": "musetalk", "MODEL_PATH": str(WEIGHTS), "DEVICE": "cpu"}
FRAMES = 6
CLIPS = {"idle_0": FRAMES, "speaking_0": FRAMES}
SPEECH = (np.random.default_rng(1).normal(size=32_000) * 6_000).astype("<i2").tobytes()
"""Two seconds of noise: loud enough to be spoken."""


def make_person(folder: Path) -> None:
    make_avatar(folder, clips=CLIPS, name=folder.name)
    for clip in CLIPS:
        meshes = np.repeat(mesh_of_a_face()[None], FRAMES, 0)
        np.save(folder / "clips" / f"{clip}.landmarks.npy", meshes)


@pytest.fixture(scope="module")
def prepared(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a prepared person."""
    folder = tmp_path_factory.mktemp("prepared") / "someone"
    make_person(folder)
    preparing = Process(
        *("manage.py", "prepare_musetalk", "someone"),
        env={
            "DJANGO_SETTINGS_MODULE": "musetalk_site.settings",
            "DATABASE_URL": database_url,
            "AVATARS_DIR": str(folder.parent),
            **MUSETALK,
        },
    )
    try:
        assert preparing.wait(120) == 0, preparing.output
        assert "All is prepared" in preparing.output
    finally:
        preparing.kill()
    return folder


async def speak(stream, seconds_at_most=60):
    """Say `SPEECH` in real time; frames up to its last, and the reasons of errors."""
    frames, reasons, shown = [], [], 0

    async def say():
        for at in range(0, len(SPEECH), 1_280):
            await stream.say(SPEECH[at : at + 1_280])
            await asyncio.sleep(0.04)

    saying = asyncio.create_task(say())
    async with asyncio.timeout(seconds_at_most):
        while shown < len(SPEECH) // 1_280:
            message = await stream.next()
            if message["type"] == "ERROR":
                assert message["data"]["code"] == "PROCESSING_ERROR", message
                reasons.append(message["data"]["details"]["reason"])
            elif message["type"] == "VIDEO_FRAME":
                frames.append(message["data"])
                shown += "audio_timestamp" in message["data"]
    await saying
    return frames, reasons


def decoded(frames):
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    for frame in frames:
        [picture] = decoder.decode(av.Packet(base64.b64decode(frame["frame_data"])))
        yield frame, picture.to_ndarray(format="gray").astype(int)


async def speak_with_lips_again(stream, server) -> None:
    """Speak until no frame is without lips because the engine is restarted."""
    for _ in range(30):
        frames, reasons = await speak(stream)
        if not any("restarted" in reason for reason in reasons):
            break
    else:
        pytest.fail(f"no lips again: {reasons}\n{server.process.output}")
    assert sum("audio_timestamp" in frame for frame in frames) == 50


async def test_a_prepared_person_speaks(prepared: Path, serve, tmp_path: Path) -> None:
    folder = tmp_path / "avatars" / "someone"
    shutil.copytree(prepared, folder)
    server = serve(**MUSETALK)
    await asyncio.to_thread(server.process.wait_for, "takes sessions", 120)
    assert json.loads(server.get("/health")[1])["engine"] == "musetalk"
    assert "speaking sessions" in server.process.output
    async with server.stream() as stream:
        await stream.wait_for("INIT_SUCCESS")
        idle = await stream.frames(5)
        frames, reasons = await speak(stream)
    spoken = [frame["audio_timestamp"] for frame in frames if "audio_timestamp" in frame]
    assert spoken == list(range(0, 2_000, 40))

    faces = read_clip(folder, "speaking_0", FRAMES, "1")
    assert faces is not None
    patch = faces.patch(0)
    rows = slice(patch.y + 20, patch.y + patch.height - 20)
    columns = slice(patch.x + 40, patch.x + patch.width - 40)
    # Test pictures are one gray from edge to edge: what varies inside the patch is a mouth.
    mouths = sum(picture[rows, columns].std() > 5 for _, picture in decoded(idle + frames))
    if mouths == 0:
        assert any("engine_late" in r or "MuseTalk takes" in r for r in reasons), reasons
    assert mouths < len(idle + frames)
    assert "Traceback" not in server.process.output, server.process.output


async def test_who_is_not_prepared_is_reported_and_the_engine_process_ends_with_the_server(
    serve, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path / "avatars" / "someone"
    make_person(folder)
    temporary = tmp_path_factory.mktemp("t")  # addresses of sockets are short
    server = serve(**MUSETALK, TMPDIR=str(temporary))
    await asyncio.to_thread(server.process.wait_for, "takes sessions", 120)
    async with server.stream() as stream:
        await stream.wait_for("INIT_SUCCESS")
        frames, reasons = await speak(stream)
        assert [frame for frame, _ in decoded(frames)]
        assert "prepared" in reasons[0]
        for _ in range(2_500):  # by frames, which come 25 a second however busy the machine is
            if read_clip(folder, "speaking_0", FRAMES, "1") is not None:
                break
            await stream.frames(1)
        else:
            pytest.fail(f"nothing was prepared:\n{server.process.output}")
    assert "Traceback" not in server.process.output, server.process.output
    engine = engine_process(server)
    assert list(temporary.glob("avatar-engine-*"))
    server.process.send(signal.SIGKILL)
    await asyncio.to_thread(engine.wait, 10)
    assert not list(temporary.glob("avatar-engine-*"))


@pytest.fixture
def someone_unprepared(tmp_path: Path) -> None:
    """With clips that take long to be prepared."""
    folder = tmp_path / "avatars" / "someone"
    make_avatar(folder, clips={"idle_0": 400, "speaking_0": 400}, name=folder.name)
    for clip in ("idle_0", "speaking_0"):
        meshes = np.repeat(mesh_of_a_face()[None], 400, 0)
        np.save(folder / "clips" / f"{clip}.landmarks.npy", meshes)


async def stop_while_it_prepares(server: Server, process: Process) -> None:
    """``process`` is the worker of the server, or the server itself."""
    await asyncio.to_thread(process.wait_for, "takes sessions", 120)
    async with server.stream() as stream:
        await stream.wait_for("INIT_SUCCESS")
        await stream.say(SPEECH)
        await asyncio.to_thread(process.wait_for, "preparing", 60)
        assert await asyncio.to_thread(process.end) == 0, process.output
        assert "Traceback" not in process.output


@pytest.mark.usefixtures("someone_unprepared")
async def test_a_stop_while_clips_are_prepared_is_no_crash(serve) -> None:
    server = serve(**MUSETALK)
    await stop_while_it_prepares(server, server.process)


@pytest.mark.usefixtures("someone_unprepared")
async def test_neither_is_that_of_a_worker_apart(serve, start, redis_url: str) -> None:
    settings = {**MUSETALK, "CHANNEL_REDIS_URL": redis_url}
    server = serve("--no-worker", **settings)
    await stop_while_it_prepares(server, start("manage.py", "runworker", "inference", **settings))


@pytest.mark.parametrize("after_s", [1.5, 3.0])
async def test_a_stop_while_the_engine_loads_ends_soon(start, after_s: float) -> None:
    process = start("manage.py", "serve", "--port", str(free_port()), **MUSETALK)
    await asyncio.to_thread(process.wait_for, "serving on", 30)
    await asyncio.sleep(after_s)
    began_s = asyncio.get_running_loop().time()
    assert await asyncio.to_thread(process.end) == 0, process.output
    assert asyncio.get_running_loop().time() - began_s < 3 * 3


def engine_process(server) -> psutil.Process:
    """The one that serves; a younger one may stand by."""
    children = psutil.Process(server.process.pid).children(recursive=True)
    engines = [child for child in children if "run_engine" in child.cmdline()]
    return min(engines, key=lambda child: child.create_time())


async def test_a_killed_engine_process_costs_no_session(
    prepared: Path, serve, tmp_path: Path
) -> None:
    shutil.copytree(prepared, tmp_path / "avatars" / "someone")
    server = serve(**MUSETALK, PROCESSES="2")
    await asyncio.to_thread(server.process.wait_for, "2 processes are ready", 120)
    async with server.stream("ann") as stream, server.stream("bob") as other:
        await stream.wait_for("INIT_SUCCESS")
        await other.wait_for("INIT_SUCCESS")
        await speak(stream)
        engine = engine_process(server)
        engine.kill()
        _, reasons = await speak(stream)
        assert len(set(reasons)) <= 2, "each reason is sent once an utterance"
        assert [frame for frame, _ in decoded(await other.frames(5))]
        await speak_with_lips_again(stream, server)
    again = engine_process(server)
    assert again.pid != engine.pid
    assert server.process.output.count("the engine process ended (signal SIGKILL)") == 1
    assert await asyncio.to_thread(server.process.end) == 0, server.process.output
    assert not again.is_running()


async def test_two_devices_share_the_mouths_and_one_makes_them_alone(
    prepared: Path, serve, tmp_path: Path
) -> None:
    shutil.copytree(prepared, tmp_path / "avatars" / "someone")
    server = serve(**{**MUSETALK, "DEVICE": "cpu,cpu"})
    await asyncio.to_thread(server.process.wait_for, "takes sessions", 120)
    for _ in range(1_200):
        if server.process.output.count("the engine process takes requests") == 2:
            break
        await asyncio.sleep(0.1)
    first = engine_process(server)
    async with server.stream() as stream:
        await stream.wait_for("INIT_SUCCESS")
        before, _ = await speak(stream)
        first.kill()
        between, _ = await speak(stream)  # one warning of what was under way there
        after, reasons = await speak(stream)
    assert not any("restarted" in reason for reason in reasons)
    assert sum("audio_timestamp" in frame for frame in after) == 50
    assert [frame for frame, _ in decoded(before + between + after)]
    assert json.loads(server.get("/health")[1])["models_loaded"]
    assert await asyncio.to_thread(server.process.end) == 0, server.process.output
    assert "Traceback" not in server.process.output, server.process.output
