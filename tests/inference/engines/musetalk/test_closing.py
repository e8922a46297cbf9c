"""The engine's work ends soon when its process is to end."""

import threading
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from inference.engines.musetalk.engine import MuseTalkEngine
from inference.engines.musetalk.prepare import background
from inference.engines.musetalk.prepare.background import MuseTalkAvatar
from inference.engines.musetalk.prepare.clip_files import prepare_clip
from inference.engines.musetalk.prepare.preparation import ClipPreparer
from inference.errors import EngineStopped
from tests.factories import make_avatar

WEIGHTS = Path(__file__).parents[3] / "data" / "musetalk" / "weights"


def test_closing_ends_the_preparation_after_the_picture_in_progress():
    preparation = background.BackgroundPreparation()
    avatar = MuseTalkAvatar("me", {})
    first, goes_on = threading.Event(), threading.Event()
    done = []

    def pictures(progress):
        for number in range(1, 101):
            first.set()
            goes_on.wait(5)
            done.append(number)
            progress(number, 100)

    preparation.submit([background.Task(avatar, clip, pictures) for clip in ("idle_0", "idle_1")])
    assert first.wait(5)
    closing = threading.Thread(target=preparation.close, args=(5,))
    closing.start()
    while not preparation._is_closing:
        pass
    goes_on.set()
    closing.join(5)
    assert done == [1]
    assert not [t for t in threading.enumerate() if t.name == "musetalk-preparation"]
    assert avatar.failures == {}
    preparation.submit([background.Task(avatar, "idle_2", pictures)])
    assert done == [1]


@pytest.mark.parametrize("last", [0, 2])
def test_closing_ends_a_preparation_within_a_picture(tmp_path, last):
    """And the threads that drew pictures and looked for faces ahead of it."""
    manifest = make_avatar(tmp_path / "me", clips={"idle_0": 40})
    asked = []

    def progress(done, count):
        asked.append((done, count))
        if done == last:
            raise EngineStopped

    preparer = ClipPreparer(None, None, torch.device("cpu"))
    before = threading.active_count()
    with pytest.raises(EngineStopped):
        prepare_clip(tmp_path / "me", manifest, manifest.clips[0], preparer, progress)
    assert asked == [(number, 40) for number in range(last + 1)]
    assert threading.active_count() == before


def test_closing_ends_a_load_between_two_steps():
    engine = MuseTalkEngine(WEIGHTS, device="cpu")
    engine.close()
    with pytest.raises(EngineStopped):
        engine.load()
