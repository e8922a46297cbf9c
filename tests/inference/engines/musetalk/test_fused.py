"""Kernels and the blocks that use them give what plain torch gives.

The kernels are run by Triton's interpreter and compiled to machine code for GPUs that are not here;
both need Triton, which CUDA builds of torch bring, and processes of their own: Triton decides once
whether it interprets.
"""

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from benchmarks import musetalk_paths as paths
from inference.engines.musetalk.nets import blocks, choice, moments
from inference.engines.musetalk.nets.operations import PLAIN

pytestmark = pytest.mark.lasting

ROOT = Path(__file__).parents[4]
CPU = torch.device("cpu")

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="needs Triton (requirements-kernels.txt)"
)


@pytest.mark.parametrize(("before", "after"), [(16, 16), (16, 32)])
def test_biases_in_passing_are_the_convolutions_biases(before, after):
    torch.manual_seed(1)
    block = blocks.ResnetBlock(before, after, 8, 1e-5).eval()
    x = torch.randn(2, before, 8, 8)
    with torch.inference_mode():
        wanted = block(x)
        blocks.use_operations(block, PLAIN)
        torch.testing.assert_close(block(x), wanted, atol=1e-5, rtol=1e-5)
        assert block.operations is PLAIN
        blocks.use_operations(block, None)
        assert (block(x) == wanted).all()


def test_whole_nets_by_plain_operations():
    nets = paths.make_nets(full=False)
    latents, tokens = paths.inputs(1, 32)
    with torch.inference_mode():
        wanted = nets.decoder(nets.unet(latents.float(), tokens))
        for net in (nets.unet, nets.decoder):
            blocks.use_operations(net, PLAIN)
        found = nets.decoder(nets.unet(latents.float(), tokens))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_where_there_is_no_gpu_torchs_own_are_used():
    assert choice.find_operations(CPU, torch.float32) is None


def test_moments_are_kept_as_long_as_the_tensor():
    x, y = torch.zeros(1, 2, 2, 2), torch.zeros(1, 3, 2, 2)
    first, second = (moments.Moments(torch.zeros(1, n), torch.zeros(1, n), 4) for n in (2, 3))
    assert moments.keep(x, first) is x
    assert moments.moments_of(x) is first
    assert moments.joined(x, y) is None
    moments.keep(y, second)
    both = moments.joined(x, y)
    assert both is not None
    assert both.means.shape == (1, 5)
    before = len(moments._kept)
    del x
    assert len(moments._kept) == before - 1


def trial(name, kernel_ms=1.0, plain_ms=2.0, error=0.0):
    return choice.Trial(name, error, 0.01, kernel_ms, plain_ms)


EVERY = [trial(name) for name in choice.KERNEL_NAMES if name != "concatenate"]


def test_a_kernel_is_kept_only_if_it_is_right_and_faster():
    chosen = choice.choose(EVERY)
    assert chosen == choice.LEVERS
    worse = {
        "geglu": trial("geglu", kernel_ms=2.1),
        "layer_norm": trial("layer_norm", error=0.1),
        "pixels": trial("pixels", kernel_ms=None),
    }
    chosen = choice.choose([worse.get(one.name, one) for one in EVERY])
    plain = {name: getattr(PLAIN, name) for name in worse}
    assert chosen == replace(choice.LEVERS, **plain)


def test_without_the_norms_kernel_nothing_finds_moments():
    slow = [trial("group_norm", kernel_ms=3.0) if t.name == "group_norm" else t for t in EVERY]
    chosen = choice.choose(slow)
    wanted = {
        name: getattr(choice.LEVERS, name) for name in ("geglu", "layer_norm", "add_and_norm")
    }
    assert chosen == replace(PLAIN, **wanted)
    assert choice.choose([trial(one.name, kernel_ms=9.0) for one in EVERY]) is None


def test_a_kernel_that_fails_is_plain_torch(monkeypatch):
    def broken(*args, **kwargs):
        raise OSError("no gcc here\nmore lines")

    monkeypatch.setattr(choice, "LEVERS", replace(choice.LEVERS, geglu=broken))
    [probe] = [
        p for p in choice.probes(CPU, torch.float32, batch=1, divisor=8) if p.name == "geglu"
    ]
    found = choice.try_out(probe, CPU, torch.float32)
    assert not found.is_kept
    assert str(found) == "geglu: plain torch, the kernel failed: no gcc here"


def test_there_is_a_probe_for_every_kernel():
    found = [probe.name for probe in choice.probes(CPU, torch.float32, batch=1, divisor=8)]
    assert sorted([*found, "concatenate"]) == sorted(choice.KERNEL_NAMES)


def run(code: str, **environment: str) -> None:
    surroundings = os.environ | {"OMP_NUM_THREADS": "1"}
    surroundings.pop("TRITON_INTERPRET", None)
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=surroundings | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


@needs_triton
def test_every_kernel_gives_what_plain_torch_gives():
    run(
        """
import torch
from inference.engines.musetalk.nets import choice
device = torch.device("cpu")
for dtype in (torch.float32, torch.float16):
    for probe in choice.probes(device, dtype, batch=2, divisor=8):
        trial = choice.try_out(probe, device, dtype, measure=lambda work, device: 1.0)
        print(trial.name, dtype, trial.error, trial.allowed, trial.reason)
        assert trial.kernel_ms is not None, trial
        share = 1 if trial.name == "pixels" else 4
        assert trial.error <= trial.allowed / share, trial
""",
        TRITON_INTERPRET="1",
    )


