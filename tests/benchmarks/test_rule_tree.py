"""The tree of rule-made weights is what the engine takes for the published one."""

import sys

import pytest

torch = pytest.importorskip("torch")

from benchmarks import rule_tree
from inference.engines.musetalk.weights import find_tree


def test_the_small_tree_is_found(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["rule_tree", str(tmp_path / "models"), "--small"])
    assert rule_tree.main() == 0
    assert "ENGINE=musetalk MODEL_PATH=" in capsys.readouterr().out
    assert find_tree(tmp_path / "models").whisper_config.is_file()
