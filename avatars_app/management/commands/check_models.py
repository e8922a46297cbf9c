"""``manage.py check_models``: what of the MuseTalk engine's weights is there, missing or wrong."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from inference import process_settings
from inference.engines.musetalk import weights
from inference.errors import EngineUnavailable


class Command(BaseCommand):
    help = "Say what of the MuseTalk weights under MODEL_PATH is there, missing or wrong."

    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--quick", action="store_true", help="compare sizes, not checksums")
        parser.add_argument(
            "--load",
            action="store_true",
            help="also read every tensor and check its name and shape",
        )
        parser.add_argument("--at", type=Path, help="another folder than MODEL_PATH")

    def handle(self, *args: Any, **options: Any) -> None:
        root = Path(options["at"] or settings.MODEL_PATH)
        states = weights.check_files(root, checksum=not options["quick"])
        for state in states:
            self.stdout.write(
                f"{state.state:8} {state.file.need:12} {state.file.path}"
                + (f"  ({state.detail})" if state.detail not in ("", state.file.path) else "")
            )
        wrong = [state.file.path for state in states if state.state == "wrong"]
        if wrong and not options["load"]:
            raise CommandError(
                f"not the published files: {', '.join(wrong)}; `.venv/bin/python manage.py "
                "download_models` fetches those; --load tells whether the engine could run with "
                "these"
            )
        try:
            tree = weights.find_tree(root)
            if options["load"]:
                process_settings.for_networks()
                from inference.engines.musetalk.networks import load_decoder, load_networks

                load_networks(tree)
                if tree.tiny_weights is not None:
                    load_decoder(tree, "taesd")
                if tree.narrow_weights is not None:
                    load_decoder(tree, "narrow")
        except EngineUnavailable as error:
            raise CommandError(str(error)) from None
        if wrong:
            self.stdout.write(f"Not the published files, but they fit: {', '.join(wrong)}")
        if tree.face_parsing is None:
            self.stdout.write("Without the face parser, blend masks come from the face's oval.")
        self.stdout.write(self.style.SUCCESS("The MuseTalk engine finds its weights."))
