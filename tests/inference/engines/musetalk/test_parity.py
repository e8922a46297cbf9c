"""Every stage against golden data of the reference, and each usual mistake caught."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks import parity, parity_fullsize
from benchmarks.parity_table import Verdict
from inference.engines.musetalk import networks
from inference.engines.musetalk.audio import speech
from inference.engines.musetalk.face import latents
from inference.engines.musetalk.weights import find_tree

pytestmark = pytest.mark.lasting

DATA = Path(__file__).parents[3] / "data" / "musetalk"


@pytest.fixture(scope="module", autouse=True)
def without_gradients(one_torch_thread):
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def nets():
    return networks.load_networks(find_tree(DATA / "weights"))


@pytest.fixture
def golden(nets):
    return parity.GoldenSet(DATA / "golden", nets)


def short(verdicts: list[Verdict]) -> set[str]:
    return {verdict.stage for verdict in verdicts if not verdict.passed}


def test_every_stage_is_within_its_tolerance(golden):
    verdicts = parity.measure(golden)
    assert short(verdicts) == set()
    assert len(verdicts) == 58


def test_the_libraries_networks_and_ours_agree(golden, nets):
    from benchmarks.published_nets import published_networks

    published = published_networks(find_tree(DATA / "weights"))
    vision = golden.vision
    start = torch.from_numpy(vision["unet_latents"]).expand(3, -1, -1, -1)
    context = torch.from_numpy(vision["unet_audio"])
    predicted = torch.from_numpy(vision["pred_latents"])
    mel = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 80, 3000)).astype(np.float32))
    for ours, theirs in (
        (nets.unet(start, context), published.unet(start, context)),
        (nets.decoder(predicted), published.decoder(predicted)),
        (nets.whisper(mel), published.whisper(mel)),
    ):
        torch.testing.assert_close(ours, theirs, atol=5e-4, rtol=1e-4)


def generation(golden):
    return short(list(parity.generation_stages(golden)))


CHAINED = {"UNet, chained", "decoded, chained"}


def test_no_positional_table_is_caught(golden, monkeypatch):
    monkeypatch.setattr(speech, "positional_table", lambda width: torch.zeros(50, width))
    assert generation(golden) >= CHAINED | {"UNet context"}


def test_a_window_one_frame_late_is_caught(golden, monkeypatch):
    right = speech.recording_tokens

    def late(features, frames, frames_per_second=25):
        return right(features, frames + 1, frames_per_second)[1:]

    monkeypatch.setattr(speech, "recording_tokens", late)
    assert generation(golden) >= CHAINED | {"UNet context"}


def test_layer_major_tokens_are_caught(golden, monkeypatch):
    right = speech.recording_tokens

    def layer_major(features, frames, frames_per_second=25):
        tokens = right(features, frames, frames_per_second)
        return tokens.unflatten(1, (10, 5)).transpose(1, 2).flatten(1, 2)

    monkeypatch.setattr(speech, "recording_tokens", layer_major)
    assert generation(golden) >= CHAINED | {"UNet context"}
    assert "tokens" in short(list(parity.sound_stages(golden)))


def test_the_posterior_mode_in_place_of_the_sample_is_caught(golden, monkeypatch):
    right = latents.unet_latents
    monkeypatch.setattr(
        latents, "unet_latents", lambda mean, deviation, noise: right(mean, deviation)
    )
    assert generation(golden) >= CHAINED
    assert "UNet latents" in short(list(parity.face_stages(golden)))


def test_masked_and_reference_swapped_are_caught(golden, monkeypatch):
    right = latents.encoder_input
    monkeypatch.setattr(latents, "encoder_input", lambda crop: right(crop).flip(0))
    assert generation(golden) >= CHAINED
    assert short(list(parity.face_stages(golden))) >= {"masked input", "reference input"}


def test_another_timestep_is_caught(golden):
    golden.nets = networks.Networks(
        whisper=golden.nets.whisper,
        unet=parity.with_timestep(DATA / "weights", 1),
        decoder=golden.nets.decoder,
        encoder=golden.nets.encoder,
        face_parsing=None,
    )
    assert "UNet" in generation(golden)


def test_the_command_exits_by_the_verdict(monkeypatch, capsys, golden, nets):
    monkeypatch.setattr(networks, "load_networks", lambda tree: nets)
    monkeypatch.setattr(
        "sys.argv", ["parity", str(DATA / "golden"), "--models", str(DATA / "weights")]
    )
    monkeypatch.setattr(parity, "measure", lambda golden: list(parity.blend_stages(golden)))
    assert parity.main() == 0
    assert "0 short" in capsys.readouterr().out
    monkeypatch.setattr(
        parity, "measure", lambda golden: [Verdict("stage", "<= 1", "2", passed=False)]
    )
    assert parity.main() == 1
    assert "SHORT" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.lasting
def test_the_networks_at_full_size():
    assert short(parity_fullsize.measure(DATA / "fullsize")) == set()
