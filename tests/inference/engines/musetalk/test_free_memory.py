"""Whether there is memory for what could be kept."""

from pathlib import Path

import pytest

from inference.engines.musetalk.free_memory import has_memory_for


@pytest.fixture
def meminfo(tmp_path: Path) -> Path:
    path = tmp_path / "meminfo"
    path.write_text("MemTotal:  9999999 kB\nMemFree:  10 kB\nMemAvailable:  2000 kB\n")
    return path


def test_what_the_kernel_calls_available_can_be_taken(tmp_path: Path, meminfo: Path) -> None:
    assert has_memory_for(2_000 * 1_024, meminfo, tmp_path)
    assert not has_memory_for(2_000 * 1_024 + 1, meminfo, tmp_path)


@pytest.mark.parametrize("name", ["/", "/services/avatar"])
def test_a_container_can_take_what_its_group_has_left(
    tmp_path: Path, meminfo: Path, name: str
) -> None:
    """However much the machine has."""
    own, group = tmp_path / "own", tmp_path / "groups"
    own.write_text(f"1:cpu:/\n0::{name}\n")
    (group / "services" / "avatar").mkdir(parents=True)
    (group / "services" / "avatar" / "memory.max").write_text("max\n")
    assert has_memory_for(2_000 * 1_024, meminfo, group, own)
    (group / "memory.max").write_text("1000000\n")
    (group / "memory.current").write_text("900000\n")
    (group / "memory.stat").write_text("anon 500000\ninactive_file 300000\nactive_file 9\n")
    assert has_memory_for(400_000, meminfo, group, own)
    assert not has_memory_for(400_001, meminfo, group, own)


def test_an_unknown_system_has_none(tmp_path: Path) -> None:
    assert not has_memory_for(1, tmp_path / "none")
    (tmp_path / "meminfo").write_text("MemAvailable: much\n")
    assert not has_memory_for(1, tmp_path / "meminfo")
