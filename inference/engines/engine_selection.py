"""Which engine runs, and why: the setting ENGINE, and what is there.

MuseTalk runs in a process of its own (`process`), and torch is imported there alone. What can be
decided without torch is decided here; the engine process finds out whether there is a device.
"""

import importlib
import importlib.util
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.engines.base import Engine
from inference.errors import EngineUnavailable

if TYPE_CHECKING:
    from inference.engines.musetalk.engine import MuseTalkEngine

PACKAGES = ("torch", "diffusers", "transformers")
"""What MuseTalk needs beside its weights."""


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """An engine, not yet loaded, and the reason in words."""

    engine: Engine | None
    """None: MuseTalk, in a process of its own."""
    reason: str


def choose_engine(
    *, engine: str, model_path: Path, cores: int = 1, has_emphasis: bool = True
) -> EngineChoice:
    """Choose an engine; auto tries MuseTalk if its weights and packages are there.

    Args:
        engine: auto, viseme or musetalk.
        model_path: The folder of MuseTalk's weights.
        cores: How many cores an engine of the CPU may keep busy.
        has_emphasis: Whether its faces accompany speech by brows, nods and blinks.

    Raises:
        EngineUnavailable: MuseTalk is required and cannot run here.
    """
    if engine == "viseme":
        return viseme("as ENGINE says", cores, has_emphasis=has_emphasis)
    missing = _missing_for_musetalk(model_path)
    if missing is None:
        reason = "as ENGINE says" if engine == "musetalk" else "its weights are there"
        return EngineChoice(None, reason)
    if engine == "musetalk":
        raise EngineUnavailable(f"ENGINE=musetalk, but {missing.details}")
    return viseme(f"because {missing.summary}", cores, has_emphasis=has_emphasis)


def may_be_musetalk(engine: str, model_path: Path) -> bool:
    """Whether `choose_engine` chooses MuseTalk."""
    return engine != "viseme" and _missing_for_musetalk(model_path) is None


def devices_for(wanted: Sequence[str]) -> list[str]:
    """Return the devices to run MuseTalk on, an engine process for each.

    Args:
        wanted: The setting DEVICE. auto is every GPU where there are several; else it stays auto,
            and the engine process finds out what there is.
    """
    gpus = _visible_gpus() if list(wanted) == ["auto"] else 0
    return [f"cuda:{number}" for number in range(gpus)] if gpus > 1 else list(wanted)


def _visible_gpus(devices: Path = Path("/dev")) -> int:
    """Count the NVIDIA GPUs that CUDA will see, without a library that takes seconds to import.

    A container has the device files of those alone that it was given.
    """
    numbers = [
        path.name for path in devices.glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name)
    ]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return len(numbers)
    # CUDA itself takes those before the first entry that is none.
    entries = [entry.strip() for entry in visible.split(",")]
    valid = next((n for n, entry in enumerate(entries) if entry in ("", "-1")), len(entries))
    return min(valid, len(numbers))


def viseme(reason: str, cores: int, *, has_emphasis: bool = True) -> EngineChoice:
    """Return the engine that runs everywhere."""
    from inference.engines.viseme.engine import VisemeEngine

    return EngineChoice(VisemeEngine(concurrency=cores, has_emphasis=has_emphasis), reason)


@dataclass(frozen=True, slots=True)
class _Missing:
    """What MuseTalk lacks here, as ends of sentences."""

    summary: str
    """For those who did not ask for MuseTalk."""
    details: str


def _missing_for_musetalk(model_path: Path) -> _Missing | None:
    """Return what MuseTalk lacks here; None if it can be tried."""
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            return _Missing(
                "MuseTalk is not installed (`make run ENGINE=musetalk` installs it)",
                f"{package} is not installed (`make run ENGINE=musetalk` installs it)",
            )
    from inference.engines.musetalk.weights import find_tree

    try:
        find_tree(model_path)
    except EngineUnavailable as error:
        return _Missing(f"MuseTalk's weights are not in {model_path}", str(error))
    return None


def import_networks() -> None:
    """Import what MuseTalk's networks are made of, which takes seconds."""
    importlib.import_module("inference.engines.musetalk.loaded")


def musetalk_engine(
    *, engine: str, device: str, use_float16: bool, model_path: Path, options: Mapping[str, Any]
) -> "MuseTalkEngine":
    """MuseTalk, not yet loaded; to be called in the engine process, since it imports torch.

    Args:
        engine: As the setting ENGINE: auto requires a GPU.
        device: As the setting DEVICE.
        use_float16: As the setting USE_FLOAT16.
        model_path: The folder of its weights.
        options: More arguments of `MuseTalkEngine`, by name.

    Raises:
        EngineUnavailable: There is no device for it.
    """
    import torch

    from inference.engines.musetalk.engine import MuseTalkEngine

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise EngineUnavailable(f"DEVICE={device}, but torch finds no CUDA GPU")
    has_gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    if engine == "auto" and (device == "cpu" or not has_gpu):
        raise EngineUnavailable("there is no GPU for MuseTalk")
    return MuseTalkEngine(model_path, device=device, use_float16=use_float16, **options)
