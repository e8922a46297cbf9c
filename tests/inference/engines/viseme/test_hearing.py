"""Windows that follow each other are heard as each of them alone, in any order, by any thread."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from inference.engines.viseme import hearing
from inference.engines.viseme.engine import VisemeEngine
from inference.media.types import AudioWindow
from inference.timing import SAMPLES_PER_FRAME

FRAMES = 12


def fresh() -> VisemeEngine:
    loaded = VisemeEngine()
    loaded.load()
    return loaded


def speech(engine: VisemeEngine, seed: int) -> list[np.ndarray]:
    """The windows of `FRAMES` frames of something like speech, int16."""
    size = engine.context.before + SAMPLES_PER_FRAME + engine.context.after
    count = size + (FRAMES - 1) * SAMPLES_PER_FRAME
    seconds = np.arange(count) / 16_000
    buzz = np.sign(np.sin(2 * np.pi * (110 + 10 * seed) * seconds)) * (1 + np.sin(25 * seconds))
    hiss = np.random.default_rng(seed).standard_normal(count)
    sound = np.rint(3_000 * buzz + 300 * hiss).astype(np.int16)
    starts = range(0, FRAMES * SAMPLES_PER_FRAME, SAMPLES_PER_FRAME)
    return [sound[start : start + size].copy() for start in starts]


def heard(engine: VisemeEngine, sound: np.ndarray) -> np.ndarray:
    return engine.listen([AudioWindow(sound, 1)])[0][0]


def alone(sounds: list[np.ndarray]) -> np.ndarray:
    """Each heard by a new engine."""
    engine = fresh()
    return np.stack([heard(engine, sound) for sound in reversed(sounds)][::-1])


@pytest.fixture
def engine() -> VisemeEngine:
    return fresh()


def test_a_stream_is_heard_as_each_window_alone(engine):
    sounds = speech(engine, 0)
    np.testing.assert_allclose(
        np.stack([heard(engine, sound) for sound in sounds]), alone(sounds), atol=1e-4
    )


def test_only_the_first_window_of_a_stream_is_heard_in_full(engine, monkeypatch):
    begun = []
    whole = hearing.features.log_mels_and_energies
    monkeypatch.setattr(
        hearing.features,
        "log_mels_and_energies",
        lambda samples: begun.append(1) or whole(samples),
    )
    for sounds in zip(speech(engine, 0), speech(engine, 1), strict=True):
        engine.listen([AudioWindow(sound, 1) for sound in sounds])
    assert len(begun) == 2


def test_sound_that_came_late_is_heard_after_all(engine):
    """A sample of what was silence is another by the next window: nothing old may be used."""
    sounds = speech(engine, 2)
    gap = sounds[0].copy()
    gap[-700:-650] = 0
    heard(engine, gap)
    np.testing.assert_allclose(heard(engine, sounds[1]), alone(sounds)[1], atol=1e-4)


def test_the_same_window_may_come_again(engine):
    sounds = speech(engine, 3)
    expected = alone(sounds)
    for place in (0, 1, 1, 0, 2, 1, 2, 3):
        np.testing.assert_allclose(heard(engine, sounds[place]), expected[place], atol=1e-4)


def test_no_more_than_a_window_a_session_is_kept(engine, monkeypatch):
    monkeypatch.setattr(hearing, "_REMEMBERED", 3)
    for seed in range(5):
        for sound in speech(engine, seed)[:4]:
            heard(engine, sound)
    assert len(engine._hearing._heard) == 3


def test_threads_do_not_disturb_each_other(engine):
    streams = [speech(engine, seed) for seed in range(6)]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda sounds: [heard(engine, one) for one in sounds], streams))
    for sounds, shapes in zip(streams, found, strict=True):
        np.testing.assert_allclose(np.stack(shapes), alone(sounds), atol=1e-4)
