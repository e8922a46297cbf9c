"""Training a narrow decoder: what is drawn, what is measured, and that the command does it."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file

from inference.engines.musetalk import networks
from inference.engines.musetalk.engine import MuseTalkEngine
from inference.engines.musetalk.nets import vae
from inference.engines.musetalk.nets.operations import PLAIN
from inference.engines.musetalk.prepare.avatar import FaceClip, Provenance, write_clip
from inference.engines.musetalk.training import decoder, fitting, quality, samples
from inference.engines.musetalk.weights import find_tree
from inference.errors import AvatarInvalid, EngineUnavailable

WEIGHTS = Path(__file__).parents[3] / "data" / "musetalk" / "weights"
SPEECH = WEIGHTS.parent / "golden" / "long.flac"
CPU = torch.device("cpu")


pytestmark = [pytest.mark.lasting, pytest.mark.usefixtures("one_torch_thread")]


@pytest.fixture
def models(tmp_path):
    """The small networks, in a tree that may be written to."""
    root = tmp_path / "models"
    root.mkdir()
    for folder in WEIGHTS.iterdir():
        (root / folder.name).symlink_to(folder)
    return root


def write_faces(storage: Path, name: str, frames: int, *, without: int | None = None) -> None:
    rng = np.random.default_rng(frames)
    places = np.tile(np.array([0, 0, 9, 9, 2, 2, 4, 4], np.int32), (frames, 1))
    if without is not None:
        places[without, 4:] = 0
    latents = rng.normal(size=(frames, 8, 32, 32)).astype(np.float16)
    clip = FaceClip(latents, np.zeros((frames, 4, 4), np.uint8), places)
    avatar, _, clip_name = name.rpartition("/")
    write_clip(storage / avatar, clip_name, clip, Provenance("1", "oval"))


@pytest.fixture
def avatars(tmp_path):
    storage = tmp_path / "avatars"
    write_faces(storage, "me/idle_0", 6, without=2)
    write_faces(storage, "me/speaking_0", 7)
    write_faces(storage, ".musetalk/presenter/idle_0", 8)
    return storage


def test_all_prepared_clips_are_found_without_the_pictures_that_show_no_face(avatars):
    found = samples.find_faces(avatars)
    assert [(clip.name, len(clip.frames)) for clip in found] == [
        (".musetalk/presenter/musetalk/idle_0", 8),
        ("me/musetalk/idle_0", 5),
        ("me/musetalk/speaking_0", 7),
    ]
    assert 2 not in found[1].frames


def test_without_prepared_clips_it_is_said_what_to_do(tmp_path):
    with pytest.raises(AvatarInvalid, match="prepare_musetalk"):
        samples.find_faces(tmp_path)


def test_what_is_judged_with_is_not_trained_with(avatars):
    clips = samples.find_faces(avatars)
    training, held_out = samples.split(clips)
    assert len(training) + len(held_out) == 3
    assert not {clip.name for clip in training} & {clip.name for clip in held_out}
    one = samples.FaceLatents("a", clips[0].latents, np.arange(80))
    [first], [last] = samples.split([one])
    assert first.frames[-1] + samples.GAP_FRAMES < last.frames[0]
    assert len(last.frames) == 10


def test_faces_are_drawn_as_filmed_and_as_they_speak(avatars):
    clips = samples.find_faces(avatars)
    context = torch.zeros(5, 50, 32)
    drawn = {
        name: samples.Sampler(
            clips, unet=lambda kept, said: kept[:, :4] * 0 + 9, context=given, device=CPU, seed=3
        ).draw(8)
        for name, given in (("filmed", None), ("spoken", context))
    }
    assert drawn["filmed"].shape == (8, 4, 32, 32)
    kept = np.concatenate([clip.latents[:, 4:] for clip in clips])
    filmed = drawn["filmed"].numpy().astype(np.float16)
    assert all((kept == row).all((1, 2, 3)).any() for row in filmed)
    assert [bool((row == 9).all()) for row in drawn["spoken"]] == [True] * 6 + [False] * 2


def test_the_numbers_of_a_comparison():
    assert quality.psnr_db(0) == math.inf
    assert quality.psnr_db(255**2 / 100) == pytest.approx(20)
    encoder = vae.Encoder(vae.VaeShape((8, 8), 4)).eval().requires_grad_(False)
    pictures = torch.rand(1, 3, 256, 256) * 2 - 1
    near, far = (
        float(quality.feature_distance(encoder, pictures + noise * torch.randn(1), pictures))
        for noise in (0.01, 0.5)
    )
    assert float(quality.feature_distance(encoder, pictures, pictures)) == 0 < near < far

    def gray(latents):
        return torch.zeros(len(latents), 3, 256, 256)

    def with_a_mark(latents):
        decoded = gray(latents)
        decoded[:, :, 150:160, 100:110] = 1.0  # inside the mouth's part
        return decoded

    row = quality.compare("marked", with_a_mark, gray, encoder, [torch.zeros(2, 4, 32, 32)])
    assert row.most == 127
    share = 100 / 256**2
    assert row.mean == pytest.approx(127 * share, rel=1e-3)
    assert row.psnr_db == pytest.approx(quality.psnr_db(127**2 * share), abs=0.01)
    assert row.mouth_psnr_db == pytest.approx(quality.psnr_db(127**2 * 100 / (88 * 128)), abs=0.01)


def test_the_rate_rises_and_falls_over_steps_or_time():
    recipe = fitting.Recipe(steps=1_000, rate=1.0, warm_up_steps=10, limit_s=100)
    assert fitting.rate_at(recipe, 0, 0) == pytest.approx(0.1)
    assert fitting.rate_at(recipe, 500, 0) == pytest.approx(0.5)
    assert fitting.rate_at(recipe, 500, 75) < 0.2
    assert fitting.rate_at(recipe, 500, 100) == 0


@pytest.mark.parametrize("has_bias", [True, False])
def test_the_upsampler_that_can_be_trained_is_the_upsampler(has_bias):
    phases, bias = torch.randn(2, 12, 4, 6), torch.randn(3) if has_bias else None
    torch.testing.assert_close(fitting.interleave(phases, bias), PLAIN.interleave(phases, bias))


def test_a_loss_that_is_not_finite_ends_the_training():
    student = torch.nn.Conv2d(4, 3, 1)
    with pytest.raises(fitting.TrainingFailed, match="--rate"):
        fitting.fit(
            student,
            lambda latents: torch.full((1, 3, 32, 32), torch.nan),
            None,
            lambda count: torch.zeros(1, 4, 32, 32),
            fitting.Recipe(steps=3, feature_weight=0),
        )


@pytest.mark.slow
def test_the_command_trains_a_decoder_that_the_engine_can_use(models, avatars, capsys):
    common = ["--models", str(models), "--avatars", str(avatars), "--device", "cpu"]
    common += ["--batch", "1", "--pictures", "2", "--rate", "0.003"]
    decoder.main([*common, "--steps", "1"])
    folder = models / "narrow-decoder"
    untrained = psnr(folder / "report.md")
    with pytest.raises(SystemExit, match="--resume"):
        decoder.main([*common, "--steps", "1"])
    decoder.main([*common, "--steps", "12", "--replace"])
    assert psnr(folder / "report.md") > untrained + 1
    write_tiny_decoder(models / "taesd")
    decoder.main([*common, "--steps", "1", "--resume", "--speech", str(SPEECH)])
    text = (folder / "report.md").read_text()
    assert "s of speech" in text
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    assert rows == ["decoder", "sd, the real one", "narrow", "taesd"]
    assert "| sd, the real one | inf | inf | 0.0000 | 0.00 | 0 |" in text

    engine = MuseTalkEngine(models, device="cpu", decoder="narrow", max_batch=1)
    engine.load()
    assert engine.state().is_healthy
    tree = find_tree(models)
    nets = networks.load_networks(tree, decoder="narrow")
    whole = networks.load_networks(tree).decoder
    count = [sum(x.numel() for x in net.parameters()) for net in (nets.decoder, whole)]
    assert 0.2 < count[0] / count[1] < 0.35
    pixels, is_finite = nets.decoder.to_bytes(torch.zeros(1, 4, 32, 32))
    assert (pixels.shape, bool(is_finite.all())) == ((1, 3, 256, 256), True)


def write_tiny_decoder(folder: Path) -> None:
    """With the weights that the library begins with."""
    net = networks.published_tiny_decoder({})
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    save_file(net.state_dict(), folder / "diffusion_pytorch_model.safetensors")


def psnr(report: Path) -> float:
    [line] = [one for one in report.read_text().splitlines() if one.startswith("| narrow")]
    return float(line.split("|")[2])


def test_a_tree_without_a_narrow_decoder_says_how_to_make_one(models):
    with pytest.raises(EngineUnavailable, match=r"training\.decoder"):
        networks.load_networks(find_tree(models), decoder="narrow")


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"block_out_channels": [8, 8], "norm_num_groups": 3, "layers_per_block": 2},
        {"block_out_channels": [8, -8], "norm_num_groups": 4, "layers_per_block": 2},
        {"block_out_channels": [10**9], "norm_num_groups": 1, "layers_per_block": 2},
    ],
)
def test_a_config_that_is_none_is_refused(models, config):
    folder = models / "narrow-decoder"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "decoder.safetensors").write_bytes(b"")
    with pytest.raises(EngineUnavailable, match=r"narrow-decoder/config\.json"):
        networks.load_narrow_decoder(find_tree(models))
