"""`manage.py load_test`: how many sessions this machine, or a running server, holds.

It is `benchmarks.load` under a name that operators find. Without ``--server`` it starts a server of
its own, with a database and folders of its own, so nothing that runs here is touched.
"""

import argparse
import sys
from typing import Any

from django.core.management.base import BaseCommand

from benchmarks import load


class Command(BaseCommand):
    help = "Measure how many sessions a server holds: that speak, and that only watch."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        load.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        sys.exit(load.run(argparse.Namespace(**options)))
