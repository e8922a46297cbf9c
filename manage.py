#!/usr/bin/env python
"""Entry to every command of the project."""

import os
import sys

from musetalk_site.environment import CannotStart


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "musetalk_site.settings")
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except CannotStart as error:
        sys.exit(f"Cannot start: {error}")


if __name__ == "__main__":
    main()
