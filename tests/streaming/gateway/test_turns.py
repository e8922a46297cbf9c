import asyncio

import pytest

from streaming.gateway.turns import LARGE_BYTES, turn


@pytest.mark.parametrize("size_bytes", [LARGE_BYTES - 1, LARGE_BYTES])
async def test_the_loop_passes_between_large_messages(size_bytes):
    worked, heartbeats = 0, []

    async def work():
        nonlocal worked
        async with turn(size_bytes):
            worked += 1

    tasks = [asyncio.create_task(work()) for _ in range(20)]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        heartbeats.append(worked)
    steps = [b - a for a, b in zip([0, *heartbeats], heartbeats, strict=False)]
    assert max(steps) == (1 if size_bytes == LARGE_BYTES else 20)


async def test_a_fault_leaves_the_turn_to_the_next():
    with pytest.raises(RuntimeError):
        async with turn(LARGE_BYTES):
            raise RuntimeError
    async with asyncio.timeout(1), turn(LARGE_BYTES):
        pass
