"""Preparations give way to sessions whose frames are late."""

import asyncio
import os
import signal
import sys
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock

import psutil
import pytest

from avatars_app.preparation import runner as preparation_runner
from avatars_app.preparation.runner import PreparationRunner

AVATAR = cast(Any, SimpleNamespace(user_id="ann", job_id="1", attempts=1))


async def test_a_preparation_is_stopped_while_frames_are_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preparation_runner, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(preparation_runner.services, "preparation_stage", lambda **_: "select")
    monkeypatch.setattr(preparation_runner.services, "preparation_rests", lambda **_: True)
    is_behind = False
    runner = PreparationRunner(lambda: is_behind)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import time\nfor _ in range(1_000): time.sleep(0.01)"
    )
    watching = asyncio.create_task(runner._watch(child, AVATAR, wall_s=60))
    process = psutil.Process(child.pid)

    async def becomes(*, stopped: bool) -> None:
        async with asyncio.timeout(10):
            while True:
                if (process.status() == psutil.STATUS_STOPPED) == stopped:
                    return
                await asyncio.sleep(0.01)

    try:
        await asyncio.sleep(0.2)
        assert process.status() != psutil.STATUS_STOPPED
        is_behind = True
        await becomes(stopped=True)
        is_behind = False
        await becomes(stopped=False)
    finally:
        child.kill()
        assert await watching
        await runner.stop()


async def test_a_pause_has_an_end_and_does_not_count_as_time_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preparation_runner, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(preparation_runner, "PAUSED_AT_MOST_S", 0.5)
    monkeypatch.setattr(preparation_runner.services, "preparation_stage", lambda **_: "select")
    monkeypatch.setattr(preparation_runner.services, "preparation_rests", lambda **_: True)
    runner = PreparationRunner(lambda: True)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import time; time.sleep(0.1)"
    )
    assert await asyncio.wait_for(runner._watch(child, AVATAR, wall_s=20), 15)
    assert child.returncode == 0
    await runner.stop()


async def test_one_that_is_stopped_and_not_wanted_any_more_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rested: list[str] = []

    def rests(*, job_id: str) -> bool:
        rested.append(job_id)
        return len(rested) < 3

    monkeypatch.setattr(preparation_runner, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(preparation_runner.services, "preparation_stage", lambda **_: None)
    monkeypatch.setattr(preparation_runner.services, "preparation_rests", rests)
    runner = PreparationRunner(lambda: True)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import time; time.sleep(60)"
    )
    assert await asyncio.wait_for(runner._watch(child, AVATAR, wall_s=60), 15)
    assert rested[:3] == ["1"] * 3, "it beats while the child cannot"
    assert child.returncode == -signal.SIGTERM
    await runner.stop()


async def test_ctrl_c_reaches_no_preparation(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would have died, and after three of them have been given up; the server ends it."""
    started: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def start_another(*_command: str, **options: Any) -> asyncio.subprocess.Process:
        started.append(await start(sys.executable, "-c", "input()", **options))
        return started[0]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start_another)
    monkeypatch.setattr(preparation_runner, "_close", lambda *_: None)
    monkeypatch.setattr(PreparationRunner, "_watch", AsyncMock(return_value=True))
    groups: list[int] = []
    monkeypatch.setattr(
        preparation_runner,
        "_end",
        AsyncMock(side_effect=lambda it: groups.append(os.getpgid(it.pid))),
    )
    runner = PreparationRunner()
    await runner._prepare(AVATAR)
    await started[0].wait()
    assert groups == [started[0].pid]
    await runner.stop()
