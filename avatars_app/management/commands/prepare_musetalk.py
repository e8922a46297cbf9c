"""``manage.py prepare_musetalk``: what the MuseTalk engine keeps of avatars, made in advance."""

import time
from argparse import ArgumentParser
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from avatars_app.selectors import library
from inference import process_settings
from inference.errors import AvatarError, EngineUnavailable

if TYPE_CHECKING:
    from inference.engines.musetalk.prepare.offline import Missing

REPORT_EVERY_S = 1.0


class Command(BaseCommand):
    help = (
        "Make what the MuseTalk engine keeps of each picture of an avatar (latents, masks, boxes), "
        "so that no session has to wait for it. A GPU takes seconds for a clip, a CPU a quarter of "
        "an hour. What is there already is kept, so the command can be ended and said again."
    )

    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("avatar", nargs="*", help="whose; all avatars if none is named")
        parser.add_argument(
            "--device", default=settings.DEVICES[0], help="instead of the first of DEVICE"
        )
        parser.add_argument("--check", action="store_true", help="only say what is missing")

    def handle(self, *args: Any, **options: Any) -> None:
        process_settings.for_networks()
        names = options["avatar"] or sorted(library().names())
        try:
            missing = _missing_clips(names)
            pictures = sum(clip.entry.frames for clip in missing)
            self.stdout.write(
                f"{len(missing)} clips of {len(names)} avatars lack {pictures} pictures."
            )
            if options["check"]:
                for clip in missing:
                    self.stdout.write(f"  {_name(clip)}: {clip.entry.frames}")
            elif missing:
                self._prepare(missing, options["device"])
        except (AvatarError, EngineUnavailable) as error:
            raise CommandError(str(error)) from None

    def _prepare(self, missing: "list[Missing]", device: str) -> None:
        from inference.engines.musetalk.prepare.offline import load_preparer

        preparer = load_preparer(
            settings.MODEL_PATH, device, self.stdout.write, use_float16=settings.USE_FLOAT16
        )
        self.stdout.write(f"on {preparer.device}")
        for clip in missing:
            clip.prepare(preparer, self._reporter(_name(clip)))
        self.stdout.write(self.style.SUCCESS("All is prepared."))

    def _reporter(self, what: str) -> Any:
        began_s = reported_s = time.monotonic()

        def report(done: int, count: int) -> None:
            nonlocal reported_s
            now_s = time.monotonic()
            if not done or (done < count and now_s - reported_s < REPORT_EVERY_S):
                return
            reported_s = now_s
            left_s = (now_s - began_s) / done * (count - done)
            self.stdout.write(
                f"\r{what}: {done} of {count} pictures, {left_s:.0f} s left ",
                ending="\n" if done == count else "",
            )
            self.stdout.flush()

        return report


def _missing_clips(names: Iterable[str]) -> "list[Missing]":
    try:
        from inference.engines.musetalk.prepare.offline import missing_clips
    except ImportError as error:
        raise CommandError(
            f"{error.name} is not installed: .venv/bin/pip install -r requirements.txt"
        ) from None
    return [
        clip
        for name in names
        for clip in missing_clips(
            library().find(name), library().manifest(name), settings.AVATARS_DIR
        )
    ]


def _name(clip: "Missing") -> str:
    return f"{clip.manifest.name} {clip.entry.name}"
