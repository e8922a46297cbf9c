"""`MUSETALK_MEMORY_GB` is kept: batches that would need more are not made, and the others are.

No GPU is needed: the networks of the published size run on torch's meta device, whose tensors a
simulated allocator counts, and refuses above the share that the setting leaves.
"""

import pytest

torch = pytest.importorskip("torch")

from benchmarks.live_memory import LiveBytes, weight_bytes
from inference.engines.musetalk import devices
from inference.engines.musetalk.execution.buckets import SIZES
from inference.engines.musetalk.execution.runner import Runner
from inference.errors import EngineUnavailable
from tests.inference.engines.musetalk.strict_device import DEVICE
from tests.inference.engines.musetalk.test_devices import published_nets

CARD_BYTES = 24_000_000_000


@pytest.fixture(scope="module")
def nets():
    return published_nets(torch.float16, parser=False)


def allocator(gigabytes: float, nets, monkeypatch) -> LiveBytes:
    """What is left for batches on a card of 24 GB, by the setting, beside the weights."""
    shares = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, CARD_BYTES))
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda share, device: shares.append(share)
    )
    devices.limit_memory(torch.device("cuda:0"), gigabytes)
    held = weight_bytes(nets.unet, nets.decoder, nets.encoder, nets.whisper)
    return LiveBytes(limit=int(shares[0] * CARD_BYTES) - held)


@pytest.mark.slow
@pytest.mark.lasting
def test_batches_are_those_that_the_setting_has_room_for(nets, monkeypatch):
    largest = {}
    for gigabytes in (4.0, 5.0, 12.0):
        runner = Runner(nets, DEVICE, torch.float16, buckets=SIZES, records=False)
        with allocator(gigabytes, nets, monkeypatch) as memory:
            runner.warm_up(lambda text: None)
            for count in {1, runner.buckets[-1]}:
                runner.plain(*runner._inputs(count))
        assert memory.peak <= memory.limit
        largest[gigabytes] = runner.buckets[-1]
    assert 1 <= largest[4.0] < largest[5.0] <= largest[12.0] == SIZES[-1]
    assert list(largest.values()) == sorted(largest.values())


def test_too_little_for_one_picture_is_said(nets, monkeypatch):
    runner = Runner(nets, DEVICE, torch.float16, buckets=(1, 2), records=False)
    with LiveBytes(limit=1_000_000), pytest.raises(torch.OutOfMemoryError, match="single picture"):
        runner.warm_up(lambda text: None)
    with pytest.raises(EngineUnavailable, match="set 4 or more"):
        allocator(0.8, nets, monkeypatch)
