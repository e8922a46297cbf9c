"""``python -m benchmarks.gpu_report [--sections ladder throughput …] [--budget 900] [--to FILE]``

All that is to be measured of the MuseTalk engine on a GPU, in one run that may be cut off: sections
in order of value, each at most two minutes in a process of its own, and the report (Markdown)
written after every one of them. Needs no network. On a machine without a GPU the same sections run
on the small networks, which tells that the script works and nothing about speed.
"""

import argparse
import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.folders import ROOT
from benchmarks.machine import machine

SECTION_LIMIT_S = 120.0
LEAST_S = 3.0
"""A section that would have less is not begun."""

NETS = ("torch", "numpy", "cv2", "PIL")
SERVER = (*NETS, "django", "channels", "daphne", "av", "msgspec", "websockets", "psutil")
ENGINE = (*SERVER, "diffusers", "transformers", "safetensors")


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the report; `benchmarks.gpu_sections` runs it."""

    name: str
    title: str
    packages: tuple[str, ...]
    limit_s: float = SECTION_LIMIT_S


SECTIONS = (
    Section("models", "The networks that are measured", ENGINE),
    Section("ladder", "End to end: sessions with a prepared avatar", ENGINE),
    Section("beside", "End to end: sessions while clips are prepared", ENGINE),
    Section("throughput", "Pictures per second by batch size", NETS),
    Section("tests", "Tests that need a GPU", (*NETS, "pytest", "pytest_django", "django")),
    Section("preparing", "Pictures per second of preparing clips", (*NETS, "av", "msgspec")),
    Section("levers", "What each kernel, attention and overlap bring", NETS),
    Section("decoders", "Pictures per second with the faster decoders", NETS),
    Section("accuracy", "The error budget: half precision and every kernel", NETS),
    Section("profile", "GPU time by kernel", NETS),
    Section("viseme", "End to end: the viseme engine", SERVER),
    Section("memory", "Memory by batch size", (*NETS, "psutil")),
    Section("sigterm", "SIGTERM while the engine loads and prepares", ENGINE),
)
"""In order of value: the first are the last to be missing."""


@dataclass(slots=True)
class Report:
    """What is known so far; `write` replaces the file as a whole."""

    path: Path
    title: str
    parts: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        """Append a part and write the report."""
        self.parts.append(text.rstrip())
        self.write()

    def write(self) -> None:
        """Write all parts to ``path``; a reader sees the former report or this one."""
        draft = self.path.with_name(f".{self.path.name}.new")
        draft.write_text("\n\n".join([f"# {self.title}", *self.parts]) + "\n", encoding="utf-8")
        draft.replace(self.path)


def missing_packages(sections: Sequence[Section]) -> dict[str, list[str]]:
    """Return packages that are not installed, each with the sections that need it."""
    missing: dict[str, list[str]] = {}
    for section in sections:
        for package in section.packages:
            if importlib.util.find_spec(package) is None:
                missing.setdefault(package, []).append(section.name)
    return missing


def run_section(
    section: Section, limit_s: float, arguments: Sequence[str], folder: Path
) -> tuple[str, str]:
    """Run a section in a process group of its own, ended after ``limit_s``.

    Returns:
        What it printed, and how it ended in words.
    """
    output = folder / f"{section.name}.md"
    began_s = time.monotonic()
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.gpu_sections", section.name, *arguments],
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(limit_s)
            ending = "" if status == 0 else f"ended with status {status} "
        except subprocess.TimeoutExpired:
            ending = f"cut off at its limit of {limit_s:.0f} s "
        except BaseException:
            _end_group(process)
            raise
        _end_group(process)
    took = f"{ending}after {time.monotonic() - began_s:.0f} s"
    return output.read_text(encoding="utf-8", errors="replace"), took


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """End the whole process group: a section that was cut off leaves no server behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def header(device: str) -> str:
    """Where the numbers are from."""
    text = f"{machine()}, load before {os.getloadavg()[0]:.2f}"
    if importlib.util.find_spec("torch") is None:
        return text
    import torch

    if torch.cuda.is_available() and device != "cpu":
        text += f"; {torch.cuda.get_device_name()}"
    else:
        text += "; **no GPU: small networks on the CPU, no number here is MuseTalk's**"
    return f"{text}; torch {torch.__version__}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.gpu_report", description=__doc__)
    names = [section.name for section in SECTIONS]
    parser.add_argument("--sections", nargs="+", choices=names, default=names)
    parser.add_argument("--budget", type=float, default=900.0, help="seconds for all sections")
    parser.add_argument("--to", type=Path, default=Path("gpu_report.md"), help="the report's file")
    parser.add_argument("--models", type=Path, help="a model tree; else one is made by rule")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    options = parser.parse_args(arguments)
    end_s = time.monotonic() + options.budget
    sections = [section for section in SECTIONS if section.name in options.sections]
    missing = missing_packages(sections)
    for package, needed_by in missing.items():
        print(f"not installed: {package}; without it no {', '.join(needed_by)}", flush=True)
    report = Report(options.to, "MuseTalk on this machine")
    report.add(header(options.device))
    failed = 0
    with tempfile.TemporaryDirectory(prefix="avatar-gpu-report-") as name:
        models = options.models or Path(name) / "models"
        passed_on = ["--models", str(models.resolve()), "--device", options.device]
        for section in sections:
            left_s = end_s - time.monotonic()
            lacking = [package for package in section.packages if package in missing]
            if lacking:
                report.add(f"## {section.title}\n\nNot run: {', '.join(lacking)} not installed.")
                continue
            if left_s < LEAST_S:
                report.add(f"## {section.title}\n\nNot run: the budget is spent.")
                continue
            limit_s = min(section.limit_s, left_s)
            text, ending = run_section(section, limit_s, passed_on, Path(name))
            failed += "status" in ending
            report.add(f"## {section.title}\n\n{text.rstrip()}\n\n({section.name}: {ending})")
            print(f"{section.name}: {ending}", flush=True)
    print(f"{options.to} is written")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
