"""The tree of rule-made weights is what the engine takes for the published one."""

import sys

import pytest

torch = pytest.importorskip("torch")

from benchmarks import rule_tree
from inference.engines.musetalk import networks
from inference.engines.musetalk.weights import find_tree

PUBLISHED = {
    "unet": networks.published_unet,
    "vae": networks.published_vae,
    "whisper": networks.published_whisper,
}


@pytest.mark.lasting
@pytest.mark.parametrize("name", rule_tree.PUBLISHED)
def test_configs_and_tensors_belong_together(name):
    with torch.device("meta"):
        definition = PUBLISHED[name](rule_tree.config_of(name))
    wanted = {key: list(value.shape) for key, value in definition.state_dict().items()}
    found = {key.removeprefix("model."): shape for key, shape in rule_tree.shapes_of(name).items()}
    if name == "whisper":  # of which MuseTalk uses the encoder alone
        wanted, found = (
            {key: shape for key, shape in shapes.items() if key.startswith("encoder.")}
            for shapes in (wanted, found)
        )
    assert found == wanted


def test_the_small_tree_is_found(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["rule_tree", str(tmp_path / "models"), "--small"])
    assert rule_tree.main() == 0
    assert "ENGINE=musetalk MODEL_PATH=" in capsys.readouterr().out
    assert find_tree(tmp_path / "models").whisper_config.is_file()
