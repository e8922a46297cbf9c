"""The MuseTalk engine on a GPU: what only a GPU can show. Skipped elsewhere.

Values are compared with the CPU's; speed is measured by `benchmarks.musetalk`, not here.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional

from benchmarks import musetalk_paths as paths
from benchmarks import parity_fullsize
from inference.engines.musetalk.audio.speech import StreamingWindow
from inference.engines.musetalk.execution import runner as runners
from inference.engines.musetalk.execution.batch import Renderer
from inference.engines.musetalk.execution.hearing import Hearing
from inference.engines.musetalk.execution.runner import Runner
from inference.engines.musetalk.nets import choice
from inference.engines.musetalk.nets.attention import MeasuredAttention
from inference.media.types import AudioWindow

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
    pytest.mark.filterwarnings("default"),  # whatever build of torch the machine has may say
]

DATA = Path(__file__).parents[1] / "data" / "musetalk"


@pytest.fixture(scope="module")
def device():
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda:0")


@pytest.fixture(scope="module", autouse=True)
def kernels_are_chosen_once():
    """Trying them takes three seconds, and gives the same for every runner."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runners, "find_operations", cache(choice.find_operations))
        yield


def nets_on(device, dtype, **kwargs):
    return paths.make_nets(full=False, **kwargs).to(device, dtype)


def test_the_full_size_networks_are_the_references(device):
    with torch.inference_mode():
        golden = np.load(DATA / "fullsize" / "unet.npz")
        unet = parity_fullsize.full_unet(DATA / "fullsize").to(device)
        latents = torch.from_numpy(parity_fullsize.draw([7, 5], (1, 8, 32, 32)) * 2)
        context = torch.from_numpy(parity_fullsize.draw([7, 6], (1, 50, 384)) * 2)
        found = unet(latents.to(device), context.to(device)).cpu().numpy()
        assert np.abs(found - golden["pred"]).max() < 2e-3


def test_recorded_graphs_give_the_plain_picture(device):
    nets = nets_on(device, torch.float32)
    plain = Runner(nets, device, torch.float32, buckets=(1, 4), records=False)
    recorded = Runner(nets, device, torch.float32, buckets=(1, 4), records=True)
    recorded.warm_up()
    for count in (1, 3, 4, 2, 1):
        latents, tokens = paths.inputs(count, nets.width)
        wanted, _ = plain.generate(latents, tokens)
        found, is_finite = recorded.generate(latents, tokens)
        assert bool(is_finite.all())
        assert int((found.int() - wanted.int()).abs().max()) <= 1


