"""The engine process's two sides on one event loop, over a real socket: as in one process."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from inference.assets import manifest as manifests
from inference.engines.access import EngineAccess, MouthRequest, MouthResult
from inference.engines.base import RenderRefusal
from inference.engines.in_process import InProcessEngine
from inference.engines.learned_lead import STEP_S, WINDOW_S
from inference.engines.process import client as clients
from inference.engines.process.client import RESTARTING, EngineProcessClient
from inference.engines.process.server import LOOK_EVERY_S, EngineServer
from inference.errors import AvatarInvalid, EngineError, EngineUnavailable
from inference.media.types import AudioWindow, Patch
from tests.factories import make_avatar
from tests.fakes import HeldPool, InlinePool, LoudnessEngine
from tests.recorded_spans import recorded_spans

VERSION = "1"


class ShadowingEngine(LoudnessEngine):
    """Its patch is what it reads of the picture, darkened by the loudness."""

    ready: bool = True

    def is_ready(self, avatar, clip):
        return self.ready

    def render(self, jobs):
        made = []
        for job in jobs:
            x, y, width, height = self.region(job.avatar, job.clip, job.index)
            luma = job.picture[y : y + height, x : x + width]
            shade = np.full((height // 2, width // 2), 128, np.uint8)
            dark = (luma * (1 - float(job.features[0]) * job.strength)).round().astype(np.uint8)
            made.append(Patch(x, y, dark, shade, shade + 1))
        return made


@dataclass
class Machine:
    """An engine process that can be ended and started, and runtimes."""

    folder: Path
    engine: ShadowingEngine = field(default_factory=ShadowingEngine)
    pool: HeldPool = field(default_factory=HeldPool)
    clients: list[EngineProcessClient] = field(default_factory=list)
    version: str = VERSION

    def __post_init__(self) -> None:
        self.address = self.folder / "engine"
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(self.address))
        self.listening.listen()
        self.listening.setblocking(False)
        self.serving: asyncio.Task[None] | None = None
        self.server: EngineServer | None = None

    def start(self) -> None:
        access = InProcessEngine(
            self.engine, pool=self.pool, avatar_pool=InlinePool(), now_s=time.monotonic
        )
        self.server = EngineServer(access, version=self.version)
        self.serving = asyncio.create_task(self.server.run(self.listening.dup()))

    async def end(self) -> None:
        assert self.serving is not None
        assert self.server is not None
        self.serving.cancel()
        with suppress(asyncio.CancelledError):
            await self.serving
        self.server.close()

    async def runtime(self) -> EngineProcessClient:
        client = EngineProcessClient(self.address, pool=InlinePool(), version=VERSION)
        self.clients.append(client)
        await asyncio.wait_for(client.connect(), 5)
        return client


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    make_avatar(tmp_path / "ada", clips={"idle_0": 3})
    machine = Machine(tmp_path)
    machine.start()
    yield machine
    for client in machine.clients:
        await client.close()
    await machine.end()
    machine.listening.close()


async def until(holds: Callable[[], object], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while True:
            if holds():
                return
            await asyncio.sleep(0.01)


def picture() -> np.ndarray:
    rows = np.arange(768, dtype=np.uint8)[:, None]
    return np.broadcast_to(rows, (768, 512)).copy()


def a_request(avatar, *, loudness: float = 0.5, index: int = 0) -> MouthRequest:
    samples = np.full(320 + 640, round(loudness * 32_768) / 32_768, np.float32)
    return MouthRequest(
        avatar=avatar,
        clip="idle_0",
        index=index,
        read_picture=picture,
        window=AudioWindow(samples, frames=1),
        strength=1.0,
        deadline_s=time.monotonic() + 5,
    )


async def ask(client: EngineAccess, request: MouthRequest) -> MouthResult | Exception:
    answer: asyncio.Future[MouthResult | Exception] = asyncio.get_running_loop().create_future()
    client.submit(request, answer.set_result)
    return await asyncio.wait_for(answer, 5)


async def open_ada(client: EngineProcessClient, machine: Machine):
    folder = machine.folder / "ada"
    return await asyncio.wait_for(client.open_avatar(folder, manifests.read(folder)), 5)


async def test_a_mouth_is_the_same_as_in_one_process(machine: Machine) -> None:
    client = await machine.runtime()
    assert (client.name, client.context) == ("loudness", machine.engine.context)
    avatar = await open_ada(client, machine)
    await until(lambda: client.is_ready(avatar, "idle_0"))
    request = a_request(avatar)
    result = await ask(client, request)
    assert isinstance(result, MouthResult)
    assert isinstance(result.made, Patch)
    [features] = machine.engine.listen([request.window])
    machine.engine.windows.pop()
    from inference.engines.base import RenderJob

    [alone] = machine.engine.render(
        [RenderJob("1", "idle_0", 0, picture(), features[0], request.strength)]
    )
    assert result.made.rectangle == alone.rectangle
    for ours, theirs in zip(
        (result.made.y_plane, result.made.u_plane, result.made.v_plane),
        (alone.y_plane, alone.u_plane, alone.v_plane),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(result.picture, picture())
    np.testing.assert_array_equal(machine.engine.windows[-1].samples, request.window.samples)


async def test_a_span_has_a_part_in_the_engine_process(machine: Machine) -> None:
    client = await machine.runtime()
    avatar = await open_ada(client, machine)
    await until(lambda: client.is_ready(avatar, "idle_0"))
    with recorded_spans() as spans:
        whole = spans.tracer.begin("worker's")
        await ask(client, replace(a_request(avatar), trace=whole.context))
        await ask(client, a_request(avatar))
        whole.end()
    assert spans.names == ["engine.mouth", "engine.request", "worker's"]
    assert spans.path(spans.ended[0]) == ["engine.mouth", "engine.request", "worker's"]


async def test_runtimes_share_batches(machine: Machine) -> None:
    first, second = await machine.runtime(), await machine.runtime()
    avatars = [await open_ada(client, machine) for client in (first, second)]
    await until(lambda: second.is_ready(avatars[1], "idle_0"))
    machine.pool.is_held = True
    asked = [
        asyncio.create_task(ask(client, a_request(avatar)))
        for client, avatar in ((first, avatars[0]), (first, avatars[0]), (second, avatars[1]))
    ]
    await until(lambda: machine.server.waiting == 3)
    machine.pool.release()
    results = await asyncio.gather(*asked)
    assert all(isinstance(result, MouthResult) for result in results)


@pytest.mark.parametrize(("capacity", "steps"), [(None, 1), (19, 1), (0, 0)])
async def test_late_mouths_make_the_lead_longer(
    machine: Machine, capacity: int | None, steps: int
) -> None:
    """Made late, and withdrawn because they were not made in time; a device may be too slow."""
    machine.engine.capacity = capacity
    client = await machine.runtime()
    avatar = await open_ada(client, machine)
    reckoned_s = client.lead_s
    late = [replace(a_request(avatar), deadline_s=time.monotonic() - 1) for _ in range(12)]
    for request in late[:6]:
        await ask(client, request)
    machine.pool.is_held = True
    for request in late[6:]:
        client.submit(request, lambda result: None)
        client.withdraw(request)
    machine.pool.release()
    await asyncio.sleep(1.1 * WINDOW_S)
    await ask(client, a_request(avatar))
    await asyncio.sleep(2 * LOOK_EVERY_S)
    await until(lambda: client.lead_s == pytest.approx(reckoned_s + steps * STEP_S))


async def test_what_is_withdrawn_is_not_answered(machine: Machine) -> None:
    client = await machine.runtime()
    avatar = await open_ada(client, machine)
    machine.pool.is_held = True
    answers = []
    requests = [a_request(avatar) for _ in range(3)]
    for request in requests:
        client.submit(request, answers.append)
    await until(lambda: machine.server.waiting == 3)
    for request in requests:
        client.withdraw(request)
    await until(lambda: machine.server.waiting == 0)
    machine.pool.release()
    result = await ask(client, a_request(avatar))
    assert isinstance(result, MouthResult)
    assert answers == []


async def test_refusals_and_faults_come_back(machine: Machine) -> None:
    client = await machine.runtime()
    avatar = await open_ada(client, machine)
    machine.engine.fails = True
    result = await ask(client, a_request(avatar))
    assert isinstance(result, EngineError)
    assert str(result) == "engine_failed"
    await until(lambda: not client.state().is_healthy)
    machine.engine.fails = False
    await until(lambda: client.state().is_healthy)
    machine.engine.render = lambda jobs: [RenderRefusal("not today") for _ in jobs]
    result = await ask(client, a_request(avatar))
    assert isinstance(result, MouthResult)
    assert result.made == RenderRefusal("not today")


async def test_clips_become_ready_while_sessions_run(machine: Machine) -> None:
    machine.engine.ready = False
    client = await machine.runtime()
    avatar = await open_ada(client, machine)
    assert not client.is_ready(avatar, "idle_0")
    machine.engine.ready = True
    await until(lambda: client.is_ready(avatar, "idle_0"))


async def test_what_was_made_of_a_picture_that_the_engine_was_not_sent_is_not_shown(
    machine: Machine,
) -> None:
    """A runtime that was not told yet that a clip is ready sends no picture with its requests."""
    machine.engine.ready = False
    client = await machine.runtime()
    avatar = await open_ada(client, machine)
    machine.engine.ready = True
    result = await ask(client, a_request(avatar))
    assert isinstance(result, MouthResult)
    assert result.made is None
    await until(lambda: client.is_ready(avatar, "idle_0"))
    result = await ask(client, a_request(avatar))
    assert isinstance(result, MouthResult)
    assert isinstance(result.made, Patch)


async def test_a_damaged_avatar_is_refused(machine: Machine) -> None:
    client = await machine.runtime()
    folder = machine.folder / "ada"
    manifest = manifests.read(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(AvatarInvalid):
        await asyncio.wait_for(client.open_avatar(folder, manifest), 5)


async def test_places_are_counted_on_the_whole_machine(machine: Machine) -> None:
    machine.engine.capacity = 7
    first, second = await machine.runtime(), await machine.runtime()
    first.report_speaking(3)
    await until(lambda: second.speaking_elsewhere == 3)
    second.report_speaking(2)
    await until(lambda: first.speaking_elsewhere == 2)
    await until(lambda: (first.capacity, second.capacity) == (7, 7))
    await second.close()
    await until(lambda: first.speaking_elsewhere == 0)


async def test_an_engine_process_that_ends_is_waited_for(machine: Machine) -> None:
    client = await machine.runtime()
    avatar = await open_ada(client, machine)
    client.report_speaking(1)
    machine.pool.is_held = True
    asked = asyncio.create_task(ask(client, a_request(avatar)))
    await until(lambda: machine.pool.held)
    await machine.end()
    lost = await asked
    assert isinstance(lost, EngineError)
    assert str(lost) == RESTARTING
    assert not client.state().is_healthy
    assert not client.is_ready(avatar, "idle_0")
    assert isinstance(await ask(client, a_request(avatar)), EngineError)
    machine.pool.release()
    machine.start()
    await until(lambda: client.is_ready(avatar, "idle_0"))
    assert client.state().is_healthy
    assert isinstance(await ask(client, a_request(avatar)), MouthResult)
    await until(lambda: machine.server.speaking == 1)


async def test_an_avatar_is_opened_once_for_all_runtimes(machine: Machine) -> None:
    opened: list[Path] = []
    open_avatar = machine.engine.open_avatar

    def counted(folder, manifest):
        opened.append(folder)
        return open_avatar(folder, manifest)

    machine.engine.open_avatar = counted
    clients = [await machine.runtime() for _ in range(4)]
    await asyncio.gather(*(open_ada(client, machine) for client in clients))
    assert len(opened) == 1


async def test_an_avatar_that_is_being_opened_when_the_engine_dies_is_opened_by_the_next(
    machine: Machine,
) -> None:
    client = await machine.runtime()
    opening = asyncio.create_task(open_ada(client, machine))
    await asyncio.sleep(0)
    await machine.end()
    avatar = await opening
    assert not client.is_ready(avatar, "idle_0")
    machine.start()
    await until(lambda: client.is_ready(avatar, "idle_0"))


async def test_an_avatar_that_nobody_uses_is_forgotten(machine: Machine) -> None:
    first, second = await machine.runtime(), await machine.runtime()
    avatars = [await open_ada(client, machine) for client in (first, second)]
    assert machine.server.avatars == 1
    first.close_avatar(avatars[0])
    await ask(second, a_request(avatars[1]))
    assert machine.server.avatars == 1
    await second.close()
    await until(lambda: machine.server.avatars == 0)


async def test_an_avatar_that_is_closed_while_it_is_opened_is_forgotten(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new engine process opens all avatars again, which takes seconds with MuseTalk."""
    client = await machine.runtime()
    avatar = await open_ada(client, machine)
    await machine.end()
    machine.start()
    assert machine.server is not None
    may_open = asyncio.Event()
    open_avatar = machine.server._engine.open_avatar

    async def open_late(folder, manifest):
        await may_open.wait()
        return await open_avatar(folder, manifest)

    monkeypatch.setattr(machine.server._engine, "open_avatar", open_late)
    await until(lambda: machine.server._opening.locked())
    client.close_avatar(avatar)
    await asyncio.sleep(3 * LOOK_EVERY_S)
    may_open.set()
    await until(lambda: not machine.server._tasks)
    assert machine.server.avatars == 0


