"""The GPU report: written after each section, honest about what was cut off or is missing."""

import re
import sys

import pytest

from benchmarks import gpu_report
from benchmarks.gpu_report import SECTIONS, Report, Section, main, missing_packages, run_section


def test_a_reader_always_finds_a_whole_report(tmp_path):
    report = Report(tmp_path / "report.md", "Title")
    report.add("first  \n")
    assert report.path.read_text() == "# Title\n\nfirst\n"
    report.add("second")
    assert report.path.read_text() == "# Title\n\nfirst\n\nsecond\n"
    assert list(tmp_path.iterdir()) == [report.path]


def test_what_is_not_installed_is_named_with_what_needs_it():
    sections = [Section("a", "A", ("sys", "no_such_package")), Section("b", "B", ("sys",))]
    assert missing_packages(sections) == {"no_such_package": ["a"]}


def test_every_section_can_be_run():
    from benchmarks import gpu_sections

    assert set(gpu_sections.SECTIONS) == {section.name for section in SECTIONS}


ROWS = {
    "memory": (r"^\| \d+ \| - \| \d+\.\d\d \(process\)", 2),
    "levers": (r"^\| (everything|nothing|one after the other) \|.* \d+ \|$", 6),
    "profile": (r"^\| `aten::\S+` \| \d+ \| \d+\.\d+ \|", 10),
}
"""What sections of the networks print, and how often at least."""


@pytest.mark.slow
@pytest.mark.lasting
@pytest.mark.timeout(700)
@pytest.mark.parametrize("name", ROWS)
def test_a_section_of_the_networks_runs_to_its_end_without_a_gpu(tmp_path, name):
    pytest.importorskip("torch")
    [section] = [section for section in SECTIONS if section.name == name]
    arguments = ["--models", str(tmp_path / "models"), "--device", "cpu"]
    text, ending = run_section(section, 600.0, arguments, tmp_path)
    assert re.fullmatch(r"after \d+ s", ending), text
    pattern, count = ROWS[name]
    assert len(re.findall(pattern, text, re.M)) >= count, text


@pytest.fixture
def program(monkeypatch):
    """Sections run this program instead."""

    def use(code: str) -> None:
        real = gpu_report.subprocess.Popen

        def run(command, **options):
            return real([sys.executable, "-c", code], **options)

        monkeypatch.setattr(gpu_report.subprocess, "Popen", run)

    return use


def test_a_section_that_takes_too_long_leaves_what_it_printed(tmp_path, program):
    program("import time; print('first line', flush=True); time.sleep(60)")
    text, ending = run_section(Section("a", "A", ()), 2.0, [], tmp_path)
    assert text == "first line\n"
    assert ending.startswith("cut off at its limit of 2 s")


def test_a_section_that_fails_is_reported_and_the_others_run(
    tmp_path, program, monkeypatch, capsys
):
    program("print('numbers'); raise SystemExit(3)")
    sections = (Section("a", "A", ()), Section("b", "B", ("no_such_package",)))
    monkeypatch.setattr(gpu_report, "SECTIONS", sections)
    path = tmp_path / "report.md"
    assert main(["--to", str(path), "--device", "cpu"]) == 1
    text = path.read_text()
    assert re.search(r"## A\n\nnumbers\n\n\(a: ended with status 3 after \d+ s\)", text)
    assert "## B\n\nNot run: no_such_package not installed." in text
    assert "not installed: no_such_package; without it no b" in capsys.readouterr().out


def test_a_spent_budget_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_report, "SECTIONS", (Section("a", "A", ()),))
    path = tmp_path / "report.md"
    assert main(["--to", str(path), "--budget", "1", "--device", "cpu"]) == 0
    assert "Not run: the budget is spent." in path.read_text()
