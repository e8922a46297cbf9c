"""What batches take is measured once for all engine processes of a start."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from inference.engines.musetalk import loaded, networks
from inference.engines.musetalk.engine import MuseTalkEngine
from inference.engines.musetalk.execution.known_times import KnownTimes
from tests.inference.engines.musetalk.test_engine import WEIGHTS


def test_times_are_kept_for_the_same_device_and_weights(tmp_path: Path) -> None:
    path = tmp_path / "times.json"
    KnownTimes(path, "these").write("a GPU", {1: 2.5, 4: 6.0})
    assert KnownTimes(path, "these").read("a GPU") == {1: 2.5, 4: 6.0}
    assert KnownTimes(path, "others").read("a GPU") == {}
    assert KnownTimes(path, "these").read("another GPU") == {}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"device": "a GPU", "weights": "these"}'])
def test_a_damaged_file_is_no_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "times.json").write_text(content)
    assert KnownTimes(tmp_path / "times.json", "these").read("a GPU") == {}


def test_a_folder_that_is_gone_is_no_fault(tmp_path: Path) -> None:
    KnownTimes(tmp_path / "gone" / "times.json", "these").write("a GPU", {1: 2.5})


@pytest.mark.lasting
def test_the_next_engine_continues_with_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "times.json"
    monkeypatch.setattr(loaded, "TOO_SLOW_MS", 60_000.0)  # of a machine that is busy with tests
    first = MuseTalkEngine(WEIGHTS, device="cpu", times_file=path)
    first.load()
    assert first.nets.loaded is not None

    def measure_all(*arguments: object) -> None:
        pytest.fail("it was measured again")

    monkeypatch.setattr(loaded, "_measure_all", measure_all)
    second = MuseTalkEngine(WEIGHTS, device="cpu", times_file=path)
    second.read_ahead()
    monkeypatch.setattr(networks, "load_networks", measure_all)
    second.load()
    assert second.nets.loaded is not None
    assert second.nets.loaded.milliseconds == pytest.approx(first.nets.loaded.milliseconds)
    assert (second.capacity, second.max_batch) == (first.capacity, first.max_batch)


def test_networks_are_not_read_ahead_without_memory_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "inference.engines.musetalk.engine.has_memory_for", lambda size_bytes: False
    )
    engine = MuseTalkEngine(WEIGHTS, device="cpu")
    engine.read_ahead()
    assert engine._read_ahead is None
