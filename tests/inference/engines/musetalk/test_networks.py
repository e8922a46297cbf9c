"""Checkpoints that do not fit are refused, and the message names what is wrong."""

import json
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file

from inference.engines.musetalk import networks
from inference.engines.musetalk.nets.published import shapes_of
from inference.engines.musetalk.weights import find_tree
from inference.errors import EngineUnavailable

pytestmark = pytest.mark.lasting

WEIGHTS = Path(__file__).parents[3] / "data" / "musetalk" / "weights"
UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
KEY = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"


@pytest.fixture
def root(tmp_path):
    shutil.copytree(WEIGHTS, tmp_path, dirs_exist_ok=True)
    return tmp_path


def refused(root: Path) -> str:
    with pytest.raises(EngineUnavailable) as caught:
        networks.load_networks(find_tree(root))
    return str(caught.value)


def rewritten(path: Path, change) -> None:
    checkpoint = load_file(path)
    change(checkpoint)
    save_file(checkpoint, path)


def test_a_missing_tensor_is_named(root):
    rewritten(root / UNET, lambda checkpoint: checkpoint.pop(KEY))
    assert refused(root).endswith(f"tensor {KEY} is missing")


def test_an_unknown_tensor_is_named(root):
    rewritten(root / UNET, lambda checkpoint: checkpoint.update(surprise=torch.zeros(1)))
    assert "tensor surprise is not part" in refused(root)


def test_a_tensor_of_another_shape_is_named(root):
    rewritten(root / UNET, lambda checkpoint: checkpoint.update({KEY: torch.zeros(16, 31)}))
    assert f"tensor {KEY} has shape [16, 31], wanted [16, 32]" in refused(root)


@pytest.mark.parametrize(
    ("file", "entry", "value"),
    [
        ("unet/config.json", "in_channels", 4),
        ("unet/config.json", "attention_head_dim", 16),
        ("vae/config.json", "latent_channels", 16),
        ("vae/config.json", "scaling_factor", 0.13025),
        ("whisper/config.json", "encoder_layers", 6),
    ],
)
def test_a_config_of_another_net_is_refused(root, file, entry, value):
    config = json.loads((root / file).read_text())
    (root / file).write_text(json.dumps(config | {entry: value}))
    message = refused(root)
    assert entry in message
    assert file in message


def test_a_truncated_file_is_named(root):
    whole = (root / UNET).read_bytes()
    (root / UNET).write_bytes(whole[: len(whole) // 2])
    assert f"{UNET} cannot be read" in refused(root)


def test_a_pickle_that_holds_code_is_not_run(root):
    class Payload:
        def __reduce__(self):
            return (Path.touch, (root / "ran",))

    (root / UNET).unlink()
    torch.save({"conv_in.weight": Payload()}, root / "unet/unet.pth")
    assert "cannot be read" in refused(root)
    assert not (root / "ran").exists()


def test_pickled_weights_with_the_old_attention_names_load(root):
    """As the published VAE file has them, and as unet.pth is stored."""
    checkpoint = load_file(root / VAE)
    old = {}
    for key, value in checkpoint.items():
        for new, name in (("to_q", "query"), ("to_k", "key"), ("to_v", "value")):
            key = key.replace(f".{new}.", f".{name}.")
        old[key.replace(".to_out.0.", ".proj_attn.")] = value
    assert any(".proj_attn." in key for key in old)
    torch.save(old, root / "vae/diffusion_pytorch_model.bin")
    (root / VAE).unlink()
    torch.save(load_file(root / UNET), root / "unet/unet.pth")
    (root / UNET).unlink()
    again = networks.load_networks(find_tree(root))
    before = networks.load_networks(find_tree(WEIGHTS))
    for ours, theirs in ((again.decoder, before.decoder), (again.unet, before.unet)):
        for key, value in ours.state_dict().items():
            assert torch.equal(value, theirs.state_dict()[key]), key


def test_the_published_tensor_names_fold_into_the_full_nets():
    """Names and shapes of the real checkpoints, on the meta device: no memory, no file."""
    from benchmarks.rule_weights import read_shapes
    from inference.engines.musetalk.nets import face_parsing, unet, vae, whisper

    def published(name):
        shapes = read_shapes(WEIGHTS.parent / "fullsize" / f"keys_{name}.json")
        return {key: torch.empty(shape) for key, shape in shapes.items()}

    def fits(net, checkpoint):
        assert shapes_of(net) == {key: x.shape for key, x in checkpoint.items()}

    with torch.device("meta"):
        fits(unet.UNet(unet.UNetShape()), unet.fold_checkpoint(published("unet")))
        checkpoint = published("sd_vae")
        fits(vae.Decoder(vae.VaeShape()), vae.fold_checkpoint(checkpoint, "decoder"))
        fits(vae.Encoder(vae.VaeShape()), vae.fold_checkpoint(checkpoint, "encoder"))
        encoder = whisper.encoder_checkpoint(published("whisper_tiny"))
        fits(whisper.WhisperEncoder(whisper.WhisperShape()), encoder)
        fits(face_parsing.BiSeNet(), published("bisenet"))


def test_the_tiny_decoder_is_the_librarys():
    from inference.engines.musetalk.nets import tiny_decoder

    torch.manual_seed(1)
    definition = networks.published_tiny_decoder({}).eval()
    ours = tiny_decoder.TinyDecoder().eval()
    ours.load_state_dict(tiny_decoder.decoder_checkpoint(definition.state_dict()))
    latents = torch.randn(2, 4, 8, 8) * 3
    with torch.inference_mode():
        torch.testing.assert_close(ours(latents), definition.decode(latents).sample)
