"""A sentence through the host with the MuseTalk engine: claim, sound, access units, pictures."""

import asyncio
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from inference.assets.library import AvatarLibrary
from inference.core_turns import CoreTurns
from inference.engines.in_process import InProcessEngine
from inference.engines.musetalk.circuit_breaker import CircuitBreaker
from inference.engines.musetalk.engine import MuseTalkEngine
from inference.messages import VideoFrame
from inference.runtime.host import Host
from tests.factories import make_avatar, mesh_of_a_face
from tests.fakes import InlinePool, ManualClock
from tests.inference.conftest import FakeGateway
from tests.inference.engines.musetalk.test_engine import WEIGHTS

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def decoded(frames: list[VideoFrame]) -> list[np.ndarray]:
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    pictures = [decoder.decode(av.Packet(frame.access_unit)) for frame in frames]
    return [some[0].to_ndarray(format="yuv420p") for some in pictures]


@pytest.mark.lasting
@pytest.mark.slow
async def test_a_sentence_is_seen_on_the_face_and_nowhere_else(tmp_path: Path) -> None:
    folder = tmp_path / "test"
    manifest = make_avatar(folder, clips={"idle_0": 4})
    np.save(folder / "clips" / "idle_0.landmarks.npy", np.repeat(mesh_of_a_face()[None], 4, 0))
    engine = MuseTalkEngine(WEIGHTS, device="cpu", max_batch=1, prepares="all")
    engine.load()
    engine._circuit_breaker = CircuitBreaker(1_000.0)  # whatever else the machine does
    engine.open_avatar(folder, manifest)
    engine.preparation.join(100)
    clock = ManualClock()
    gateways: dict[str, FakeGateway] = {}

    async def deliver(channel, message):
        gateways[channel].received.append(message)
        gateways[channel].arrivals_s.append(clock.now_s())

    host = Host(
        engine=InProcessEngine(
            engine, pool=InlinePool(), avatar_pool=InlinePool(), now_s=clock.now_s
        ),
        library=AvatarLibrary(tmp_path, tmp_path),
        clock=clock,
        deliver=deliver,
        media_pool=InlinePool(),
        turns=CoreTurns(1),
        name="test worker",
    )
    running = asyncio.get_running_loop().create_task(host.run())
    gateway = gateways["a"] = FakeGateway(host, clock, "a")
    await gateway.open()
    await clock.advance(0.4)
    rng = np.random.default_rng(1)
    gateway.send_audio((rng.normal(size=640 * 8) * 4_000).astype("<i2").tobytes(), 0)
    await clock.advance(1.6)
    await host.drain()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running

    speaking = [n for n, frame in enumerate(gateway.frames) if frame.position is not None]
    assert len(speaking) == 8
    pictures = decoded(gateway.frames)
    faces = engine.open_avatar(folder, manifest).clips["idle_0"]
    patch = faces.patch(0)
    rows = slice(patch.y + 20, patch.y + patch.height - 20)
    columns = slice(patch.x + 40, patch.x + patch.width - 40)
    before, after = pictures[speaking[0] - 2], pictures[speaking[3]]
    off = np.abs(after[:512].astype(int) - before[:512])
    assert off[rows, columns].mean() > 8
    off[patch.y : patch.y + patch.height, patch.x : patch.x + patch.width] = 0
    off[:70] = 0  # the test picture's own clock moves there
    assert off.mean() < 1
    last = np.abs(pictures[-1][:512].astype(int) - before[:512])
    assert last[rows, columns].mean() < 2
