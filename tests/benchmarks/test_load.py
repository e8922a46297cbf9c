"""How load is spread, and what its plot shows."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from benchmarks.leftovers import Held
from benchmarks.load import ClientWork, shares
from benchmarks.plot import write_plot
from benchmarks.soak import Sample, growth_mib_an_hour, left

SVG = "{http://www.w3.org/2000/svg}"


def test_sessions_are_shared_as_equally_as_can_be() -> None:
    assert shares(10, 3) == [4, 3, 3]
    assert shares(2, 5) == [1, 1]


@pytest.mark.parametrize(("share", "speaking"), [(0.0, 0), (0.25, 5), (0.5, 10), (1.0, 20)])
def test_the_share_that_speaks_is_spread_over_all_sessions(share: float, speaking: int) -> None:
    work = ClientWork("ws://a,ws://b", "me", 0, 20, 20, share, 1.0)
    who = [number for number in range(20) if work.speaks(number)]
    assert len(who) == speaking
    assert sum(number < 10 for number in who) == speaking // 2
    assert work.addresses == ["ws://a", "ws://b"]


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
