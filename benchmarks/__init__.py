"""Measurements, one command each: ``python -m benchmarks.NAME``."""

import sys
from pathlib import Path

# The client library is in this repository, and need not be installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "clients" / "python" / "src"))

from inference import process_settings

process_settings.for_networks()  # of the commands in here, before any of them imports torch
