"""A clip is called after what is seen to move in it."""

import numpy as np
import pytest

from inference.preparation.choose import Appearance, Stretch
from inference.preparation.titles import titles

LENGTH = 100
ONCE = np.sin(np.pi * np.arange(LENGTH) / LENGTH)
OFTEN = np.sin(2 * np.pi * 2.5 * np.arange(LENGTH) / LENGTH)
TREMBLE = np.random.default_rng(4).normal(0, 0.4, LENGTH)


def called(*, yaw=0.0, pitch=0.0, roll=0.0, blinks=(), hand=False) -> str:
    """The title of one stretch in which these move, degrees."""
    pose = np.zeros((LENGTH, 3))
    for axis, curve in enumerate((yaw, pitch, roll)):
        pose[:, axis] = curve + TREMBLE
    eyes = np.ones(LENGTH)
    for at in blinks:
        eyes[at : at + 5] = 0.3
    surroundings = np.full((LENGTH, 4096), 90, np.uint8)
    if hand:
        surroundings[40:60, :600] = 200
    looks = Appearance(
        firm=np.zeros((LENGTH, 32), np.float32),
        surroundings=surroundings,
        mouth=np.zeros(LENGTH, np.float32),
        eyes=eyes.astype(np.float32),
    )
    stretch = Stretch("idle", 0, LENGTH, is_mirrored=False, liveliness=1.0, reach=1.0, shutting=0.0)
    (title,) = titles([stretch], looks, pose.astype(np.float32), 0)
    return title


@pytest.mark.parametrize(
    ("moves", "title"),
    [
        ({}, "calm"),
        ({"yaw": 14 * ONCE}, "glance"),
        ({"yaw": -14 * ONCE}, "glance"),
        ({"yaw": 8 * OFTEN}, "head shake"),
        ({"pitch": 9 * ONCE}, "nod"),
        ({"pitch": 9 * ONCE, "yaw": 4 * ONCE}, "nod"),
        ({"roll": 10 * ONCE}, "tilt"),
        ({"blinks": (30,)}, "blink"),
        ({"blinks": (0, 50, 80)}, "blinks"),
        ({"hand": True}, "gesture"),
    ],
)
def test_a_clip_is_called_after_what_moves_most(moves, title):
    assert called(**moves) == title


def test_no_two_clips_are_called_alike():
    looks = Appearance(
        firm=np.zeros((300, 32), np.float32),
        surroundings=np.zeros((300, 4096), np.uint8),
        mouth=np.zeros(300, np.float32),
        eyes=np.ones(300, np.float32),
    )
    pose = np.zeros((300, 3), np.float32)
    pose[150:200, 1] = 20
    stretches = [Stretch("idle", at, at + 100, False, 1.0, 1.0, 0.0) for at in (0, 100, 200)]
    assert titles(stretches, looks, pose, 0) == ["calm 1", "nod", "calm 2"]
