"""Settings of a whole process are made by commands: a module that is imported makes none."""

import ast
import gc
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from threadpoolctl import threadpool_info

from inference import process_settings

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("avatars_app", "inference", "musetalk_site", "streaming")
PROCESS_WIDE = {
    "setswitchinterval",
    "setNumThreads",
    "threadpool_limits",
    "setdlopenflags",
    "freeze",
}
MAY = {
    "inference/process_settings.py",
    "avatars_app/preparation/limits.py",  # of the process of one preparation, called by its command
}


@pytest.mark.parametrize("most", [300, process_settings.DESCRIPTORS + 1])
def test_streams_may_have_as_many_descriptors_as_the_system_allows(most: int) -> None:
    code = (
        "import resource; from inference import process_settings; "
        f"resource.setrlimit(resource.RLIMIT_NOFILE, (256, {most})); "
        "process_settings.allow_descriptors(); print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    assert said.stdout.split() == [
        b"%d" % min(most, process_settings.DESCRIPTORS),
        b"%d" % most,
    ]


def test_streams_have_one_thread_for_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "setswitchinterval", lambda interval_s: None)
    before = cv2.getNumThreads()
    try:
        process_settings.for_streams()
        assert cv2.getNumThreads() == 1
        assert {
            pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"
        } <= {1}
    finally:
        cv2.setNumThreads(before)


def test_what_is_loaded_is_not_looked_at_again() -> None:
    code = (
        "import gc, django; from inference import process_settings;"
        "before = len(gc.get_objects()); process_settings.when_loaded();"
        "print(before > 1_000, gc.get_freeze_count() > 1_000, len(gc.get_objects()) < 100)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["True"] * 3


def test_what_imports_made_is_not_collected_again() -> None:
    try:
        with process_settings.importing():
            assert not gc.isenabled()
            made: list[object] = [[] for _ in range(1_000)]
        assert gc.isenabled()
        assert gc.get_freeze_count() > len(made)
    finally:
        gc.unfreeze()


@pytest.mark.parametrize("variable", [None, "2"])
def test_blas_starts_no_threads_and_later_processes_are_not_told(
    monkeypatch: pytest.MonkeyPatch, variable: str | None
) -> None:
    if variable is None:
        monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", variable)
    code = (
        "import os, psutil; from inference import process_settings\n"
        "with process_settings.starting_no_threads(): import cv2, numpy\n"
        "print(psutil.Process().num_threads(), os.environ.get('OPENBLAS_NUM_THREADS'))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["1", str(variable)]


def test_nothing_else_sets_them() -> None:
    found = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and (getattr(node.func, "attr", None) or getattr(node.func, "id", None)) in PROCESS_WIDE
    }
    assert found <= MAY


def test_importing_the_engines_changes_no_variable() -> None:
    code = (
        "import os, cv2; before = dict(os.environ);"  # OpenCV sets some of its own
        "import inference.engines.musetalk, inference.engines.viseme.engine;"
        "print(before == dict(os.environ))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "True"
