"""Which sessions a host has: claims, offers, and how each of them ends."""

import asyncio

import msgspec
import pytest

from inference.messages import (
    LayerMessage,
    SessionAlive,
    SessionClaimed,
    SessionEnded,
    SessionRefused,
    SessionStop,
)
from inference.runtime.host import OFFER_S
from tests.fakes import settle
from tests.inference.conftest import FRAME_S, Harness, assert_contiguous, tone


async def test_frames_come_between_acceptance_and_stop_only(
    harness: Harness,
) -> None:
    gateway = harness.gateway()
    harness.host.claim(gateway.start(), worker_channel="worker!1")
    await settle()
    await harness.clock.advance(1)
    assert not gateway.frames
    await harness.clock.advance(20)
    assert harness.host.report().sessions == 0
    other = harness.gateway("b")
    await other.open()
    await harness.clock.advance(1)
    harness.host.submit(SessionStop(claim_id="b"))
    sent = len(other.frames)
    await harness.clock.advance(1)
    assert len(other.frames) == sent


async def test_a_session_ends_with_its_gateway(harness: Harness) -> None:
    gone, there = harness.gateway("a"), harness.gateway("b")
    await gone.open()
    await there.open()
    for _ in range(6):
        await harness.clock.advance(5)
        harness.host.submit(SessionAlive(claim_id="b"))
    assert harness.host.report().sessions == 1
    assert len(gone.frames) == pytest.approx(15 * 25, abs=3)
    assert len(there.frames) == pytest.approx(30 * 25, abs=3)


async def test_an_unknown_avatar_is_refused(harness: Harness) -> None:
    gateway = harness.gateway()
    start = gateway.start()
    unknown = msgspec.structs.replace(start, avatar_folder="nobody")
    harness.host.claim(unknown, worker_channel="worker!1")
    await settle()
    (refused,) = gateway.of(SessionRefused)
    assert refused.reason == "avatar"


async def test_sessions_are_spread_over_the_frame_time(harness: Harness) -> None:
    for number in range(8):
        await harness.gateway(str(number)).open()
    phases = {round(s.clock.origin_s % FRAME_S, 4) for s in harness.host._sessions()}
    assert len(phases) == 8


async def test_a_worker_channel_that_is_gone_gives_its_sessions_back(harness: Harness) -> None:
    gateway = harness.gateway()
    await gateway.open()
    harness.host.abandon("worker!1")
    await settle()
    assert [message.reason for message in gateway.of(SessionEnded)] == ["error"]
    assert harness.host.report().sessions == 0


async def test_a_claim_that_comes_twice_is_answered_twice_and_opened_once(
    harness: Harness,
) -> None:
    gateway = harness.gateway()
    await gateway.open()
    gateway.send_audio(tone(10), 0)
    await harness.clock.advance(15 * FRAME_S)
    spoken = [frame.position for frame in gateway.frames if frame.position is not None]
    harness.host.claim(gateway.start(), worker_channel="worker!1")
    await settle()
    assert len(gateway.of(SessionClaimed)) == 2
    gateway.send_audio(tone(10), 6_400)
    await harness.clock.advance(20 * FRAME_S)
    spoken = [frame.position for frame in gateway.frames if frame.position is not None]
    assert spoken == [640 * number for number in range(20)]
    assert_contiguous(gateway)
    await asyncio.wait_for(harness.host.drain(), 2)


async def test_two_claims_at_once_open_one_session(harness: Harness) -> None:
    gateway = harness.gateway()
    for _ in range(2):
        harness.host.claim(gateway.start(), worker_channel="worker!1")
    await settle()
    assert harness.host.report().sessions == 1
    await asyncio.wait_for(harness.host.drain(), 2)


async def test_an_offer_that_is_not_accepted_is_withdrawn(harness: Harness) -> None:
    gateway = harness.gateway()
    harness.host.claim(gateway.start(), worker_channel="worker!1")
    await settle()
    assert harness.host.report().sessions == 1
    await harness.clock.advance(OFFER_S + FRAME_S)
    assert harness.host.report().sessions == 0


async def test_draining_ends_although_nothing_is_delivered(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.runtime.host.DRAIN_S", 0.1)
    await harness.gateway().open()

    async def hang(channel: str, message: LayerMessage) -> None:
        await asyncio.Event().wait()

    harness.host._hosted["a"].outbox._deliver = hang
    await asyncio.wait_for(harness.host.drain(), 2)


async def test_a_fault_while_an_avatar_is_opened_is_answered(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(folder: object, manifest: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(harness.engine, "open_avatar", fail)
    gateway = harness.gateway()
    harness.host.claim(gateway.start(), worker_channel="worker!1")
    await settle()
    (refused,) = gateway.of(SessionRefused)
    assert refused.reason == "avatar"
    assert "Too many open files" in refused.message
    assert "session session-a: the avatar could not be opened" in caplog.text


async def test_no_session_begins_after_draining_has(harness: Harness) -> None:
    gateway = harness.gateway()
    harness.host.claim(gateway.start(), worker_channel="worker!1")
    await asyncio.wait_for(harness.host.drain(), 2)
    assert harness.host.report().sessions == 0
    (refused,) = gateway.received
    assert refused.message == "the worker is draining"


async def test_a_refusal_that_is_not_delivered_is_no_fault(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(channel: str, message: LayerMessage) -> None:
        raise ConnectionError("the layer is gone")

    monkeypatch.setattr(harness.host, "_deliver", fail)
    unknown = msgspec.structs.replace(harness.gateway().start(), avatar_folder="nobody")
    harness.host.claim(unknown, worker_channel="worker!1")
    await settle()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