def test_recorded_hearing_gives_the_plain_tokens(device):
    """For any number of windows, from any thread, one batch after the other."""
    whisper = nets_on(device, torch.float16).whisper
    plain, recorded = (
        Hearing(whisper, StreamingWindow(), device, buckets=(1, 4), records=records)
        for records in (False, True)
    )
    recorded.warm_up()
    assert recorded._graphs is not None
    noise = np.random.default_rng(1)
    windows = [
        AudioWindow(0.1 * noise.standard_normal(plain.samples, np.float32), 1) for _ in range(5)
    ]
    wanted = plain.tokens(windows)
    with ThreadPoolExecutor(2) as pool:
        counts = (1, 3, 5, 4, 2) * 4
        found = list(pool.map(lambda count: recorded.tokens(windows[:count]), counts))
    for count, tokens in zip(counts, found, strict=True):
        assert len(tokens) == count
        for ours, theirs in zip(tokens, wanted, strict=False):
            np.testing.assert_allclose(ours, theirs, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_every_kernel_is_right_on_this_device(device, dtype):
    with torch.inference_mode():
        trials = [choice.try_out(p, device, dtype) for p in choice.probes(device, dtype)]
    for trial in trials:
        print(trial)
        assert trial.kernel_ms is not None, trial
        assert trial.error <= trial.allowed, trial


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_kernels_give_the_plain_picture(device, dtype):
    nets = nets_on(device, dtype)
    plain = Runner(nets, device, dtype, records=False, fuses=False)
    wanted, _ = plain.generate(*paths.inputs(3, 32))
    found, is_finite = Runner(nets, device, dtype, records=False).generate(*paths.inputs(3, 32))
    assert bool(is_finite.all())
    off = (found.int() - wanted.int()).abs().float()
    assert off.mean() < {torch.float16: 0.5, torch.bfloat16: 3.0, torch.float32: 0.01}[dtype]


def test_half_precision_is_near_single(device):
    single, _ = Runner(nets_on(device, torch.float32), device, torch.float32).generate(
        *paths.inputs(2, 32)
    )
    half, is_finite = Runner(nets_on(device, torch.float16), device, torch.float16).generate(
        *paths.inputs(2, 32)
    )
    assert bool(is_finite.all())
    assert (half.int() - single.int()).abs().float().mean() < 1.0


def test_batches_on_their_way_do_not_mix(device):
    """Queued one after the other without waiting, each comes back with its own bytes."""
    nets = nets_on(device, torch.float32)
    renderer = Renderer(Runner(nets, device, torch.float32, buckets=(1, 4)), nets.width)
    jobs = paths.jobs(4, nets.width)
    alone = [renderer.queue([job]).finish()[0] for job in jobs]
    queued = [renderer.queue([job]) for job in jobs for _ in range(3)]
    together = [batch.finish()[0] for batch in queued][::3]
    for first, second in zip(alone, together, strict=True):
        assert first is not None
        assert second is not None
        assert (first.y_plane == second.y_plane).all()
        assert (first.u_plane == second.u_plane).all()


@pytest.mark.parametrize("records", [True, False])
def test_overlapping_batches_are_those_that_run_one_after_the_other(device, records):
    """The same launches in another order: not a byte may differ, recorded or not."""
    nets = nets_on(device, torch.float16)
    runner = Runner(nets, device, torch.float16, buckets=(1, 4), records=records)
    renderer = Renderer(runner, nets.width)
    jobs = paths.jobs(4, nets.width)
    batches = [jobs[:1], jobs, jobs[1:3], jobs[3:], jobs[::-1]] * 8
    found = []
    for overlaps in (False, True):
        runner.overlaps = overlaps
        queued = [renderer.queue(batch) for batch in batches]
        found.append([patch for batch in queued for patch in batch.finish()])
    for first, second in zip(*found, strict=True):
        assert first is not None
        assert second is not None
        assert (first.y_plane == second.y_plane).all()
        assert (first.u_plane == second.u_plane).all()


def test_two_threads_get_their_own_pictures(device):
    nets = nets_on(device, torch.float16)
    renderer = Renderer(Runner(nets, device, torch.float16, buckets=(1, 2)), nets.width)
    jobs = paths.jobs(2, nets.width)
    wanted = [renderer.render([job])[0] for job in jobs]
    found = [[], []]

    def work(number):
        found[number] += [renderer.render([jobs[number]])[0] for _ in range(30)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, patches in enumerate(found):
        assert len(patches) == 30
        assert all((patch.y_plane == wanted[number].y_plane).all() for patch in patches)


@pytest.mark.parametrize(
    ("heads", "queries", "width", "keys"),
    [(8, 1_024, 40, 1_024), (8, 256, 80, 50), (8, 16, 160, 16), (1, 1_024, 512, 1_024)],
)
def test_the_attention_that_is_chosen_is_right(device, heads, queries, width, keys):
    """Of parts of one tensor, as the networks give them."""
    attend = MeasuredAttention(device)
    generator = torch.Generator(device).manual_seed(1)
    some = [
        torch.randn(2, n, heads * width, device=device, generator=generator)
        .half()
        .unflatten(-1, (heads, -1))
        .transpose(1, 2)
        for n in (queries, keys, keys)
    ]
    exact = functional.scaled_dot_product_attention(*(x.float() for x in some))
    for _ in range(2):
        found = attend(*some)
        assert found.shape == some[0].shape
        assert (found.float() - exact).abs().max() < 5e-3


def test_batches_go_before_what_nobody_waits_for(device):
    """A graph runs at the priority of the stream that it was recorded on."""
    runner = Runner(nets_on(device, torch.float16), device, torch.float16, buckets=(1,))
    assert [stream.priority for stream in runner._streams] == [-1, -2]


def test_the_gpu_pastes_what_the_cpu_pastes(device):
    jobs = paths.jobs(3, 32)
    results = []
    for place in (torch.device("cpu"), device):
        nets = nets_on(place, torch.float32)
        renderer = Renderer(Runner(nets, place, torch.float32, buckets=(4,)), nets.width)
        results.append(renderer.render(jobs))
    for on_cpu, on_gpu in zip(*results, strict=True):
        assert on_cpu is not None
        assert on_gpu is not None
        off = np.abs(on_cpu.y_plane.astype(int) - on_gpu.y_plane)
        assert off.max() <= 3
        assert off.mean() < 0.1


@pytest.fixture
def little_memory(device):
    """300 MiB more than what is held now."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(device).total_memory
    held = torch.cuda.memory_reserved(device)
    torch.cuda.set_per_process_memory_fraction((held + 300 * 2**20) / total, device)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0, device)


def test_memory_that_is_short_shrinks_the_batch(device, little_memory):
    nets = nets_on(device, torch.float32)
    runner = Runner(nets, device, torch.float32, buckets=(1, 2, 64))
    runner.warm_up()
    assert runner.buckets == (1, 2)
    assert runner.generate(*paths.inputs(1, nets.width))[0].shape == (1, 3, 256, 256)


def test_memory_that_runs_short_later_shrinks_it_too(device):
    """Another program took the memory: what was recorded is given back and recorded again."""
    nets = nets_on(device, torch.float32)
    runner = Runner(nets, device, torch.float32, buckets=(1, 16))
    runner.warm_up()
    held = torch.cuda.memory_reserved(device)
    before = runner.generate(*paths.inputs(1, nets.width))[0].cpu()
    runner.forget(16)
    assert torch.cuda.memory_reserved(device) < held
    assert (runner.generate(*paths.inputs(1, nets.width))[0].cpu() == before).all()


def test_what_cannot_be_recorded_is_called(device, monkeypatch):
    """A way that waits for the GPU breaks the recording off; the pictures are made all the same."""
    nets = nets_on(device, torch.float32)
    wanted, _ = Runner(nets, device, torch.float32, buckets=(1,), records=False).generate(
        *paths.inputs(1, nets.width)
    )
    decode = Runner.decode

    def waiting(self, hidden):
        pixels, is_finite = decode(self, hidden)
        is_finite.cpu()
        return pixels, is_finite

    monkeypatch.setattr(Runner, "decode", waiting)
    runner = Runner(nets, device, torch.float32, buckets=(1,))
    runner.warm_up()
    assert runner._graphs is None
    assert torch.cuda.current_stream(device) == torch.cuda.default_stream(device)
    found, _ = runner.generate(*paths.inputs(1, nets.width))
    assert int((found.int() - wanted.int()).abs().max()) <= 1


def test_a_thread_of_its_own_works_on_the_device_it_was_given():
    """A pool's thread begins with cuda:0 as its current device."""
    device = torch.device("cuda", torch.cuda.device_count() - 1)
    nets = nets_on(device, torch.float16)
    found = []

    def work():
        renderer = Renderer(Runner(nets, device, torch.float16, buckets=(2,)), nets.width)
        found.append(renderer.render(paths.jobs(2, nets.width)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert all(patch is not None for patch in found[0])
