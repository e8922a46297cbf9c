"""The shorter way through a block gives what the plain one gives.

The kernels are run by Triton's interpreter and compiled to machine code for GPUs that are not here;
both need Triton, which CUDA builds of torch bring, and processes of their own: Triton decides once
whether it interprets.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional

from benchmarks import musetalk_paths as paths
from inference.engines.musetalk.nets import blocks, fused

ROOT = Path(__file__).parents[4]

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="needs Triton, as CUDA builds of torch do"
)


def group_norm(x, groups, weight, beta, eps, *, bias=None, is_silu=False):
    shifted = x if bias is None else x + bias[:, None, None]
    normed = functional.group_norm(shifted, groups, weight, beta, eps)
    return functional.silu(normed) if is_silu else normed


PLAIN = SimpleNamespace(group_norm=group_norm, add=lambda x, y, bias: x + y + bias[:, None, None])
"""What the kernels compute, in plain torch."""


@pytest.mark.parametrize(("before", "after"), [(16, 16), (16, 32)])
def test_biases_in_passing_are_the_convolutions_biases(before, after):
    torch.manual_seed(1)
    block = blocks.ResnetBlock(before, after, 8, 1e-5).eval()
    x = torch.randn(2, before, 8, 8)
    with torch.inference_mode():
        wanted = block(x)
        blocks.fuse(block, PLAIN)
        torch.testing.assert_close(block(x), wanted, atol=1e-5, rtol=1e-5)
        assert block.fused is PLAIN
        blocks.fuse(block, None)
        assert (block(x) == wanted).all()


def test_whole_nets_by_the_shorter_way():
    nets = paths.make_nets(full=False, tiny=False)
    latents, tokens = paths.inputs(1, 32)
    with torch.inference_mode():
        wanted = nets.decoder(nets.unet(latents.float(), tokens))
        for net in (nets.unet, nets.decoder):
            blocks.fuse(net, PLAIN)
        found = nets.decoder(nets.unet(latents.float(), tokens))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_where_there_is_no_gpu_torchs_own_are_used():
    assert fused.find(torch.device("cpu"), torch.float32) is None


def run(code: str, **environment: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


@needs_triton
def test_the_kernels_are_exact():
    """As near to double precision as torch's own, also where the mean is far from zero."""
    run(
        """
import torch
from torch.nn import functional
from inference.engines.musetalk.nets import fused

assert fused.largest_error(torch.device("cpu"), torch.float32) < 1e-5
torch.manual_seed(1)
for shape, groups in (
    ((1, 128, 32, 32), 32), ((2, 1280, 4, 4), 32), ((3, 24, 6, 10), 8), ((2, 16, 7, 5), 16)
):
    x = torch.randn(shape) * 2 + 100
    weight, beta = torch.randn(2, shape[1])
    found = fused.group_norm(x, groups, weight, beta, 1e-6)
    plain = functional.group_norm(x, groups, weight, beta, 1e-6)
    exact = functional.group_norm(x.double(), groups, weight.double(), beta.double(), 1e-6)
    assert (found - exact).abs().max() < 2 * (plain - exact).abs().max() + 1e-5
    assert found.is_contiguous(memory_format=torch.channels_last)
""",
        TRITON_INTERPRET="1",
    )


@needs_triton
@pytest.mark.parametrize("capability", [75, 80, 90, 120])
def test_the_kernels_are_compiled_for_gpus_that_are_not_here(capability):
    run(
        f"""
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from inference.engines.musetalk.nets import kernels

TYPES = dict(
    x="*fp16", y="*fp16", out="*fp16", weight="*fp16", beta="*fp16", bias="*fp16",
    means="*fp32", squares="*fp32", scale="*fp32", shift="*fp32",
    tiles="i32", channels="i32", group="i32", eps="fp32",
)
PUBLISHED = dict(HAS_BIAS=True, IS_SILU=True, POSITIONS=64, CHANNELS=64, TILES=1024, GROUP=4)
SMALLEST = dict(
    HAS_BIAS=False, IS_SILU=False, POSITIONS=16, CHANNELS=8, TILES=1, GROUP=1,
    bias=None, tiles=1, group=1,
)
for name in ("tile_moments", "scale_and_shift", "scaled_and_shifted", "sum_with_bias"):
    kernel = getattr(kernels, name)
    for fixed in (PUBLISHED, SMALLEST):
        if name == "sum_with_bias":
            fixed = {{key: value for key, value in fixed.items() if key != "bias"}}
        names = kernel.arg_names
        signature = {{key: "constexpr" if key in fixed else TYPES[key] for key in names}}
        constants = {{(names.index(key),): fixed[key] for key in names if key in fixed}}
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
        assert compile(source, target=GPUTarget("cuda", {capability}, 32)).asm["cubin"]
"""
    )
