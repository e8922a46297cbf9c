"""Which connection is closed when its session is opened at another gateway."""

import asyncio
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from streaming.gateway import takeover

SESSION_ID = "6F1C2E1A-5B0E-4C53-9D0B-0B3B7D7D7F10"


async def told(layer: InMemoryChannelLayer, channel: str) -> dict[str, Any] | None:
    try:
        return await asyncio.wait_for(layer.receive(channel), 0.05)
    except TimeoutError:
        return None


async def test_the_older_connection_is_reported_and_nobody_else() -> None:
    layer = InMemoryChannelLayer()
    older, newer, other = [await layer.new_channel() for _ in range(3)]
    await takeover.take_over(layer, SESSION_ID, user_id="me", channel=older)
    await takeover.take_over(layer, "another", user_id="me", channel=other)
    await takeover.take_over(layer, SESSION_ID.lower(), user_id="me", channel=newer)
    message = await told(layer, older)
    assert message is not None
    assert message["type"] == takeover.OPENED_ELSEWHERE
    assert takeover.is_taken_over(message, user_id="me", channel=older)
    assert not takeover.is_taken_over(message, user_id="another", channel=older)
    assert not takeover.is_taken_over(message, user_id="me", channel=newer)
    assert await told(layer, newer) is None
    assert await told(layer, other) is None


async def test_who_let_go_is_reported_nothing() -> None:
    layer = InMemoryChannelLayer()
    older, newer = [await layer.new_channel() for _ in range(2)]
    await takeover.take_over(layer, SESSION_ID, user_id="me", channel=older)
    await takeover.let_go(layer, SESSION_ID, older)
    await takeover.take_over(layer, SESSION_ID, user_id="me", channel=newer)
    assert await told(layer, older) is None


@pytest.mark.parametrize(
    ("error", "lines"), [(OSError("broken"), ["WARNING"] * 2), (ConnectionError("lost"), [])]
)
async def test_a_layer_that_fails_is_a_line_in_the_log_unless_it_logs_its_outages_itself(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    lines: list[str],
) -> None:
    async def away(*_: object) -> None:
        raise error

    layer = InMemoryChannelLayer()
    monkeypatch.setattr(layer, "group_send", away)
    monkeypatch.setattr(layer, "group_discard", away)
    await takeover.take_over(layer, SESSION_ID, user_id="me", channel="here")
    await takeover.let_go(layer, SESSION_ID, "here")
    assert [record.levelname for record in caplog.records if record.levelno > 10] == lines
