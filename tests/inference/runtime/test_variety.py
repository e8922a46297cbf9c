"""Ten minutes of idle life: how much of it a viewer has seen before."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import avatars_app
from inference.assets import manifest
from inference.assets.clip_index import ClipIndex, ClipInfo, index_of
from inference.runtime.speech_queue import Speech
from inference.runtime.timeline import Cursor, Source, Timeline
from inference.runtime.variety import SHORTEST_PLAY, Chance, next_play

TEN_MINUTES = 15_000
PRESENTER = Path(avatars_app.__file__).parent / "presenter"


def idle_life(index: ClipIndex, seed: int, frames: int = TEN_MINUTES) -> list[Cursor]:
    """What an idle viewer sees."""
    timeline = Timeline.start(index, seed=seed)
    seen = []
    for _ in range(frames):
        timeline, plan = timeline.advance(index, Speech.SILENT)
        assert plan.source is Source.CLIP  # costs nothing: each entry is at an IDR
        seen.append(plan.cursor)
    return seen


def longest_repeat(seen: list[Cursor]) -> int:
    """Frames of the longest sequence that is seen twice, one after the other or minutes apart."""
    numbers = {cursor: number for number, cursor in enumerate(dict.fromkeys(seen))}
    shown = np.array([numbers[cursor] for cursor in seen])
    longest = 0
    for lag in range(1, len(shown)):
        differs = np.flatnonzero(shown[lag:] != shown[:-lag])
        ends = np.concatenate([[-1], differs, [len(shown) - lag]])
        longest = max(longest, int(np.diff(ends).max()) - 1)
    return longest


def test_the_longest_repeat_is_found() -> None:
    seen = [Cursor("idle_0", n) for n in (9, 1, 2, 3, 8, 1, 2, 3, 7)]
    assert longest_repeat(seen) == 3
    assert longest_repeat([Cursor("idle_0", n % 4) for n in range(20)]) == 16


@pytest.mark.parametrize("seed", [1, 2])
def test_no_loop_is_seen_in_ten_minutes_of_the_presenter(seed: int) -> None:
    index = index_of(manifest.read(PRESENTER))
    seen = idle_life(index, seed)
    idle = {name: clip.frames for name, clip in index.items() if clip.state == "idle"}
    assert longest_repeat(seen) <= max(idle.values())
    shown = Counter(cursor.clip for cursor in seen)
    assert set(shown) == set(idle)
    assert max(shown.values()) <= 0.45 * len(seen)
    assert shown.most_common(1)[0][0] == "idle_0"


def test_clips_are_left_at_exits_and_entered_near_the_rest_pose() -> None:
    index = index_of(manifest.read(PRESENTER))
    seen = idle_life(index, 3, 5_000)
    joins = [
        (last, first)
        for last, first in pairwise(seen)
        if first != Cursor(last.clip, last.index + 1)
    ]
    assert len(joins) > 50
    for last, first in joins:
        assert last.index + 1 in index[last.clip].exits
        assert first.index == 0 or first.index + 1 in index[first.clip].exits
        assert first.index in index[first.clip].idr
    assert any(first.index > 0 for _, first in joins)


def test_an_avatar_of_one_clip_leaves_it_at_different_exits() -> None:
    """No loop within a minute, as far as one clip allows: five lengths, in changing order."""
    idr = frozenset(range(0, 200, 25))
    index = {"idle_0": ClipInfo("idle_0", "idle", 200, idr, (60, 90, 120, 160, 200))}
    seen = idle_life(index, 7, 3_000)
    ends = [last.index + 1 for last, first in pairwise(seen) if first.index != last.index + 1]
    assert set(ends) == {60, 90, 120, 160, 200}
    assert len({tuple(ends[n : n + 5]) for n in range(0, len(ends) - 4, 5)}) > 1


def test_a_clip_without_other_exits_runs_to_its_end() -> None:
    index = {"idle_0": ClipInfo("idle_0", "idle", 50, frozenset({0, 25}), (50,))}
    assert idle_life(index, 1, 200) == [Cursor("idle_0", n % 50) for n in range(200)]


def test_a_transition_is_not_used_again_while_there_are_others() -> None:
    index = {
        name: ClipInfo(name, "idle", 100, frozenset({0, 25}), (26, 70, 100))
        for name in ("idle_0", "idle_1", "idle_2")
    }
    chance = Chance(5)
    plays = []
    for _ in range(4):
        play, chance = next_play(index, list(index), "idle_0", 100, chance)
        plays.append((play.clip, play.entered_at))
        assert play.leaves_at - play.entered_at >= SHORTEST_PLAY
    assert sorted(plays) == [("idle_1", 0), ("idle_1", 25), ("idle_2", 0), ("idle_2", 25)]
    oldest, _ = next_play(index, list(index), "idle_0", 100, chance)
    assert (oldest.clip, oldest.entered_at) in plays