@needs_triton
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_whole_nets_with_every_kernel_give_the_plain_picture():
    run(
        """
import torch
from benchmarks import musetalk_paths as paths
from inference.engines.musetalk.nets import blocks, moments, unet, vae

torch.manual_seed(1)
nets = paths.make_nets(full=False)
nets.decoder = vae.Decoder(vae.VaeShape((16, 32), 8)).eval().requires_grad_(False)
latents, tokens = paths.inputs(1, 32)
latents = latents[:, :, :8, :8].float()
def pictures():
    with torch.inference_mode():
        hidden = nets.unet(latents, tokens)
        return nets.decoder(hidden), *nets.decoder.to_bytes(hidden)
wanted = pictures()
calls = []
right = fused.kernels.tile_moments
class Counted:
    def __getitem__(self, grid):
        calls.append(grid)
        return right[grid]
fused.kernels.tile_moments = Counted()
for net in (nets.unet, nets.decoder):
    net.to(memory_format=torch.channels_last)
    blocks.use_operations(net, fused.KERNELS)
found = pictures()
assert (found[0] - wanted[0]).abs().max() < 1e-3, (found[0] - wanted[0]).abs().max()
off = (found[1].int() - wanted[1].int()).abs()
assert off.max() <= 1 and (off > 0).float().mean() < 0.01, off.max()
assert found[2].all()
resnets = sum(isinstance(m, blocks.ResnetBlock) for m in nets.decoder.modules())
calls.clear()
with torch.inference_mode():
    nets.decoder.to_bytes(torch.zeros(1, 4, 8, 8))
# Read again: before the second norm of each block, and after the first convolution.
assert len(calls) == resnets + 1, (len(calls), resnets)
spoiled = torch.zeros(2, 4, 8, 8)
spoiled[1] = float("nan")
with torch.inference_mode():
    assert nets.decoder.to_bytes(spoiled)[1].tolist() == [True, False]
assert len(moments._kept) == 0
""",
        TRITON_INTERPRET="1",
    )


@needs_triton
def test_the_kernels_are_exact():
    """As near to double precision as torch's own, also where the mean is far from zero."""
    run(
        """
import torch
from torch import nn
from torch.nn import functional
from inference.engines.musetalk.nets import fused

torch.manual_seed(1)
for shape, groups in (
    ((1, 128, 32, 32), 32), ((2, 1280, 4, 4), 32), ((3, 24, 6, 10), 8), ((2, 16, 7, 5), 16)
):
    x = torch.randn(shape) * 2 + 100
    weight, beta = torch.randn(2, shape[1])
    norm = nn.GroupNorm(groups, shape[1], 1e-6).requires_grad_(False)
    norm.load_state_dict({"weight": weight, "bias": beta})
    found = fused.group_norm(x, norm)
    plain = functional.group_norm(x, groups, weight, beta, 1e-6)
    exact = functional.group_norm(x.double(), groups, weight.double(), beta.double(), 1e-6)
    assert (found - exact).abs().max() < 2 * (plain - exact).abs().max() + 1e-5
    assert found.is_contiguous(memory_format=torch.channels_last)
""",
        TRITON_INTERPRET="1",
    )


@needs_triton
@pytest.mark.parametrize(
    ("capability", "shared_bytes"),
    [(75, 65_536), (80, 166_912), (89, 101_376), (90, 232_448), (120, 101_376)],
)
def test_the_kernels_are_compiled_for_gpus_that_are_not_here(capability, shared_bytes):
    run(
        f"""
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from inference.engines.musetalk.nets import kernels

TYPES = dict(
    means="*fp32", squares="*fp32", scale="*fp32", shift="*fp32", products="*fp32",
    is_finite="*i8", eps="fp32",
) | dict.fromkeys(("tiles", "channels", "group", "height", "width", "count", "area"), "i32")
PUBLISHED = dict(
    HAS_BIAS=True, HAS_MOMENTS=True, HAS_SUM=True, IS_SILU=True, POSITIONS=64, CHANNELS=64,
    TILES=1024, GROUP=4, PADDED=32, COLORS=4, PRECISION="tf32", WIDTH=1024,
)
SMALLEST = dict(
    HAS_BIAS=False, HAS_MOMENTS=False, HAS_SUM=False, IS_SILU=False, POSITIONS=16, CHANNELS=16,
    TILES=1, GROUP=1, PADDED=32, COLORS=4, PRECISION="tf32", WIDTH=16, bias=None, tiles=1, group=1,
)
ALWAYS_BIAS = ("sum_with_bias", "pixels_of")
for name in (
    "tile_moments", "scale_and_shift", "scaled_and_shifted", "sum_with_bias", "interleaved",
    "gated", "sum_and_norm", "products_of_taps", "pixels_of",
):
    kernel = getattr(kernels, name)
    for fixed in (PUBLISHED, SMALLEST):
        if name == "products_of_taps" and fixed is PUBLISHED:
            fixed = fixed | dict(CHANNELS=128)
        if name == "pixels_of" and fixed is PUBLISHED:
            fixed = fixed | dict(POSITIONS=256)
        if name in ALWAYS_BIAS:
            fixed = {{key: value for key, value in fixed.items() if key != "bias"}}
        names = kernel.arg_names
        types = TYPES | (dict(out="*u8") if name == "pixels_of" else {{}})
        signature = {{
            key: "constexpr" if key in fixed else types.get(key, "*fp16") for key in names
        }}
        constants = {{(names.index(key),): fixed[key] for key in names if key in fixed}}
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
        compiled = compile(source, target=GPUTarget("cuda", {capability}, 32))
        assert compiled.asm["cubin"], name
        assert compiled.metadata.shared <= {shared_bytes}, (name, compiled.metadata.shared)
"""
    )
