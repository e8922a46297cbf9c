"""Where things are in this checkout."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PRESENTER = ROOT / "avatars_app" / "presenter"
"""The asset folder that a user without an avatar sees."""
MUSETALK_DATA = ROOT / "tests" / "data" / "musetalk"
"""Small networks, and what the reference made of the same input."""
