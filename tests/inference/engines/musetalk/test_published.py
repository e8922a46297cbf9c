"""What a published file must hold is what the real ones do, and what the libraries say."""

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from benchmarks import published_nets, rule_tree
from inference.engines.musetalk.nets import published
from inference.engines.musetalk.nets.unet import UNetShape
from inference.engines.musetalk.nets.vae import VaeShape
from inference.engines.musetalk.nets.whisper import WhisperShape

OURS: dict[str, Callable[[dict[str, Any]], published.Shapes]] = {
    "unet": lambda config: published.unet_shapes(UNetShape.from_config(config)),
    "vae": lambda config: published.vae_shapes(VaeShape.from_config(config)),
    "whisper": lambda config: published.whisper_encoder_shapes(WhisperShape.from_config(config)),
}
THE_LIBRARIES = {
    "unet": published_nets.published_unet,
    "vae": published_nets.published_vae,
    "whisper": published_nets.published_whisper,
}


def used_of(name: str, shapes: dict[str, Any]) -> dict[str, list[int]]:
    """All but Whisper's decoder, which MuseTalk does not use."""
    named = {key.removeprefix("model."): list(shape) for key, shape in shapes.items()}
    return {
        key: shape
        for key, shape in named.items()
        if name != "whisper" or key.startswith("encoder.")
    }


@pytest.mark.parametrize("name", rule_tree.PUBLISHED)
def test_the_real_files_hold_it(name: str) -> None:
    wanted = OURS[name](rule_tree.config_of(name))
    assert used_of(name, wanted) == used_of(name, rule_tree.shapes_of(name))


@pytest.mark.lasting
@pytest.mark.parametrize("is_full", [True, False])
@pytest.mark.parametrize("name", rule_tree.PUBLISHED)
def test_the_libraries_say_the_same(name: str, is_full: bool) -> None:
    config = rule_tree.config_of(name, full=is_full)
    with torch.device("meta"):
        definition = THE_LIBRARIES[name](config)
    shapes = published.shapes_of(definition)
    assert used_of(name, OURS[name](config)) == used_of(name, shapes)
