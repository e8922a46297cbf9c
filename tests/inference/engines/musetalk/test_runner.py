"""Every faster way of running the nets gives what the plain way gives."""

import gc
import weakref
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from benchmarks import musetalk_paths as paths
from benchmarks.published_nets import published_networks
from inference.engines.musetalk import networks
from inference.engines.musetalk.audio.speech import StreamingWindow
from inference.engines.musetalk.execution.graphs import Graphs
from inference.engines.musetalk.execution.hearing import Hearing
from inference.engines.musetalk.execution.runner import Runner
from inference.engines.musetalk.nets.operations import to_pixels
from inference.engines.musetalk.recording import RecordingFailed
from inference.engines.musetalk.weights import find_tree

WEIGHTS = Path(__file__).parents[3] / "data" / "musetalk" / "weights"
CPU = torch.device("cpu")


pytestmark = [pytest.mark.lasting, pytest.mark.usefixtures("one_torch_thread")]


@pytest.fixture(scope="module")
def nets():
    return networks.load_networks(find_tree(WEIGHTS))


def off(found, wanted) -> int:
    return int((found.int() - wanted.int()).abs().max())


def published_pixels(count):
    """The plain path: the libraries' nets, one picture at a time."""
    published = published_networks(find_tree(WEIGHTS))
    latents, tokens = paths.inputs(count, 32)
    positions = networks_positions()
    with torch.inference_mode():
        decoded = [
            published.decoder(published.unet(one[None].float(), (heard + positions)[None]))
            for one, heard in zip(latents, tokens, strict=True)
        ]
    return to_pixels(torch.cat(decoded))


def networks_positions():
    from inference.engines.musetalk.audio.speech import positional_table

    return positional_table(32)


def test_folded_stacked_padded_channels_last_is_the_libraries_picture(nets):
    runner = Runner(nets.to(CPU, torch.float32), CPU, torch.float32, buckets=(1, 4))
    pixels, is_finite = runner.generate(*paths.inputs(3, 32))
    assert pixels.shape == (3, 3, 256, 256)
    assert is_finite.tolist() == [True] * 3
    wanted = published_pixels(3)
    assert off(pixels, wanted) <= 1
    assert (pixels != wanted).float().mean() < 0.002


def test_the_bucket_does_not_change_a_picture(nets):
    latents, tokens = paths.inputs(2, 32)
    alone = Runner(nets, CPU, torch.float32, buckets=(1,))
    wide = Runner(nets, CPU, torch.float32, buckets=(4,))
    together = wide.generate(latents, tokens)[0]
    for row in range(2):
        found = alone.generate(latents[row, None], tokens[row, None])[0]
        assert off(found[0], together[row]) <= 1


def test_numbers_that_are_none_are_reported(nets):
    latents, tokens = paths.inputs(2, 32)
    tokens[1, 0, 0] = float("nan")
    _, is_finite = Runner(nets, CPU, torch.float32, buckets=(2,)).generate(latents, tokens)
    assert is_finite.tolist() == [True, False]


def test_bytes_are_rounded_half_to_even():
    levels = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])  # 0 is 127.5
    assert to_pixels(levels[None, None, None]).flatten().tolist() == [0, 0, 128, 255, 255]


def test_warming_up_drops_batches_that_memory_is_short_of(nets, monkeypatch):
    runner = Runner(nets, CPU, torch.float32, buckets=(1, 2, 4))
    right = Runner.predict

    def short(self, latents, tokens):
        if len(latents) > 2:
            raise torch.OutOfMemoryError
        return right(self, latents, tokens)

    monkeypatch.setattr(Runner, "predict", short)
    said: list[str] = []
    runner.warm_up(said.append)
    assert runner.buckets == (1, 2)
    assert said == [f"warming up batches of {size}" for size in (4, 2, 1)]


@pytest.fixture
def no_garbage_collection():
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_garbage_collection")
def test_what_records_is_let_go_without_garbage_being_collected(nets):
    """The collector never looks at what was there when the process began to serve."""
    runner = Runner(nets, CPU, torch.float32, buckets=(1,))
    hearing = Hearing(nets.whisper, StreamingWindow(), CPU, buckets=(1,))
    graphs = [
        Graphs(runner.predict, runner._inputs, None),
        Graphs(runner.decode, runner._hidden_inputs, None),
        Graphs(hearing._heard, hearing._noise, None),
    ]
    assert [graph._part_and_inputs()[0] for graph in graphs] == [
        runner.predict, runner.decode, hearing._heard
    ]  # fmt: skip
    vars(runner)["_graphs"] = tuple(graphs[:2])
    vars(hearing)["_graphs"] = graphs[2]
    alive = weakref.ref(runner), weakref.ref(hearing)
    del runner, hearing, graphs
    assert [one() for one in alive] == [None, None]


def test_a_part_that_cannot_be_recorded_is_called(nets):
    class NoGraphs:
        def __init__(self, part, inputs):
            self._part, self._inputs = part, inputs

        def warm(self, size):
            self._part(*self._inputs(size))

        def get(self, size):
            raise RecordingFailed("operation not permitted when stream is capturing")

    runner = Runner(nets, CPU, torch.float32, buckets=(2,))
    parts = (runner.predict, runner._inputs), (runner.decode, runner._hidden_inputs)
    vars(runner)["_graphs"] = tuple(NoGraphs(*part) for part in parts)
    runner.warm_up(lambda text: None)
    assert runner._graphs is None
    found = runner.generate(*paths.inputs(2, 32))[0]
    wanted = Runner(nets, CPU, torch.float32, buckets=(2,)).generate(*paths.inputs(2, 32))[0]
    assert (found == wanted).all()


def test_batches_are_cut_by_what_was_measured(nets):
    runner = Runner(nets, CPU, torch.float32, buckets=(1, 2, 4))
    assert runner.next_batch(3) == 3
    runner.milliseconds.update({1: 10.0, 2: 20.0})
    assert runner.next_batch(3) == 3
    runner.milliseconds[4] = 40.0
    assert runner.next_batch(3) == 2


def test_the_benchmark_needs_little(tmp_path):
    """A bare GPU machine has torch, numpy, OpenCV and Pillow, and none of these."""
    import subprocess
    import sys

    block = ["av", "channels", "diffusers", "django", "msgspec", "safetensors", "transformers"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({block!r})); "
        "import benchmarks.musetalk, benchmarks.parity_fullsize"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[4],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
