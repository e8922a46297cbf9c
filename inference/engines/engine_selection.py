"""Which engine runs, and why: the setting ENGINE, and what is there."""

import importlib.util
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from inference.engines.base import Engine
from inference.errors import EngineUnavailable

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """An engine, not yet loaded, and the reason in words."""

    engine: Engine
    reason: str


def choose_engine(
    *,
    engine: str,
    device: str,
    use_float16: bool,
    model_path: Path,
    cores: int = 1,
    musetalk: Mapping[str, Any] = MappingProxyType({}),
) -> EngineChoice:
    """Choose an engine; auto takes MuseTalk if its weights and a GPU are there.

    Torch is imported only if they may be.

    Args:
        engine: auto, viseme or musetalk.
        device: As the setting DEVICE.
        use_float16: As the setting USE_FLOAT16.
        model_path: The folder of MuseTalk's weights.
        cores: How many cores an engine of the CPU may keep busy.
        musetalk: More arguments of `MuseTalkEngine`, by name.

    Raises:
        EngineUnavailable: MuseTalk is asked for and cannot run here.
    """
    if engine == "viseme":
        return EngineChoice(_viseme(cores), "as ENGINE says")
    missing = _missing_for_musetalk(device, model_path, needs_gpu=engine == "auto")
    if missing is None:
        from inference.engines.musetalk.engine import MuseTalkEngine

        reason = "as ENGINE says" if engine == "musetalk" else "its weights and a GPU are there"
        return EngineChoice(
            MuseTalkEngine(model_path, device=device, use_float16=use_float16, **musetalk), reason
        )
    if engine == "musetalk":
        raise EngineUnavailable(f"ENGINE=musetalk, but {missing}")
    if device.startswith("cuda"):
        log.warning("DEVICE=%s, but %s; the viseme engine runs on the CPU", device, missing)
    return EngineChoice(_viseme(cores), f"because {missing}")


def may_be_musetalk(engine: str, model_path: Path) -> bool:
    """Whether `choose_engine` may choose MuseTalk; torch is not imported to find out."""
    if engine != "auto":
        return engine == "musetalk"
    return importlib.util.find_spec("torch") is not None and any(model_path.glob("*/*"))


def _viseme(cores: int) -> Engine:
    from inference.engines.viseme.engine import VisemeEngine

    return VisemeEngine(concurrency=cores)


def _missing_for_musetalk(device: str, model_path: Path, *, needs_gpu: bool) -> str | None:
    """What MuseTalk lacks here, as the end of a sentence; None if it can run."""
    for package in ("torch", "diffusers", "transformers"):
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed (`pip install -r requirements.txt`)"
    from inference.engines.musetalk.weights import find_tree

    try:
        find_tree(model_path)
    except EngineUnavailable as error:
        return str(error)
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        return "torch finds no CUDA GPU"
    has_gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    if needs_gpu and (device == "cpu" or not has_gpu):
        return "there is no GPU for MuseTalk"
    return None
