"""What other cards should carry: the counting of memory, and the arithmetic."""

import pytest

torch = pytest.importorskip("torch")

from benchmarks.cards import CARDS, H200, WORK, Card, Memory, count_memory, decoder_of, rows
from benchmarks.live_memory import META, LiveBytes, weight_bytes
from inference.engines.musetalk.nets import unet


@pytest.mark.lasting  # torch imports 800 modules of its compiler for a dispatch mode
def test_memory_is_counted_while_tensors_live():
    with torch.inference_mode(), LiveBytes() as live:
        first = torch.zeros(1_000, device=META)
        second = first + 1
        assert (live.now, live.peak) == (8_000, 8_000)
        del first
        view = second.view(10, 100)
        view.add_(1)
        torch.add(view, view, out=view)
        assert (live.now, live.peak) == (4_000, 8_000)
        del second
        assert live.now == 4_000  # the view holds it
        del view
        assert (live.now, live.peak) == (0, 8_000)


@pytest.mark.lasting
def test_memory_of_the_published_networks():
    memory = count_memory("sd", sizes=(1, 2))
    with META:
        nets = [unet.UNet(unet.UNetShape()).half(), decoder_of("sd").half()]
    halves = weight_bytes(*nets)
    assert 1.75e9 < halves < 1.85e9
    assert 0.1e9 < memory.weights - halves < 0.3e9  # hearing and preparation, in single precision
    # Three pictures of 256x256 with 128 channels are alive in the decoder's last blocks, or more.
    largest_tensor = 256 * 256 * 128 * 2
    assert 3 * largest_tensor <= memory.batch_of[1] < 9 * largest_tensor
    assert memory.batch_of[2] == pytest.approx(2 * memory.batch_of[1], rel=0.05)
    assert memory.gigabytes(1) < memory.gigabytes(2) < 4


def test_time_is_scaled_by_peak_and_by_bandwidth():
    sd = WORK["sd"]
    assert 1_000 / sd.on(H200) == pytest.approx(612, rel=0.02)
    half_peak = Card("", 8, H200.tflops / 2, H200.gigabytes_per_s)
    assert sd.on(half_peak) == pytest.approx(sd.on(H200) + sd.in_products_ms)
    half_bandwidth = Card("", 8, H200.tflops, H200.gigabytes_per_s / 2)
    assert sd.on(half_bandwidth) == pytest.approx(sd.on(H200) + sd.in_traffic_ms)


def test_a_card_gets_the_batches_that_fit_and_no_session_if_none_does():
    memory = Memory(
        weights=2_000_000_000, batch_of={1: 10**8, 8: 10**9, 32: 4 * 10**9}, preparation=0
    )
    cards = [Card(str(size), size, 989, 3_350) for size in (2, 4, 6, 10)]
    found = [row for row in rows(dict.fromkeys(WORK, memory), cards) if row.decoder == "sd"]
    assert [row.largest_batch for row in found] == [0, 1, 8, 32]
    assert [row.sessions for row in found] == [0, 17, 17, 17]  # 32 ms of 40 at 1.88 ms a picture


def test_the_sizes_that_are_asked_for_are_there():
    assert {card.gigabytes for card in CARDS} == {8, 12, 16, 24, 80}
