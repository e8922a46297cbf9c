"""``manage.py download_models`` and ``check_models``, as used at a terminal."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from inference.engines.musetalk import weights
from tests.factories import make_avatar

SMALL = Path(__file__).parents[1] / "data" / "musetalk" / "weights"


def said(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, stderr=out)
    return out.getvalue()


def test_nothing_is_fetched_before_the_licenses_are_accepted(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "download", lambda *args, **kwargs: pytest.fail("fetched"))
    out = StringIO()
    with pytest.raises(CommandError, match="--accept-licenses"):
        call_command("download_models", "--to", str(tmp_path), stdout=out)
    assert "OpenRAIL" in out.getvalue()
    assert "non-commercial" in out.getvalue()


def test_what_fell_short_is_named(tmp_path, monkeypatch):
    file = weights.FILES[1]
    state = weights.FileState(file, "wrong", "SHA-256 differs")
    monkeypatch.setattr(weights, "download", lambda *args, **kwargs: [state])
    with pytest.raises(CommandError, match="not all files are right"):
        said("download_models", "--accept-licenses", "--to", str(tmp_path))


@pytest.mark.lasting
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


@pytest.fixture
def someone(tmp_path, settings):
    settings.AVATARS_DIR = settings.SHIPPED_AVATARS_DIR = tmp_path / "avatars"
    settings.MODEL_PATH = SMALL
    make_avatar(tmp_path / "avatars" / "me", clips={"idle_0": 3, "speaking_0": 2}, name="me")
    return tmp_path / "avatars" / "me"


@pytest.mark.lasting
def test_an_avatar_is_prepared_for_musetalk_once(someone):
    pytest.importorskip("torch")
    assert "2 clips of 1 avatars lack 5 pictures" in said("prepare_musetalk", "--check")
    assert not (someone / "musetalk").exists()
    text = said("prepare_musetalk", "me", "--device", "cpu")
    assert "me idle_0: 3 of 3 pictures" in text
    assert "me speaking_0: 2 of 2 pictures" in text
    made = (someone / "musetalk/idle_0/latents.npy").stat().st_mtime_ns
    assert "0 clips of 1 avatars lack 0 pictures" in said("prepare_musetalk", "me")
    assert (someone / "musetalk/idle_0/latents.npy").stat().st_mtime_ns == made


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody"], "there is no avatar 'nobody'"),
        (["me", "--device", "toaster"], "no device that torch knows"),
    ],
)
def test_what_hinders_preparing_for_musetalk_is_named(someone, arguments, message):
    pytest.importorskip("torch")
    with pytest.raises(CommandError, match=message):
        said("prepare_musetalk", *arguments)
    (someone / "musetalk/idle_0").mkdir(parents=True)
    (someone / "musetalk/idle_0/about.json").write_text("{")
    with pytest.raises(CommandError, match="idle_0"):
        said("prepare_musetalk", "me")
