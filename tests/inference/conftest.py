"""A host on a held clock, with a small avatar and a gateway that records its messages."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.assets.library import AvatarLibrary
from inference.core_turns import CoreTurns
from inference.engines.in_process import InProcessEngine
from inference.messages import (
    AudioChunk,
    LayerMessage,
    SessionAccepted,
    SessionClaimed,
    SessionStart,
    VideoFrame,
)
from inference.runtime.host import Host
from inference.runtime.learned_places import LearnedPlaces
from tests.factories import make_avatar
from tests.fakes import HeldPool, InlinePool, LoudnessEngine, ManualClock, settle

FRAME_S = 0.04


class FakeGateway:
    """Sends what a gateway sends to a host, and records the answers."""

    def __init__(self, host: Host, clock: ManualClock, claim_id: str) -> None:
        self.host, self.clock, self.claim_id = host, clock, claim_id
        self.received: list[LayerMessage] = []
        self.arrivals_s: list[float] = []

    def start(self) -> SessionStart:
        return SessionStart(
            claim_id=self.claim_id,
            session_id=f"session-{self.claim_id}",
            reply_channel=self.claim_id,
            avatar_folder="test",
            avatar_version="1",
        )

    async def open(self, **fields: Any) -> None:
        self.host.claim(self.start(), worker_channel="worker!1")
        await settle()
        assert isinstance(self.received[0], SessionClaimed)
        self.host.submit(SessionAccepted(claim_id=self.claim_id, **fields))
        await settle()

    def send_audio(self, pcm: bytes, position: int, **fields: Any) -> None:
        self.host.submit(
            AudioChunk(
                claim_id=self.claim_id,
                pcm=pcm,
                position=position,
                **{"generation": 0, **fields},
            )
        )

    @property
    def frames(self) -> list[VideoFrame]:
        return [message for message in self.received if isinstance(message, VideoFrame)]

    def of(self, kind: type[LayerMessage]) -> list[LayerMessage]:
        return [message for message in self.received if isinstance(message, kind)]


def tone(frames: float, loudness: float = 0.5) -> bytes:
    return np.full(round(640 * frames), round(32768 * loudness), "<i2").tobytes()


def assert_contiguous(gateway: FakeGateway) -> None:
    numbers = [frame.frame for frame in gateway.frames]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


class Harness:
    """A running host, and the gateways that its messages go to."""

    def __init__(self, library: AvatarLibrary, places: LearnedPlaces | None = None) -> None:
        self.clock = ManualClock()
        self.engine = LoudnessEngine()
        self.engine_pool = HeldPool()
        self.gateways: dict[str, FakeGateway] = {}
        self.undeliverable = 0
        self.cpu_s = 0.0
        self.host = Host(
            engine=InProcessEngine(
                self.engine,
                pool=self.engine_pool,
                avatar_pool=InlinePool(),
                now_s=self.clock.now_s,
            ),
            library=library,
            clock=self.clock,
            deliver=self._deliver,
            media_pool=InlinePool(),
            turns=CoreTurns(1),
            name="test worker",
            places=places,
            cpu_s=lambda: self.cpu_s,
        )

    def gateway(self, claim_id: str = "a") -> FakeGateway:
        gateway = self.gateways[claim_id] = FakeGateway(self.host, self.clock, claim_id)
        return gateway

    async def _deliver(self, channel: str, message: LayerMessage) -> None:
        if self.undeliverable and isinstance(message, VideoFrame):
            self.undeliverable -= 1
            raise ConnectionError("the layer is gone")
        self.gateways[channel].received.append(message)
        self.gateways[channel].arrivals_s.append(self.clock.now_s())


@pytest.fixture(scope="session")
def avatars_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("avatars")
    make_avatar(folder / "test")
    return folder


@asynccontextmanager
async def running(harness: Harness) -> AsyncIterator[Harness]:
    """The harness, its host running."""
    task = asyncio.get_running_loop().create_task(harness.host.run())
    try:
        yield harness
    finally:
        await harness.host.drain()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def harness(avatars_dir: Path, tmp_path: Path) -> AsyncIterator[Harness]:
    async with running(Harness(AvatarLibrary(avatars_dir, tmp_path))) as harness:
        yield harness
