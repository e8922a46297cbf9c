"""Whether there is memory for what could be kept."""

from pathlib import Path

from inference.engines.musetalk.free_memory import has_memory_for


def test_what_the_kernel_calls_available_can_be_taken(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  9999999 kB\nMemFree:  10 kB\nMemAvailable:  2000 kB\n")
    assert has_memory_for(2_000 * 1_024, meminfo)
    assert not has_memory_for(2_000 * 1_024 + 1, meminfo)


def test_an_unknown_system_has_none(tmp_path: Path) -> None:
    assert not has_memory_for(1, tmp_path / "none")
    (tmp_path / "meminfo").write_text("MemAvailable: much\n")
    assert not has_memory_for(1, tmp_path / "meminfo")
