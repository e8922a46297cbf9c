"""`MUSETALK_MEMORY_GB` is kept: batches that would need more are not made, and the others are.

No GPU is needed: the networks of the published size run on torch's meta device, whose tensors a
simulated allocator counts, and refuses above the share that the setting leaves.
"""

import weakref
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from benchmarks.live_memory import LiveBytes, weight_bytes
from inference.engines.musetalk import devices, loaded
from inference.engines.musetalk.execution.buckets import SIZES
from inference.engines.musetalk.execution.runner import Runner
from inference.errors import EngineUnavailable
from inference.media.types import AudioContext
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


def test_networks_in_single_precision_are_read_when_those_in_half_are_gone(monkeypatch):
    """A device whose half precision gives no numbers need not hold both, nor the host."""
    read, placed = [], []

    class Networks:
        """Some."""

    def read_networks():
        assert [networks() for networks in read] == [None] * len(read)
        networks = Networks()
        read.append(weakref.ref(networks))
        return networks

    def place(where, networks, dtype, **options):
        placed.append(dtype)
        return SimpleNamespace(nets=networks, live=nullcontext)

    monkeypatch.setattr(loaded, "find_device", lambda wanted: torch.device("mps"))
    monkeypatch.setattr(loaded, "_place", place)
    monkeypatch.setattr(loaded, "_is_finite", lambda found: False)
    for step in ("synchronize", "free_cached", "_choose_overlap", "_measure_or_recall"):
        monkeypatch.setattr(loaded, step, lambda *arguments: None)
    monkeypatch.setattr(loaded, "_measure_overhead", lambda *arguments: None)
    found = loaded.load_nets(
        read_networks, device="auto", use_float16=True, context=AudioContext(32_000, 0), max_batch=1
    )
    assert placed == [torch.float16, torch.float32]
    assert found.nets is read[1]()
