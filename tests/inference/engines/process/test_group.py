"""Engine processes of several devices: real sockets, and engines that show loudness."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from inference.assets import manifest as manifests
from inference.engines.access import MouthResult
from inference.engines.process.client import RESTARTING, EngineProcessClient
from inference.engines.process.group import EngineGroup
from inference.errors import AvatarInvalid, EngineUnavailable
from tests.factories import make_avatar
from tests.fakes import InlinePool
from tests.inference.engines.process.test_engine_process import (
    VERSION,
    Machine,
    a_request,
    ask,
    until,
)


class TwoDevices:
    """Two engine processes, one machine, and runtimes."""

    def __init__(self, folder: Path) -> None:
        make_avatar(folder / "ada", clips={"idle_0": 3})
        self.machines = []
        for name in ("first", "second"):
            (folder / name).mkdir()
            self.machines.append(Machine(folder / name))
        self.folder = folder / "ada"
        self.groups: list[EngineGroup] = []

    def group(self) -> EngineGroup:
        clients = [
            EngineProcessClient(machine.address, pool=InlinePool(), version=VERSION)
            for machine in self.machines
        ]
        self.groups.append(EngineGroup(clients))
        return self.groups[-1]

    async def connected(self) -> EngineGroup:
        group = self.group()
        await asyncio.wait_for(group.connect(), 5)
        return group

    async def open(self, group: EngineGroup):
        opening = group.open_avatar(self.folder, manifests.read(self.folder))
        return await asyncio.wait_for(opening, 5)

    @property
    def calls(self) -> list[int]:
        return [len(machine.engine.windows) for machine in self.machines]


@pytest.fixture
async def devices(tmp_path: Path) -> AsyncIterator[TwoDevices]:
    devices = TwoDevices(tmp_path)
    for machine in devices.machines:
        machine.start()
    yield devices
    for group in devices.groups:
        await group.close()
    for machine in devices.machines:
        await machine.end()
        machine.listening.close()


async def both_ready(devices: TwoDevices, group: EngineGroup, avatar) -> None:
    await until(
        lambda: all(
            client.is_ready(opened, "idle_0")
            for client, opened in zip(group._clients, avatar.opened, strict=True)
        )
    )


async def test_mouths_are_made_on_both_devices(devices: TwoDevices) -> None:
    group = await devices.connected()
    assert (group.name, group.context) == ("loudness", devices.machines[0].engine.context)
    avatar = await devices.open(group)
    await both_ready(devices, group, avatar)
    results = [await ask(group, a_request(avatar, index=n % 3)) for n in range(20)]
    assert all(isinstance(result, MouthResult) for result in results)
    assert devices.calls == [10, 10]
    await until(lambda: group.calls.sizes.total == 20)


async def test_a_device_that_is_busy_is_not_given_more(devices: TwoDevices) -> None:
    group = await devices.connected()
    avatar = await devices.open(group)
    await both_ready(devices, group, avatar)
    busy, free = devices.machines
    busy.pool.is_held = True
    asked = [asyncio.create_task(ask(group, a_request(avatar))) for _ in range(2)]
    await until(lambda: busy.pool.held)
    for _ in range(10):
        assert isinstance(await ask(group, a_request(avatar)), MouthResult)
    assert len(free.engine.windows) >= 10
    busy.pool.release()
    await asyncio.gather(*asked)


async def test_places_add_up_and_are_counted_once(devices: TwoDevices) -> None:
    devices.machines[0].engine.capacity, devices.machines[1].engine.capacity = 7, 5
    first, second = await devices.connected(), await devices.connected()
    await until(lambda: (first.capacity, second.capacity) == (12, 12))
    first.report_speaking(3)
    await until(lambda: second.speaking_elsewhere == 3)
    assert first.speaking_elsewhere == 0


async def test_the_other_device_takes_the_part_of_one_that_ended(devices: TwoDevices) -> None:
    devices.machines[0].engine.capacity = devices.machines[1].engine.capacity = 5
    group = await devices.connected()
    avatar = await devices.open(group)
    await both_ready(devices, group, avatar)
    group.report_speaking(2)
    await devices.machines[0].end()
    await until(lambda: group.capacity == 5)
    assert group.state().is_healthy
    assert RESTARTING in group.state().message
    for _ in range(6):
        assert isinstance(await ask(group, a_request(avatar)), MouthResult)
    devices.machines[0].start()
    await both_ready(devices, group, avatar)
    await until(lambda: devices.machines[0].server.speaking == 2)
    before = devices.calls[0]
    for _ in range(6):
        assert isinstance(await ask(group, a_request(avatar)), MouthResult)
    assert devices.calls[0] == before + 3


async def test_one_that_is_still_loading_is_not_waited_for(devices: TwoDevices) -> None:
    await devices.machines[1].end()
    group = await devices.connected()
    avatar = await devices.open(group)
    assert isinstance(await ask(group, a_request(avatar)), MouthResult)
    devices.machines[1].start()
    await both_ready(devices, group, avatar)


async def test_one_that_cannot_run_leaves_the_others(devices: TwoDevices) -> None:
    await devices.machines[0].end()
    devices.machines[0].version = "2"
    devices.machines[0].start()
    group = await devices.connected()
    avatar = await devices.open(group)
    assert isinstance(await ask(group, a_request(avatar)), MouthResult)
    await until(lambda: "version 2" in group.state().message)
    assert group.state().is_healthy


async def test_without_any_there_is_no_engine(devices: TwoDevices) -> None:
    for machine in devices.machines:
        await machine.end()
        machine.version = "2"
        machine.start()
    with pytest.raises(EngineUnavailable, match="version 2"):
        await devices.connected()


async def test_a_damaged_avatar_is_open_nowhere(devices: TwoDevices) -> None:
    group = await devices.connected()
    manifest = manifests.read(devices.folder)
    (devices.folder / "manifest.json").write_text("{")
    with pytest.raises(AvatarInvalid):
        await asyncio.wait_for(group.open_avatar(devices.folder, manifest), 5)
    assert [machine.server.avatars for machine in devices.machines] == [0, 0]


async def test_what_is_withdrawn_is_not_answered(devices: TwoDevices) -> None:
    group = await devices.connected()
    avatar = await devices.open(group)
    await both_ready(devices, group, avatar)
    for machine in devices.machines:
        machine.pool.is_held = True
    answers = []
    requests = [a_request(avatar) for _ in range(6)]
    for request in requests:
        group.submit(request, answers.append)
    await until(lambda: [machine.server.waiting for machine in devices.machines] == [3, 3])
    for request in requests:
        group.withdraw(request)
    await until(lambda: group._forwarded == {})
    await until(lambda: [machine.server.waiting for machine in devices.machines] == [0, 0])
    for machine in devices.machines:
        machine.pool.release()
    assert isinstance(await ask(group, a_request(avatar)), MouthResult)
    assert answers == []
