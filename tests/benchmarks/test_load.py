"""How load is spread, and what its plot shows."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from benchmarks.leftovers import Held
from benchmarks.load import ClientResult, ClientWork, Rung, rung_of, shares
from benchmarks.plot import write_plot
from benchmarks.soak import Sample, growth_mib_an_hour, left
from talking_avatar import Frame
from talking_avatar.measurement import Measurement, StreamReport

SVG = "{http://www.w3.org/2000/svg}"


def test_sessions_are_shared_as_equally_as_can_be() -> None:
    assert shares(10, 3) == [4, 3, 3]
    assert shares(2, 5) == [1, 1]


@pytest.mark.parametrize(("share", "speaking"), [(0.0, 0), (0.25, 5), (0.5, 10), (1.0, 20)])
def test_the_share_that_speaks_is_spread_over_all_sessions(share: float, speaking: int) -> None:
    work = ClientWork("ws://a,ws://b", "me", None, 0, 20, 20, share, 1.0)
    who = [number for number in range(20) if work.speaks(number)]
    assert len(who) == speaking
    assert sum(number < 10 for number in who) == speaking // 2
    assert work.speaking == speaking
    assert work.addresses == ["ws://a", "ws://b"]


def report(speech_frames: int, *, sound_age_s: float = 0.12) -> StreamReport:
    """Of ten seconds of a session without a fault."""
    measured = Measurement()
    for number in range(250):
        is_speech = number < speech_frames
        measured.add_frame(
            Frame(
                data=b"",
                timestamp_ms=40 * number,
                is_keyframe=False,
                state="speaking",
                clip="speaking_0",
                audio_timestamp_ms=40 * number if is_speech else None,
                received_s=0.04 * number,
                latency_s=sound_age_s if is_speech else None,
            )
        )
    return measured.report(0.0)


def rung(*reports: StreamReport, speaking: int) -> Rung:
    result = ClientResult(list(reports), lateness_s=[0.001] * 500, took_s=10.0, cores=0.1)
    return rung_of([result], None, speaking=speaking)


def test_sessions_that_speak_are_held_if_they_are_seen_to() -> None:
    assert rung(report(250), report(245), speaking=2).is_held
    assert rung(report(250), report(0), speaking=1).is_held
    assert rung(report(0), report(0), speaking=0).is_held


def test_a_server_that_refuses_speech_holds_no_sessions_that_speak() -> None:
    found = rung(report(250), report(0), speaking=2)
    assert found.spoken_share == 0.5
    assert not found.is_held


def test_speech_that_is_shown_late_is_not_held_though_its_frames_are_in_time() -> None:
    assert not rung(report(250), report(250, sound_age_s=5.4), speaking=2).is_held


def test_a_plot_has_a_line_and_a_name_for_each(tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    lines = {"single": [(1.0, 2.0), (8.0, 30.0)], "workers": [(1.0, 3.0)]}
    write_plot(path, lines, title="a < b", x_label="sessions", y_label="ms", limit=20)
    root = ElementTree.parse(path).getroot()
    assert len(root.findall(f"{SVG}circle")) == 3
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"a < b", "single", "workers", "sessions", "ms"} <= set(texts)
    for circle in root.iter(f"{SVG}circle"):
        assert 0 < float(circle.attrib["cx"]) < 720
        assert 0 < float(circle.attrib["cy"]) < 420


def test_memory_that_grows_evenly_has_that_slope() -> None:
    samples = [Sample(second, 100 + second / 3_600 * 7) for second in range(0, 3_600, 5)]
    assert growth_mib_an_hour(samples) == pytest.approx((7.0, 0.0), abs=0.01)


def test_memory_that_goes_up_and_down_grows_by_something_or_nothing() -> None:
    rng = np.random.default_rng(5)
    samples = [Sample(5.0 * n, 500 + 40 * rng.standard_normal()) for n in range(600)]
    slope, error = growth_mib_an_hour(samples)
    assert abs(slope) < 3 * error
    assert 2 < error < 20


def test_what_is_left_is_counted_in_processes_that_still_run() -> None:
    def held(pid: int, tasks: int) -> Held:
        return Held(pid, "app 0", 0, 10, 3, 4, tasks)

    assert left("tasks", [held(1, 5), held(2, 5)], [held(1, 7), held(2, 4), held(3, 50)]) == 2
    assert left("sockets", [held(1, 5)], [held(1, 5)]) == 0
