"""What was wanted, what was measured, and whether that is enough: as a table and as JSON."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.machine import machine


@dataclass(frozen=True, slots=True)
class Finding:
    """One number. ``is_met`` None: nothing was wanted of it."""

    name: str
    wanted: str
    measured: float | None
    unit: str
    is_met: bool | None

    @property
    def shown(self) -> str:
        if self.measured is None:
            return "not measured"
        if self.measured == int(self.measured):
            return f"{int(self.measured):,} {self.unit}".rstrip()
        return f"{self.measured:,.2f} {self.unit}".rstrip()


class Verdict:
    """The findings of one benchmark.

    What was wanted and not measured is missed: a stream that never came is late by no number. Other
    work on the machine falsifies every number about time, so the load before is named, too.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.machine = machine()
        self.load_before = os.getloadavg()[0]
        self.notes: list[str] = []
        self.findings: list[Finding] = []

    def below(self, name: str, limit: float, measured: float | None, unit: str = "ms") -> None:
        self._add(name, f"< {limit:g} {unit}".rstrip(), measured, unit, lambda value: value < limit)

    def at_least(self, name: str, limit: float, measured: float | None, unit: str = "") -> None:
        self._add(
            name, f"≥ {limit:g} {unit}".rstrip(), measured, unit, lambda value: value >= limit
        )

    def at_most(self, name: str, limit: float, measured: float | None, unit: str = "") -> None:
        self._add(
            name, f"≤ {limit:g} {unit}".rstrip(), measured, unit, lambda value: value <= limit
        )

    def near(
        self, name: str, wanted: float, slack: float, measured: float | None, unit: str = ""
    ) -> None:
        text = f"{wanted:g} ± {slack:g} {unit}".rstrip()
        self._add(name, text, measured, unit, lambda value: abs(value - wanted) <= slack)

    def none_of(self, name: str, measured: float | None) -> None:
        """Expect a count of 0."""
        self._add(name, "0", measured, "", lambda value: value == 0)

    def told(self, name: str, measured: float | None, unit: str = "") -> None:
        """Worth knowing, with nothing wanted of it."""
        self.findings.append(Finding(name, "", measured, unit, None))

    @property
    def is_met(self) -> bool:
        return all(finding.is_met is not False for finding in self.findings)

    def conclude(self, json_path: Path | None = None) -> int:
        """Print the table, write the JSON if asked for; the exit status."""
        print("\n".join(self.lines()))
        if json_path:
            json_path.write_text(json.dumps(self.as_dict(), indent=1, ensure_ascii=False) + "\n")
        sys.stdout.flush()
        return 0 if self.is_met else 1

    def lines(self) -> list[str]:
        rows = [("", "wanted", "measured", "verdict")]
        words = {True: "ok", False: "MISSED", None: ""}
        rows += [(f.name, f.wanted, f.shown, words[f.is_met]) for f in self.findings]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        table = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        title = f"{self.name}: {self.machine}, load before {self.load_before:.2f}"
        return ["", title, *self.notes, "", *table]

    def as_dict(self) -> dict[str, object]:
        return {
            "benchmark": self.name,
            "machine": self.machine,
            "load_before": self.load_before,
            "notes": self.notes,
            "is_met": self.is_met,
            "findings": [asdict(finding) for finding in self.findings],
        }

    def _add(
        self,
        name: str,
        wanted: str,
        measured: float | None,
        unit: str,
        is_enough: Callable[[float], bool],
    ) -> None:
        is_met = measured is not None and is_enough(measured)
        self.findings.append(Finding(name, wanted, measured, unit, is_met))
