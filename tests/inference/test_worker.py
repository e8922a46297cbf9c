"""The worker at the layers: claims taken, strangers' messages survived, sessions given back."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from channels.layers import BaseChannelLayer, channel_layers, get_channel_layer
from channels.routing import ChannelNameRouter

from inference import worker as workers
from inference.engines.engine_selection import EngineChoice
from inference.messages import (
    CLAIM_LAYER,
    INFERENCE_CHANNEL,
    MEDIA_LAYER,
    LayerMessage,
    SessionAccepted,
    SessionClaimed,
    SessionEnded,
    SessionStart,
    VideoFrame,
    from_layer,
)
from inference.runtime.calibration import WARM_UP_FRAMES
from inference.runtime.host_report import HostReport
from inference.worker import ClaimListener, InferenceConsumer, InferenceWorker
from tests.fakes import LoudnessEngine

SOON_S = 3.0


class LayerGateway:
    """A gateway's end of the layers."""

    def __init__(self, channel: str) -> None:
        self.channel = channel

    async def claim(self, claim_id: str, **extra: Any) -> None:
        start = SessionStart(
            claim_id=claim_id,
            session_id="s",
            reply_channel=self.channel,
            avatar_folder="test",
            avatar_version="1",
        )
        await layer(CLAIM_LAYER).send(INFERENCE_CHANNEL, {**start.to_layer(), **extra})

    async def receive(self) -> LayerMessage:
        return from_layer(await asyncio.wait_for(layer(MEDIA_LAYER).receive(self.channel), SOON_S))

    async def claimed(self, claim_id: str) -> SessionClaimed:
        await self.claim(claim_id)
        answer = await self.receive()
        assert isinstance(answer, SessionClaimed)
        return answer


def layer(alias: str) -> BaseChannelLayer:
    found = get_channel_layer(alias)
    assert found is not None
    return found


