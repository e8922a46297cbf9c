#!/usr/bin/env python
"""Entry to every command of the project."""

import os
import sys
from contextlib import nullcontext
from pathlib import Path

from inference import process_settings
from musetalk_site.configuration.environment import CannotStart

# `talk` and `load_test` use the client library of this repository, which need not be installed.
sys.path.insert(0, str(Path(__file__).resolve().parent / "clients" / "python" / "src"))

WITH_SESSIONS = {"serve", "runworker"}
"""The commands whose processes hold sessions; `serve` forks, too."""


def main() -> None:
    has_sessions = WITH_SESSIONS.intersection(sys.argv[1:2])
    threads = process_settings.starting_no_threads() if has_sessions else nullcontext()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "musetalk_site.settings")
    try:
        with process_settings.importing(), threads:
            import django
            from django.core.management import execute_from_command_line

            django.setup()
        execute_from_command_line(sys.argv)
    except CannotStart as error:
        sys.exit(f"Cannot start: {error}")


if __name__ == "__main__":
    main()
