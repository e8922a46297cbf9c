"""The MuseTalk engine on a GPU: what only a GPU can show. Skipped elsewhere.

Values are compared with the CPU's; speed is measured by `benchmarks.musetalk`, not here.
"""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks import musetalk_paths as paths  # noqa: E402 -- after the check for torch
from benchmarks import parity_fullsize  # noqa: E402
from inference.engines.musetalk.batch import Renderer  # noqa: E402
from inference.engines.musetalk.runner import Runner  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]

DATA = Path(__file__).parents[1] / "data" / "musetalk"


@pytest.fixture(scope="module")
def device():
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda:0")


def nets_on(device, dtype, **kwargs):
    return paths.make_nets(full=False, tiny=False, **kwargs).to(device, dtype)


def test_the_full_size_networks_are_the_references(device):
    with torch.inference_mode():
        golden = np.load(DATA / "fullsize" / "unet.npz")
        unet = parity_fullsize.full_unet(DATA / "fullsize").to(device)
        latents = torch.from_numpy(parity_fullsize.draw([7, 5], (1, 8, 32, 32)) * 2)
        context = torch.from_numpy(parity_fullsize.draw([7, 6], (1, 50, 384)) * 2)
        found = unet(latents.to(device), context.to(device)).cpu().numpy()
        assert np.abs(found - golden["pred"]).max() < 2e-3


def test_captured_graphs_give_the_plain_picture(device):
    nets = nets_on(device, torch.float32)
    plain = Runner(nets, device, torch.float32, buckets=(1, 4), capture=False)
    captured = Runner(nets, device, torch.float32, buckets=(1, 4), capture=True)
    captured.warm_up()
    for count in (1, 3, 4, 2, 1):
        latents, tokens = paths.inputs(count, nets.width)
        wanted, _ = plain.generate(latents, tokens)
        found, is_finite = captured.generate(latents, tokens)
        assert bool(is_finite.all())
        assert int((found.int() - wanted.int()).abs().max()) <= 1


def test_compiled_and_captured_give_the_plain_picture(device):
    wanted, _ = Runner(
        nets_on(device, torch.float16), device, torch.float16, capture=False
    ).generate(*paths.inputs(2, 32))
    fast = Runner(
        nets_on(device, torch.float16), device, torch.float16, buckets=(2,), compiled=True
    )
    found, _ = fast.generate(*paths.inputs(2, 32))
    assert (found.int() - wanted.int()).abs().float().mean() < 0.5


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


def test_memory_that_is_short_shrinks_the_batch(device):
    nets = nets_on(device, torch.float32)
    runner = Runner(nets, device, torch.float32, buckets=(1, 2, 4096))
    runner.warm_up()
    assert runner.buckets[-1] in (2, 4096)
    assert runner.generate(*paths.inputs(1, nets.width))[0].shape == (1, 3, 256, 256)
