"""The error budget: half precision as it is emulated, rows against what they may be off."""

import json
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional

from benchmarks import accuracy, musetalk_paths
from benchmarks.accuracy import is_within, line_of
from benchmarks.accuracy_stages import (
    Off,
    in_precision,
    kernels,
    pasted,
    random_inputs,
    small_for_kernels,
)
from benchmarks.rounding import RoundsResults, round_weights, rounded
from inference.engines.musetalk.nets import choice, fused
from inference.engines.musetalk.nets.choice import KERNEL_NAMES
from inference.engines.musetalk.nets.operations import PLAIN

CPU = torch.device("cpu")


pytestmark = [pytest.mark.lasting, pytest.mark.usefixtures("one_torch_thread")]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_result_is_rounded_once_and_computed_in_single_precision(dtype):
    torch.manual_seed(1)
    x, weight = rounded(torch.randn(2, 4, 6, 6), dtype), rounded(torch.randn(3, 4, 3, 3), dtype)
    exact = functional.conv2d(x, weight)
    with RoundsResults(dtype):
        found = functional.conv2d(x, weight)
        silu = functional.silu(found)
    assert (found == rounded(exact, dtype)).all()
    assert (found != exact).any()
    assert (silu == rounded(functional.silu(rounded(exact, dtype)), dtype)).all()


def test_what_is_written_into_a_part_of_a_tensor_arrives_there():
    """The upsampler writes its four phases into views of one picture."""
    torch.manual_seed(1)
    phases, bias = torch.randn(1, 8, 4, 4), torch.randn(2)
    with RoundsResults(torch.float16):
        found = PLAIN.interleave(phases, bias)
    assert (found == rounded(PLAIN.interleave(phases, bias), torch.float16)).all()


def test_what_half_precision_cannot_hold_is_infinite():
    with RoundsResults(torch.float16):
        assert (torch.full((2,), 40_000.0) * 2).isinf().all()


def test_the_emulation_is_as_far_off_as_computing_in_half_precision():
    nets = musetalk_paths.make_nets(full=False)
    latents, context = random_inputs(2, nets.width, CPU)
    with torch.inference_mode():
        wanted = nets.unet(latents, context)
        emulated = in_precision(nets.unet, torch.float16, CPU)(latents, context)
        native = nets.unet.half()(latents.half(), context.half()).float()
    off = [float((found - wanted).square().mean().sqrt()) for found in (emulated, native)]
    assert 0.5 < off[0] / off[1] < 2


def test_weights_are_rounded_in_place():
    net = torch.nn.Conv2d(2, 2, 1)
    round_weights(net, torch.bfloat16)
    assert all((x == x.bfloat16().float()).all() for x in net.parameters())


def test_a_pasted_face_is_the_face():
    faces = torch.zeros(1, 3, 256, 256, dtype=torch.uint8)
    black, white = pasted(faces), pasted(faces + 255)
    assert (int(black.min()), int(white.max())) == (16, 235)


@pytest.mark.parametrize(
    ("row", "is_ok", "verdict"),
    [
        (Off("whole face", "float16", 0.2, 5), True, "ok"),
        (Off("whole face", "float16", 0.2, 9), False, "OVER"),
        (Off("whole face", "float16", 0.4, 5), False, "OVER"),
        (Off("whole face", "float16", 0.0, 0, is_finite=False), False, "OVER (not finite)"),
        (Off("whole face", "bfloat16", 2, 60), True, ""),
        (Off("kernel add", "float32", 0.0, 2), False, "OVER"),
        (Off("kernel add", "float16", 0.1, 2), True, "ok"),
        (Off("all kernels, to single precision", "float16", 0.1, 4), False, "OVER"),
        (Off("plain networks", "float16", 1, 9), True, ""),
    ],
)
def test_rows_against_the_budget(row, is_ok, verdict):
    assert is_within(row) is is_ok
    line = line_of(row)
    assert line.endswith(verdict)
    assert verdict or not line.endswith(("ok", "OVER"))


@pytest.mark.slow
def test_the_command_measures_every_stage_and_fails_over_the_budget(tmp_path, monkeypatch, capsys):
    path = tmp_path / "rows.json"
    arguments = ["--device", "cpu", "--pictures", "1", "--threads", "1", "--json", str(path)]
    assert accuracy.main(arguments) == 0
    rows = json.loads(path.read_text())
    assert {row["stage"] for row in rows if row["precision"] == "float16"} == {
        "encoder's latents",
        "encoder alone",
        *accuracy.HALF,
    }
    assert "15 rows, 0 over their budget" in capsys.readouterr().out
    by_name = {(row["stage"], row["precision"]): row["mean"] for row in rows}
    whole, coarse = (by_name["whole face", name] for name in ("float16", "bfloat16"))
    assert 0 < whole < coarse / 4
    tight = accuracy.HALF | {"whole face": accuracy.Budget(whole / 2, 8)}
    monkeypatch.setattr(accuracy, "HALF", tight)
    assert [is_within(Off(**row)) for row in rows].count(False) == 1


def test_a_wrong_kernel_is_over_its_budget(monkeypatch):
    wrong = replace(PLAIN, geglu=lambda x: 1.3 * PLAIN.geglu(x))
    monkeypatch.setattr(fused, "KERNELS", wrong)
    monkeypatch.setattr(choice, "LEVERS", wrong)
    with torch.inference_mode():
        rows = list(kernels(*small_for_kernels(), CPU, torch.float32))
    failed = [row.stage for row in rows if not is_within(row)]
    assert failed == ["kernel geglu", "all kernels", "all kernels, to single precision"]
    assert len(rows) == len(KERNEL_NAMES) + 3
