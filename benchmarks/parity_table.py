"""Verdicts of stages, and the table they make."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Verdict:
    """One stage: what was wanted of it, what was measured."""

    stage: str
    wanted: str
    measured: str
    passed: bool


def largest(found: Any, wanted: Any) -> float:
    """Return the largest absolute difference.

    It is infinite where shapes differ or a value is not a number.
    """
    found, wanted = np.asarray(found), np.asarray(wanted)
    if found.shape != wanted.shape:
        return float("inf")
    off = float(np.abs(found.astype(np.float64) - wanted.astype(np.float64)).max(initial=0.0))
    return off if np.isfinite(off) else float("inf")


def within(stage: str, found: Any, wanted: Any, tolerance: float) -> Verdict:
    """Whether every value is at most ``tolerance`` off."""
    off = largest(found, wanted)
    allowed = "exact" if tolerance == 0 else f"<= {tolerance:g}"
    return Verdict(stage, allowed, f"{off:.2g}", off <= tolerance)


def print_table(verdicts: list[Verdict]) -> None:
    """For people; wide enough for its longest entries."""
    width = max(len(verdict.stage) for verdict in verdicts)
    print(f"{'stage':{width}}  {'wanted':16}  {'measured':14}  verdict")
    for verdict in verdicts:
        word = "ok" if verdict.passed else "SHORT"
        print(f"{verdict.stage:{width}}  {verdict.wanted:16}  {verdict.measured:14}  {word}")
    short = sum(not verdict.passed for verdict in verdicts)
    print(f"{len(verdicts)} stages, {short} short")
