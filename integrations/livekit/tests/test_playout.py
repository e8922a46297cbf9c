"""When pictures and voice leave; times in seconds from 10."""

import math

import pytest

from livekit_talking_avatar.playout import (
    FRAME_S,
    LEAD_S,
    MAX_LATE_S,
    MAX_SILENT,
    Picture,
    Playout,
    SegmentEnd,
    Voice,
)

RATE = 24_000
FRAME = bytes(2 * RATE // 25)


def picture(n: int) -> Picture:
    return Picture(bytes([n]))


class Clock:
    """Runs a playout from one event to the next."""

    def __init__(self) -> None:
        self.playout = Playout(RATE)
        self.now_s = 10.0
        self.left: list[tuple[float, object]] = []

    def run_to(self, until_s: float) -> None:
        while True:
            item = self.playout.next(self.now_s)
            if not isinstance(item, float):
                self.left.append((round(self.now_s, 4), item))
            elif item > until_s:
                self.now_s = until_s
                return
            else:
                self.now_s = item

    def times(self, kind: type) -> list[float]:
        return [at_s for at_s, item in self.left if isinstance(item, kind)]


def test_voice_leaves_ahead_and_pictures_with_it() -> None:
    clock = Clock()
    for n in range(5):
        clock.run_to(10 + n * FRAME_S)
        clock.playout.add(picture(n), FRAME, clock.now_s)
    clock.playout.end_segment()
    clock.run_to(11)
    began_s = 10 + LEAD_S
    assert clock.times(Voice) == pytest.approx([began_s, began_s, 10.08, 10.12, 10.16])
    assert clock.times(Picture) == pytest.approx([began_s + n * FRAME_S for n in range(5)])
    assert clock.times(SegmentEnd) == pytest.approx([began_s + 5 * FRAME_S])


def test_one_late_frame_makes_no_gap() -> None:
    clock = Clock()
    for n, came_s in enumerate([10, 10.04, 10.119, 10.12, 10.16]):
        clock.run_to(came_s)
        clock.playout.add(picture(n), FRAME, came_s)
    clock.playout.end_segment()
    clock.run_to(11)
    assert clock.times(SegmentEnd) == pytest.approx([10 + LEAD_S + 5 * FRAME_S])
    assert clock.times(Picture) == pytest.approx([10 + LEAD_S + n * FRAME_S for n in range(5)])


def test_a_stall_delays_voice_and_pictures_alike() -> None:
    clock = Clock()
    for n, came_s in enumerate([10, 10.04, 10.5, 10.5, 10.5, 10.5]):
        clock.run_to(came_s)
        clock.playout.add(picture(n), FRAME, came_s)
    clock.playout.end_segment()
    clock.run_to(12)
    again_s = 10.5
    assert clock.times(Picture)[2:] == pytest.approx([again_s + n * FRAME_S for n in range(4)])
    assert clock.times(SegmentEnd) == pytest.approx([again_s + 4 * FRAME_S])


def test_pictures_without_voice_catch_up_after_a_stall() -> None:
    clock = Clock()
    for n, came_s in enumerate([10, 10.04, 10.5, 10.5, 10.5, 10.5]):
        clock.run_to(came_s)
        clock.playout.add(picture(n), FRAME, came_s)
    for n in range(10, 30):
        clock.run_to(10.54 + (n - 10) * FRAME_S)
        clock.playout.add(picture(n), b"", clock.now_s)
    clock.run_to(12)
    last = [(at_s, item) for at_s, item in clock.left if isinstance(item, Picture)][-1]
    assert last == (pytest.approx(10.54 + 19 * FRAME_S + LEAD_S), picture(29))


def test_a_short_segment_does_not_wait_for_more() -> None:
    clock = Clock()
    clock.playout.add(picture(0), FRAME[:100], 10)
    clock.playout.end_segment()
    clock.run_to(11)
    assert clock.times(Voice) == [10]
    assert clock.times(SegmentEnd) == pytest.approx([10 + 50 / RATE], abs=1e-4)


def test_voice_without_pictures_is_cut_so_that_it_can_be_cleared() -> None:
    clock = Clock()
    clock.playout.add_voice(FRAME * 50, 10)
    clock.run_to(10.1)
    clock.playout.clear(10.1)
    clock.run_to(20)
    assert sum(len(item.pcm) for _, item in clock.left if isinstance(item, Voice)) == 4 * len(FRAME)


def test_clearing_drops_the_end_and_keeps_the_pictures() -> None:
    clock = Clock()
    for n in range(3):
        clock.playout.add(picture(n), FRAME, 10)
    clock.playout.end_segment()
    clock.playout.clear(10)
    clock.run_to(20)
    assert clock.times(Voice) == clock.times(SegmentEnd) == []
    assert clock.times(Picture) == [10, 10, 10]


def test_a_consumer_that_pauses_finds_few_and_new_pictures() -> None:
    playout = Playout(RATE)
    for n in range(100):
        playout.add(picture(n), b"", 10 + n * FRAME_S)
    now_s = 10 + 100 * FRAME_S + MAX_LATE_S
    found = []
    while not isinstance(item := playout.next(now_s), float):
        found.append(item)
    assert 0 < len(found) <= MAX_SILENT
    assert found[-1] == picture(99)


def test_nothing_is_due_where_nothing_came() -> None:
    assert Playout(RATE).next(10) == math.inf
