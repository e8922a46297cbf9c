"""``manage.py download_models``: fetch the MuseTalk engine's weights into MODEL_PATH."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from inference.engines.musetalk import weights
from inference.errors import EngineUnavailable


class Command(BaseCommand):
    help = (
        "Fetch exactly the weight files that the MuseTalk engine needs, pinned and checked, into "
        "MODEL_PATH. What is there already is kept; an interrupted download is taken up again. "
        "Mirrors: set HF_ENDPOINT."
    )

    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--accept-licenses", action="store_true", help="you have read them")
        parser.add_argument("--taesd", action="store_true", help="the tiny decoder as well")
        parser.add_argument("--to", type=Path, help="another folder than MODEL_PATH")

    def handle(self, *args: Any, **options: Any) -> None:
        root = Path(options["to"] or settings.MODEL_PATH)
        files = weights.chosen_files(tiny=options["taesd"])
        self.stdout.write("The weights belong to others. Their licenses, as they state them:")
        for repository in dict.fromkeys(file.repository for file in files):
            revision = weights.REVISIONS[repository][:12]
            license = weights.LICENSES[repository]
            self.stdout.write(f"  {repository} at {revision}: {license}")
        if not options["accept_licenses"]:
            raise CommandError("nothing fetched: say --accept-licenses if you accept them")
        total = sum(file.size_bytes or 0 for file in files)
        self.stdout.write(f"{len(files)} files, {total / 1e9:.2f} GB, into {root}")
        try:
            states = weights.download(root, files, say=self.stdout.write)
        except EngineUnavailable as error:
            raise CommandError(f"{error}. Run the command again to continue from here.") from None
        wrong = [state for state in states if state.state in ("missing", "wrong")]
        for state in wrong:
            self.stderr.write(f"{state.file.path}: {state.state} {state.detail}")
        if wrong:
            raise CommandError("not all files are right")
        self.stdout.write(self.style.SUCCESS("All files are there and right."))
