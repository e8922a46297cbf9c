#!/usr/bin/env python
"""Entry to every command of the project."""

import os
import sys
from pathlib import Path

from inference import process_settings
from musetalk_site.configuration.environment import CannotStart

# `talk` and `load_test` use the client library of this repository, which need not be installed.
sys.path.insert(0, str(Path(__file__).resolve().parent / "clients" / "python" / "src"))


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "musetalk_site.settings")
    try:
        with process_settings.importing():
            import django
            from django.core.management import execute_from_command_line

            django.setup()
        execute_from_command_line(sys.argv)
    except CannotStart as error:
        sys.exit(f"Cannot start: {error}")


if __name__ == "__main__":
    main()
