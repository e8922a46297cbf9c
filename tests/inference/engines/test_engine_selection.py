"""Which devices MuseTalk is started on."""

from pathlib import Path

import pytest

from inference.engines import engine_selection
from inference.engines.engine_selection import devices_for


@pytest.fixture
def device_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of /dev."""
    original = engine_selection._visible_gpus
    monkeypatch.setattr(engine_selection, "_visible_gpus", lambda: original(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


def give(folder: Path, gpus: int) -> None:
    for name in [*(f"nvidia{number}" for number in range(gpus)), "nvidiactl", "nvidia-uvm"]:
        (folder / name).touch()


@pytest.mark.parametrize(
    ("gpus", "devices"), [(0, ["auto"]), (1, ["auto"]), (3, ["cuda:0", "cuda:1", "cuda:2"])]
)
def test_auto_is_every_gpu(device_files: Path, gpus: int, devices: list[str]) -> None:
    give(device_files, gpus)
    assert devices_for(["auto"]) == devices


@pytest.mark.parametrize(
    ("visible", "devices"),
    [
        ("2,3", ["cuda:0", "cuda:1"]),
        ("GPU-8932f937", ["auto"]),
        ("0,1,-1,2", ["cuda:0", "cuda:1"]),
        ("", ["auto"]),
    ],
)
def test_of_the_gpus_that_cuda_may_see(
    device_files: Path, monkeypatch: pytest.MonkeyPatch, visible: str, devices: list[str]
) -> None:
    give(device_files, 4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices_for(["auto"]) == devices


def test_what_is_named_is_taken(device_files: Path) -> None:
    give(device_files, 4)
    assert devices_for(["cuda:1", "cpu"]) == ["cuda:1", "cpu"]
