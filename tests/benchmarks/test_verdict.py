import json

import pytest

from benchmarks.verdict import Verdict


@pytest.fixture
def verdict():
    return Verdict("trial")


def test_limits_are_judged(verdict):
    verdict.below("late", 10, 9.99)
    verdict.at_least("sessions", 8, 8)
    verdict.at_most("growth", 5, -1.0, "MiB")
    verdict.near("rate", 25, 0.005, 25.004)
    verdict.none_of("errors", 0)
    verdict.told("bytes", 1234.5)
    assert verdict.is_met


@pytest.mark.parametrize(
    ("judge", "arguments"),
    [
        ("below", ("late", 10, 10.0)),
        ("at_least", ("sessions", 8, 7)),
        ("at_most", ("growth", 5, 5.1)),
        ("near", ("rate", 25, 0.005, 24.99)),
        ("none_of", ("errors", 1)),
    ],
)
def test_one_miss_is_a_miss_and_the_exit_status_says_so(verdict, capsys, judge, arguments):
    verdict.told("bytes", 1)
    getattr(verdict, judge)(*arguments)
    assert not verdict.is_met
    assert verdict.conclude() == 1
    assert "MISSED" in capsys.readouterr().out


def test_what_was_wanted_and_not_measured_is_missed(verdict):
    verdict.below("live again", 1_000, None)
    assert not verdict.is_met
    assert "not measured" in verdict.lines()[-1]


def test_what_nothing_was_wanted_of_need_not_be_measured(verdict):
    verdict.told("CPU", None, "ms")
    assert verdict.is_met
    assert "not measured" in verdict.lines()[-1]


def test_json_holds_what_the_table_shows(verdict, tmp_path, capsys):
    verdict.notes.append("one session")
    verdict.below("late", 10, 2.5)
    assert verdict.conclude(tmp_path / "a.json") == 0
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["benchmark"] == "trial"
    assert found["machine"]
    assert found["findings"][0]["measured"] == 2.5
    table = capsys.readouterr().out
    assert "one session" in table
    assert "< 10 ms" in table
    assert "2.50 ms" in table
