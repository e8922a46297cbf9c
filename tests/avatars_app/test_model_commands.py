"""``manage.py download_models`` and ``check_models``, as somebody at a terminal meets them."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from inference.engines.musetalk import weights

SMALL = Path(__file__).parents[1] / "data" / "musetalk" / "weights"


def said(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, stderr=out)
    return out.getvalue()


def test_nothing_is_fetched_before_the_licences_are_accepted(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "download", lambda *args, **kwargs: pytest.fail("fetched"))
    out = StringIO()
    with pytest.raises(CommandError, match="--accept-licences"):
        call_command("download_models", "--to", str(tmp_path), stdout=out)
    assert "OpenRAIL" in out.getvalue()
    assert "non-commercial" in out.getvalue()


def test_what_fell_short_is_named(tmp_path, monkeypatch):
    file = weights.FILES[1]
    state = weights.FileState(file, "wrong", "SHA-256 differs")
    monkeypatch.setattr(weights, "download", lambda *args, **kwargs: [state])
    with pytest.raises(CommandError, match="not all files are right"):
        said("download_models", "--accept-licences", "--to", str(tmp_path))


def test_a_tree_of_other_weights_is_found_and_loaded():
    pytest.importorskip("torch")
    text = said("check_models", "--quick", "--load", "--at", str(SMALL))
    assert "they fit: whisper/config.json" in text
    assert "finds its weights" in text


def test_an_empty_tree_says_what_to_do(tmp_path):
    with pytest.raises(CommandError, match="download_models"):
        said("check_models", "--at", str(tmp_path))


def test_a_truncated_file_is_wrong(tmp_path):
    (tmp_path / "musetalkV15").mkdir()
    (tmp_path / "musetalkV15/unet.pth").write_bytes(b"short")
    with pytest.raises(CommandError, match=r"not the published files: musetalkV15/unet\.pth"):
        said("check_models", "--quick", "--at", str(tmp_path))
