"""Which attention runs for a shape is chosen once, by what was measured; what fails gives way."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional

from benchmarks import musetalk_paths as paths
from inference.engines.musetalk.nets import attention, blocks
from inference.engines.musetalk.nets.attention import Candidate, MeasuredAttention, fastest
from inference.engines.musetalk.nets.operations import PLAIN

CPU = torch.device("cpu")


def torchs(query, key, value):
    return functional.scaled_dot_product_attention(query, key, value)


def of_shape(tokens=6, keys=6, batch=2, heads=2, width=8):
    generator = torch.Generator().manual_seed(tokens)
    return [torch.randn(batch, heads, n, width, generator=generator) for n in (tokens, keys, keys)]


class Kernels:
    """Candidates that count their calls; times are given."""

    def __init__(self, **times):
        self.times = times
        self.calls = dict.fromkeys(times, 0)
        self.running = ""

    def candidates(self):
        return {name: self.kernel(name) for name in self.times if name != "torch"}

    def kernel(self, name):
        def run(query, key, value):
            self.calls[name] += 1
            self.running = name
            if self.times[name] is None:
                raise NotImplementedError("no kernel for this head size")
            # As exact as torch's, but not the same numbers.
            return torchs(query, key, value) + 1e-9

        return run

    def measure(self, work, device):
        self.running = "torch"
        work()
        return self.times[self.running]


def attending(kernels, **options):
    return MeasuredAttention(
        CPU, candidates=kernels.candidates(), measure=kernels.measure, **options
    )


@pytest.mark.lasting
def test_the_fastest_is_chosen_for_each_shape_once():
    kernels = Kernels(torch=1.0, slow=2.0, quick=0.5, broken=None)
    attend = attending(kernels)
    for shape in ((6, 6), (6, 3)):
        some = of_shape(*shape)
        torch.testing.assert_close(attend(*some), torchs(*some))
    tried = dict(kernels.calls)
    attend(*of_shape())
    assert kernels.calls == {**tried, "quick": tried["quick"] + 1}
    assert tried["broken"] == 2


def test_what_was_chosen_in_one_precision_is_not_used_in_another():
    """Preparing goes over to single precision where half of it overflows."""

    def half_only(query, key, value):
        if query.dtype is torch.float32:
            raise RuntimeError("expected query, key and value to be of half precision")
        return torchs(query, key, value)

    times = iter((1.0, 0.5, 1.0))
    attend = MeasuredAttention(
        CPU, candidates={"half": half_only}, measure=lambda work, device: next(times)
    )
    some = of_shape()
    attend(*(x.bfloat16() for x in some))
    torch.testing.assert_close(attend(*some), torchs(*some))


def test_where_nothing_is_faster_torch_chooses():
    kernels = Kernels(torch=1.0, other=0.97)
    attend = attending(kernels)
    attend(*of_shape())
    before = kernels.calls["other"]
    attend(*of_shape())
    assert kernels.calls["other"] == before


def test_what_is_wrong_is_not_fast():
    own = Candidate("torch", 1e-3, 1.0)
    assert fastest([own, Candidate("a", 1.9e-3, 0.5)]) == "a"
    assert fastest([own, Candidate("a", 2.1e-3, 0.5), Candidate("b", 1e-3, 0.9)]) == "b"
    assert fastest([own, Candidate("a", float("inf"), 0.1), Candidate("b")]) is None
    assert fastest([own]) is None


def test_trying_ends():
    clock = iter(range(0, 10_000, 8))
    kernels = Kernels(torch=1.0, quick=0.5)
    attend = attending(kernels, now_s=lambda: float(next(clock)))
    for keys in (2, 3, 4, 5):
        attend(*of_shape(keys=keys))
    calls = dict(kernels.calls)
    attend(*of_shape(keys=2))
    attend(*of_shape(keys=5))
    assert kernels.calls["quick"] == calls["quick"] + 1, "the fourth shape came too late"


def test_short_memory_while_trying_is_torchs_choice(monkeypatch):
    attend = attending(Kernels(torch=1.0, quick=0.5))

    def short(self, query, key, value):
        raise torch.OutOfMemoryError("CUDA out of memory")

    some = of_shape()
    with monkeypatch.context() as patched:
        patched.setattr(MeasuredAttention, "_tried", short)
        torch.testing.assert_close(attend(*some), torchs(*some))
    torch.testing.assert_close(attend(*some), torchs(*some))


def test_while_something_is_recorded_nothing_is_tried(monkeypatch):
    kernels = Kernels(torch=1.0, quick=0.5)
    attend = MeasuredAttention(
        torch.device("cuda"), candidates=kernels.candidates(), measure=kernels.measure
    )
    some = of_shape()
    with monkeypatch.context() as recording:
        recording.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
        torch.testing.assert_close(attend(*some), torchs(*some))
        assert kernels.calls["quick"] == 0
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    attend(*some)
    assert kernels.calls["quick"] > 0


@pytest.mark.parametrize(("heads", "width"), [(1, 64), (4, 16)])
def test_two_products_are_attention(heads, width, monkeypatch):
    """Also of queries, keys and values that are parts of one tensor."""
    right = torch.bmm
    monkeypatch.setattr(  # only CUDA's product gives another precision than it takes
        torch, "bmm", lambda a, b, out_dtype=None: right(a, b)
    )
    qkv = torch.randn(2, 10, 3 * heads * width, generator=torch.Generator().manual_seed(1))
    some = [x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in qkv.chunk(3, -1)]
    torch.testing.assert_close(attention.products(*some), torchs(*some), atol=1e-5, rtol=1e-4)


def test_the_kernels_are_called_as_torch_declares_them():
    """No GPU runs them here; a signature that changed would leave them unused without a word."""
    aten = torch.ops.aten
    for name, given in (("cudnn", 5), ("flash", 3), ("efficient", 5)):
        schema = getattr(aten, f"_scaled_dot_product_{name}_attention").default._schema
        arguments = [one for one in schema.arguments if not one.kwarg_only]
        needed = [one.name for one in arguments if not one.has_default_value()]
        assert needed == [one.name for one in arguments[: len(needed)]]
        assert len(needed) == given, schema
        assert schema.returns[0].name in ("output", "")
        assert needed[:3] == ["query", "key", "value"]


@pytest.mark.lasting
def test_every_attention_of_the_nets_is_chosen():
    nets = paths.make_nets(full=False)
    latents, tokens = paths.inputs(1, 32)
    met = set()

    def attend(query, key, value):
        met.add((*query.shape[1:], key.shape[2]))
        return torchs(query, key, value)

    with torch.inference_mode():
        wanted = nets.decoder(nets.unet(latents.float(), tokens))
        for net in (nets.unet, nets.decoder):
            blocks.use_operations(net, replace(PLAIN, attend=attend))
        found = nets.decoder(nets.unet(latents.float(), tokens))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    tokens_of = {(shape[1], shape[3]) for shape in met}
    sides = (32, 16, 8, 4)
    assert tokens_of == {(s * s, s * s) for s in sides} | {(s * s, 50) for s in sides}
    assert (1, 1_024, 32, 1_024) in met, "the decoder's"
