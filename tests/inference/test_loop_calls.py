"""What a loop's thread keeps is looked at in that thread."""

import asyncio
import threading

import pytest

from inference import loop_calls
from inference.loop_calls import call_in_loop


async def test_another_thread_s_call_is_made_in_the_thread_of_the_loop() -> None:
    loop = asyncio.get_running_loop()
    own = threading.get_ident()
    assert await asyncio.to_thread(call_in_loop, loop, threading.get_ident, 0) == own
    assert call_in_loop(loop, threading.get_ident, 0) == own, "in the loop itself it is at once"


async def test_what_it_raises_is_raised_there() -> None:
    loop = asyncio.get_running_loop()
    for error in (ValueError("no"), RuntimeError("no"), TimeoutError("no")):

        def fails(error: Exception = error) -> None:
            raise error

        with pytest.raises(type(error), match="no"):
            await asyncio.to_thread(call_in_loop, loop, fails, None)


async def test_a_loop_that_stands_still_or_has_ended_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop_calls, "WITHIN_S", 0.05)
    other = asyncio.new_event_loop()
    assert await asyncio.to_thread(call_in_loop, other, lambda: 1, 2) == 2
    other.close()
    assert await asyncio.to_thread(call_in_loop, other, lambda: 1, 2) == 2
