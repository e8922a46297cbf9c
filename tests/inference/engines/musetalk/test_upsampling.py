"""A 2x2 convolution on the small picture is doubling and a 3x3 one; so is a transposed one."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional

from inference.engines.musetalk.nets.operations import PLAIN
from inference.engines.musetalk.nets.upsampling import Upsampler, fold, transposed


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (8, 8)])
def test_it_is_doubling_and_a_convolution(size, has_bias, layout):
    torch.manual_seed(1)
    weight, bias = torch.randn(6, 6, 3, 3).double(), torch.randn(6).double()
    x = torch.randn(2, 6, *size).double().contiguous(memory_format=layout)
    upsampler = Upsampler(6, has_bias=has_bias).double()
    state = {"conv.weight": fold(weight)} | ({"bias": bias} if has_bias else {})
    upsampler.load_state_dict(state)
    wanted = functional.conv2d(
        functional.interpolate(x, scale_factor=2.0, mode="nearest"),
        weight,
        bias if has_bias else None,
        padding=1,
    )
    with torch.inference_mode():
        found = upsampler(x)
        upsampler.operations = replace(PLAIN, upsample=transposed)
        other = upsampler(x)
    torch.testing.assert_close(other, wanted, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=1e-12)
    if min(size) > 1:
        assert found.is_contiguous(memory_format=layout)
