"""ONNX speech models whose packages hold their weights, with the durations they hide.

A model that predicts durations rounds them somewhere inside its graph. Naming that value as one
more output gives phoneme times as exact as the model's own frames, without another model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme.training.espeak_library import SynthesisError
from inference.engines.viseme.training.speech import Phoneme

_JOINING = "ˈˌ↓→↗↘"
"""Marks that belong to the sound after them."""
_LENGTHENING = "ːʰʲ̃"
"""Marks that belong to the sound before them."""
_BETWEEN = " _^$"
"""Symbols without a sound of their own."""
_STOPS = tuple("pbtdkɡgʔ")
"""Sounds that are silent themselves."""
_PAUSE_S = 0.06
"""A shorter silence is part of a sound."""
_PAUSING = ';:,.!?—…"()“”'


@dataclass(frozen=True, slots=True)
class Token:
    """A symbol of the model's alphabet and the seconds that the model gave it."""

    symbol: str
    duration_s: float


def session(path: Path, durations: str, seed: int) -> Any:
    """An ONNX session whose last output is the tensor named ``durations``.

    Raises:
        SynthesisError: onnx or onnxruntime is not installed, or the file is another model.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise SynthesisError(
            "install requirements-training.txt: no onnx, no onnxruntime"
        ) from error
    model = onnx.load(str(path))
    if not any(durations in node.output for node in model.graph.node):
        raise SynthesisError(f"{path.name} has no tensor {durations!r}: another version?")
    model.graph.output.append(onnx.ValueInfoProto(name=durations))
    onnxruntime.set_seed(seed)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def timed(
    tokens: Sequence[Token],
    loudness: NDArray[np.float32],
    hop_s: float,
    *,
    late_s: float = 0.0,
    share: float = 0.0,
) -> list[Phoneme]:
    """Phonemes with their times, from a model's tokens.

    Args:
        tokens: All that the model was given, in order.
        loudness: float32 ``[hops]``, level of the sound in each hop, any unit.
        hop_s: Length of a hop.
        late_s: How much later than the sound the model's times are.
        share: Of the time of a symbol without a sound, the share of the sound before it; the rest
            belongs to the one after. A silent one is a pause.
    """
    silent_below = 0.01 * float(loudness.max(initial=0.0))
    found: list[Phoneme] = []
    at_s = -late_s
    carried_s = 0.0
    for token in tokens:
        start_s, at_s = at_s, at_s + token.duration_s
        if token.symbol in _JOINING:
            carried_s += token.duration_s
            continue
        start_s -= carried_s
        carried_s = 0.0
        if token.symbol in _LENGTHENING:
            found = _stretched(found, at_s)
        elif token.symbol in _BETWEEN or token.symbol in _PAUSING:
            first = max(int(start_s / hop_s), 0)
            hops = loudness[first : max(int(at_s / hop_s), first + 1)]
            if not len(hops) or float(np.median(hops)) <= silent_below:
                if at_s > start_s:
                    found.append(Phoneme(start_s, at_s, ""))
            else:
                middle_s = start_s + share * (at_s - start_s)
                found = _stretched(found, middle_s)
                carried_s = at_s - middle_s
        elif at_s > start_s:
            found.append(Phoneme(start_s, at_s, token.symbol))
    heard = (_without_silence(phoneme, loudness <= silent_below, hop_s) for phoneme in found)
    return [part for parts in heard for part in parts if part.end_s > 0]


def _without_silence(
    phoneme: Phoneme, silent: NDArray[np.bool_], hop_s: float
) -> tuple[Phoneme, ...]:
    """A sound and the pause after it: a model may spend a pause on the sound before it."""
    if not phoneme.symbol or phoneme.symbol[0] in _STOPS:
        return (phoneme,)
    first, end = max(int(phoneme.start_s / hop_s), 0), int(phoneme.end_s / hop_s)
    quiet = silent[first:end]
    trailing = int(np.argmin(quiet[::-1])) if not quiet.all() else len(quiet)
    sounding_s = phoneme.end_s - trailing * hop_s
    if trailing * hop_s < _PAUSE_S or sounding_s <= phoneme.start_s:
        return (phoneme,)
    return (
        Phoneme(phoneme.start_s, sounding_s, phoneme.symbol),
        Phoneme(sounding_s, phoneme.end_s, ""),
    )


def _stretched(phonemes: list[Phoneme], end_s: float) -> list[Phoneme]:
    if not phonemes:
        return phonemes
    last = phonemes[-1]
    return [*phonemes[:-1], Phoneme(last.start_s, end_s, last.symbol)]