@pytest.fixture
async def worker(
    avatars_dir: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[InferenceWorker]:
    channel_layers.backends.clear()
    settings.AVATARS_DIR = avatars_dir
    monkeypatch.setattr(
        workers, "choose_engine", lambda **_: EngineChoice(LoudnessEngine(), "for the test")
    )
    worker = InferenceWorker(ChannelNameRouter({INFERENCE_CHANNEL: InferenceConsumer.as_asgi()}))
    await worker.start()
    yield worker
    await worker.drain()
    channel_layers.backends.clear()


@pytest.fixture
async def gateway(worker: InferenceWorker) -> LayerGateway:
    return LayerGateway(await layer(MEDIA_LAYER).new_channel())


@pytest.mark.parametrize("fails", [False, True])
async def test_it_has_made_speaking_frames_before_its_first_session(
    avatars_dir: Path, settings: Any, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    settings.AVATARS_DIR, settings.SPEAKING_PLACES = avatars_dir, 1
    engine = LoudnessEngine()
    engine.fails = fails
    monkeypatch.setattr(workers, "choose_engine", lambda **_: EngineChoice(engine, "for the test"))
    worker = InferenceWorker(ChannelNameRouter({}))
    await worker.start()
    assert len(engine.windows) == (0 if fails else WARM_UP_FRAMES)
    assert worker.report() is not None
    await worker.drain()


async def test_requests_in_other_threads_have_it_report_in_its_own(
    worker: InferenceWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There its sessions come and go, and what it sends to an engine is written."""
    threads: list[int] = []
    host = worker._host
    assert host is not None
    report = host.report

    def reported() -> HostReport:
        threads.append(threading.get_ident())
        return report()

    monkeypatch.setattr(host, "report", reported)
    found = await asyncio.to_thread(worker.report)
    assert found is not None
    assert threads == [threading.get_ident()]


async def test_a_claim_is_answered_and_accepted_frames_come(
    worker: InferenceWorker, gateway: LayerGateway
) -> None:
    claimed = await gateway.claimed("c")
    assert (claimed.engine, claimed.worker) == ("loudness", worker.name)
    await layer(MEDIA_LAYER).send(claimed.worker_channel, SessionAccepted(claim_id="c").to_layer())
    frames = [await gateway.receive() for _ in range(5)]
    assert [f.frame for f in frames if isinstance(f, VideoFrame)] == list(range(5))


async def test_a_message_that_is_not_ours_hurts_nobody(
    worker: InferenceWorker, gateway: LayerGateway
) -> None:
    claimed = await gateway.claimed("c")
    await layer(CLAIM_LAYER).send(INFERENCE_CHANNEL, {"type": "boom"})
    await layer(MEDIA_LAYER).send(claimed.worker_channel, {"type": "audio.chunk", "pcm": 3})
    await layer(MEDIA_LAYER).send(claimed.worker_channel, SessionAccepted(claim_id="c").to_layer())
    assert isinstance(await gateway.receive(), VideoFrame)


async def test_draining_gives_sessions_back(worker: InferenceWorker, gateway: LayerGateway) -> None:
    claimed = await gateway.claimed("c")
    await layer(MEDIA_LAYER).send(claimed.worker_channel, SessionAccepted(claim_id="c").to_layer())
    await gateway.receive()
    await worker.drain()
    while isinstance(message := await gateway.receive(), VideoFrame):
        pass
    assert message == SessionEnded(claim_id="c", reason="drain")


async def test_a_task_that_dies_is_reported(
    avatars_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaths: asyncio.Queue[str] = asyncio.Queue()
    monkeypatch.setattr(
        workers, "choose_engine", lambda **_: EngineChoice(LoudnessEngine(), "for the test")
    )

    async def broken(_listener: ClaimListener) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(ClaimListener, "arun", broken)
    worker = InferenceWorker(ChannelNameRouter({}), on_death=deaths.put_nowait)
    await worker.start()
    assert "claims died: ZeroDivisionError" in await asyncio.wait_for(deaths.get(), SOON_S)
    await worker.drain()


@pytest.mark.parametrize("ends", [True, False])
async def test_a_worker_of_its_own_ends_with_an_engine_that_is_lost(
    avatars_dir: Path, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    deaths: asyncio.Queue[str] = asyncio.Queue()
    engine = LoudnessEngine()
    monkeypatch.setattr(workers, "choose_engine", lambda **_: EngineChoice(engine, "for the test"))
    monkeypatch.setattr(workers, "REPORT_EVERY_S", 0.01)
    worker = InferenceWorker(
        ChannelNameRouter({}), on_death=deaths.put_nowait, ends_with_engine=ends
    )
    await worker.start()
    await asyncio.sleep(0.1)
    assert deaths.empty()
    engine.is_lost = True
    if ends:
        assert "EngineLost" in await asyncio.wait_for(deaths.get(), SOON_S)
    else:
        await asyncio.sleep(0.1)
        assert deaths.empty()
    await worker.drain()


async def test_draining_has_a_time_limit(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A session that cannot be given back does not keep the process."""
    monkeypatch.setattr(
        workers, "choose_engine", lambda **_: EngineChoice(LoudnessEngine(), "test")
    )
    monkeypatch.setattr("inference.runtime.host.DRAIN_S", 0.1)
    worker = InferenceWorker(ChannelNameRouter({}))
    await worker.start()

    async def never() -> None:
        await asyncio.Future()

    assert worker._host is not None
    worker._host._spawn(never())
    await asyncio.wait_for(worker.drain(), 2)
    assert "not all sessions could be given back" in caplog.text


async def test_claims_are_read_again_after_an_outage_of_redis(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "RETRY_AFTER_S", 0.01)

    class Flaky:
        def __init__(self) -> None:
            self.calls = 0

        async def receive(self, _channel: str) -> dict[str, Any]:
            self.calls += 1
            if self.calls <= 2:
                raise ConnectionError("refused")
            if self.calls == 3:
                return {"type": "session.start"}
            return await asyncio.Future()

    seen: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "worker.begin"
        seen.put_nowait(await receive())

    flaky: Any = Flaky()
    listening = asyncio.create_task(ClaimListener(application, ["inference"], flaky).arun())
    assert await asyncio.wait_for(seen.get(), SOON_S) == {"type": "session.start"}
    listening.cancel()
