"""Measurements, one command each: ``python -m benchmarks.NAME``."""

import sys
from pathlib import Path

# The client library is in this repository, and need not be installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "clients" / "python" / "src"))