async def test_a_folder_that_was_replaced_is_not_opened_for_the_clips_of_before(
    machine: Machine,
) -> None:
    client = await machine.runtime()
    manifest = manifests.read(machine.folder / "ada")
    avatar = await open_ada(client, machine)
    (machine.folder / "ada").rename(machine.folder / "before")
    make_avatar(machine.folder / "ada", clips={"idle_0": 4}, version="2")
    await machine.end()
    await until(lambda: not client.state().is_healthy)
    machine.start()
    await until(lambda: client.state().is_healthy)
    with pytest.raises(AvatarInvalid, match="replaced"):
        await asyncio.wait_for(client.open_avatar(machine.folder / "ada", manifest), 5)
    assert not client.is_ready(avatar, "idle_0"), "nor by an engine that began since"


async def test_an_engine_that_does_not_open_an_avatar_is_not_waited_for(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "OPEN_WITHIN_S", 0.1)
    client = await machine.runtime()
    assert machine.server is not None
    may_open = asyncio.Event()
    open_avatar = machine.server._engine.open_avatar

    async def open_late(folder, manifest):
        await may_open.wait()
        return await open_avatar(folder, manifest)

    monkeypatch.setattr(machine.server._engine, "open_avatar", open_late)
    avatar = await open_ada(client, machine)
    refused = await ask(client, a_request(avatar))
    assert isinstance(refused, EngineError)
    assert str(refused) == clients.OPENING
    may_open.set()
    await until(lambda: client.is_ready(avatar, "idle_0"))
    assert isinstance(await ask(client, a_request(avatar)), MouthResult)


async def test_another_version_is_not_used(machine: Machine) -> None:
    await machine.end()
    machine.version = "2"
    machine.start()
    with pytest.raises(EngineUnavailable, match="version 2"):
        await machine.runtime()


async def test_a_call_is_in_the_numbers_of_one_runtime_alone(machine: Machine) -> None:
    runtimes = [await machine.runtime() for _ in range(2)]
    avatars = [await open_ada(client, machine) for client in runtimes]
    for _ in range(3):
        for client, avatar in zip(runtimes, avatars, strict=True):
            await ask(client, a_request(avatar))

    def total(name: str) -> int:
        return sum(sum(getattr(client.calls, name).counts) for client in runtimes)

    await until(lambda: total("sizes") >= 6)
    assert (total("sizes"), total("durations")) == (6, 6)
    assert sum(client.calls.sizes.total for client in runtimes) == 6
    assert sum(client.calls.durations.total_s for client in runtimes) > 0
