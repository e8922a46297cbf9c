import shutil
from pathlib import Path

import numpy as np
import pytest

from inference.engines.base import RenderJob
from inference.engines.viseme.engine import VisemeAvatar, VisemeEngine
from inference.engines.viseme.shape import MouthShape
from inference.errors import EngineUnavailable
from inference.media.types import AudioWindow, Patch, Rectangle
from inference.timing import SAMPLES_PER_FRAME

PICTURE = np.zeros((96, 64), np.uint8)
WHOLE = Rectangle(0, 0, 64, 64)


@pytest.fixture(scope="module")
def engine() -> VisemeEngine:
    loaded = VisemeEngine()
    loaded.load()
    return loaded


def window(engine: VisemeEngine, frames: int, seed: int = 0) -> AudioWindow:
    count = engine.context.before + frames * SAMPLES_PER_FRAME + engine.context.after
    seconds = np.arange(count) / 16_000
    buzz = np.sign(np.sin(2 * np.pi * (110 + 10 * seed) * seconds)) * (1 + np.sin(25 * seconds))
    hiss = np.random.default_rng(seed).standard_normal(count)
    return AudioWindow((0.1 * buzz + 0.01 * hiss).astype(np.float32), frames)


class RecordingRenderer:
    def __init__(self) -> None:
        self.shapes: list[MouthShape] = []
        self.places = 0

    def place(self, clip, index):
        self.places += 1

    def render(self, clip, index, picture, shape):
        self.shapes.append(shape)
        plane = np.zeros((2, 2), np.uint8)
        return Patch(0, 0, plane, plane[:1, :1], plane[:1, :1])


def job(avatar: VisemeAvatar, shape: MouthShape, strength: float = 1.0) -> RenderJob:
    return RenderJob(avatar, "idle_0", 0, PICTURE, shape.to_features(), strength)


def test_looks_at_most_forty_milliseconds_ahead(engine):
    assert engine.context.after <= 640


def test_silence_is_exactly_the_rest_pose(engine):
    silence = window(engine, 4)
    silence.samples[:] = 0
    assert not np.stack(engine.listen([silence])[0]).any()


def test_sound_that_ended_long_ago_is_silence(engine):
    heard = window(engine, 1)
    heard.samples[engine.context.before - 3 * SAMPLES_PER_FRAME :] = 0
    assert not any(MouthShape.from_features(engine.listen([heard])[0][0]))


def test_a_window_sounds_the_same_in_any_company(engine):
    windows = [window(engine, frames, seed) for seed, frames in enumerate((1, 3, 1, 2, 3))]
    together = engine.listen(windows)
    for heard, shapes in zip(windows, together, strict=True):
        assert len(shapes) == heard.frames
        alone = engine.listen([heard])[0]
        np.testing.assert_allclose(np.stack(shapes), np.stack(alone), atol=1e-3)


def test_frames_of_a_long_window_are_those_of_short_ones(engine):
    heard = window(engine, 6, 5)
    long = engine.listen([heard])[0]
    size = engine.context.before + SAMPLES_PER_FRAME + engine.context.after
    for frame in range(6):
        start = frame * SAMPLES_PER_FRAME
        short = AudioWindow(heard.samples[start : start + size], 1)
        np.testing.assert_allclose(engine.listen([short])[0][0], long[frame], atol=1e-3)


def test_no_windows_no_features(engine):
    assert engine.listen([]) == []


def test_a_window_of_the_wrong_size_is_refused(engine):
    with pytest.raises(ValueError, match="samples"):
        engine.listen([AudioWindow(np.zeros(100, np.float32), 1)])


def test_an_engine_that_is_not_loaded_says_so(engine):
    with pytest.raises(EngineUnavailable, match="loaded"):
        VisemeEngine().listen([window(engine, 1)])


def test_weights_for_another_look_ahead_are_refused(tmp_path, engine):
    from inference.engines.viseme import net

    with np.load(net.WEIGHTS_PATH) as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["after"] = np.int32(engine.context.after + 160)
    np.savez(tmp_path / "weights.npz", **arrays)
    with pytest.raises(EngineUnavailable, match="ahead"):
        VisemeEngine(tmp_path / "weights.npz").load()


def test_missing_weights_are_reported():
    with pytest.raises(EngineUnavailable):
        VisemeEngine(Path("/nowhere/weights.npz")).load()


def test_rendering_shows_the_shape_with_its_strength(engine):
    renderer = RecordingRenderer()
    shape = MouthShape(open=0.8, wide=-0.4)
    patches = engine.render([job(VisemeAvatar(renderer, WHOLE), shape, 0.5)])
    assert patches[0] is not None
    assert renderer.shapes[0].open == pytest.approx(0.4)
    assert renderer.shapes[0].wide == pytest.approx(-0.2)


@pytest.mark.parametrize(
    ("shape", "strength"), [(MouthShape(), 1.0), (MouthShape(1, 1, 1), 0.0), (MouthShape(0.004), 1)]
)
def test_a_resting_mouth_is_left_as_it_is(engine, shape, strength):
    renderer = RecordingRenderer()
    assert engine.render([job(VisemeAvatar(renderer, WHOLE), shape, strength)]) == [None]
    assert renderer.shapes == []


def test_a_spread_mouth_with_shut_lips_is_shown(engine):
    renderer = RecordingRenderer()
    engine.render([job(VisemeAvatar(renderer, WHOLE), MouthShape(wide=-0.5))])
    assert len(renderer.shapes) == 1


def test_without_emphasis_only_the_mouth_is_heard(engine):
    plain = VisemeEngine(has_emphasis=False)
    plain.load()
    heard = window(engine, 2)
    for with_emphasis, without in zip(
        engine.listen([heard])[0], plain.listen([heard])[0], strict=True
    ):
        assert without.shape == (len(MouthShape._fields),)
        np.testing.assert_array_equal(with_emphasis[1 : len(without)], without[1:])
        assert with_emphasis[0] == pytest.approx(without[0], rel=0.2)  # by the level of the voice


def test_the_face_moves_while_the_mouth_rests(engine):
    renderer = RecordingRenderer()
    features = np.zeros(10, np.float32)
    features[8] = 0.6
    resting = RenderJob(VisemeAvatar(renderer, WHOLE), "idle_0", 0, PICTURE, features)
    assert engine.render([resting]) == [None]  # this renderer does not know where the face is
    assert (renderer.shapes, renderer.places) == ([], 1)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("flite"), reason="needs flite (Debian package flite)")
def test_follows_a_voice_and_sentences_it_never_heard(engine):
    from inference.engines.viseme.training import evaluation, speech
    from inference.engines.viseme.training.sentences import HELD_OUT_ENGLISH

    def say(text: str) -> speech.Speech:
        return speech.flite(text, "awb")

    talk = evaluation.talk("awb", say, HELD_OUT_ENGLISH[:6])
    other = evaluation.talk("awb", say, HELD_OUT_ENGLISH[6:12])
    score = evaluation.score(engine, talk, other)
    assert score.r > 0.8
    assert abs(score.lag_frames) <= 1
    assert score.auc > 0.95
    assert score.r - score.wrong_audio_r > 0.5


def test_a_call_keeps_to_one_thread(engine):
    from threadpoolctl import threadpool_info

    pools = [pool for pool in threadpool_info() if "numpy" in pool["filepath"]]
    assert {pool["num_threads"] for pool in pools} <= {1}
