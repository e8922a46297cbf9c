"""An empty folder of avatars."""

from pathlib import Path

import pytest


@pytest.fixture
def avatars_dir(tmp_path: Path, settings) -> Path:
    settings.AVATARS_DIR = tmp_path / "avatars"
    settings.SHIPPED_AVATARS_DIR = tmp_path / "shipped"
    return settings.AVATARS_DIR
