"""`manage.py prepare_avatar`: make an avatar of a video, by hand, or for the runner."""

import argparse
import logging
import os
import signal
import threading
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, OutputWrapper
from django.db import DatabaseError, connection

from avatars_app import asset_folders, services
from avatars_app.database import availability
from avatars_app.models import Avatar
from avatars_app.preparation.limits import PreparationLimits
from avatars_app.uploads import storage
from inference.assets.names import NAME, NAME_RULE
from inference.errors import PreparationError
from inference.reachability import in_one_line

log = logging.getLogger(__name__)

NICENESS = 15
LOOK_EVERY_S = 1.0
HEARTBEAT_S = 5.0
NOT_WANTED = 3
"""Exit status of a child whose work is not wanted any more."""


class Command(BaseCommand):
    help = "Prepare an avatar of a video, a still picture or a folder of clips."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--job", type=uuid.UUID, help="a job that the preparation_runner took")
        what.add_argument("--user-id", help="whose avatar it shall be")
        parser.add_argument("source", nargs="?", type=Path, help="a file, or a folder of clips")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["job"] is not None:
            _Child(options["job"]).run()
        else:
            try:
                self._by_hand(options["user_id"], options["source"])
            except DatabaseError as error:
                raise CommandError(
                    f"The database cannot be used ({in_one_line(error)}): is it migrated?"
                ) from None

    def _by_hand(self, user_id: str, source: Path | None) -> None:
        if not NAME.fullmatch(user_id):
            raise CommandError(f"--user-id must be {NAME_RULE}.")
        if source is None or not source.exists():
            raise CommandError("Name a video, a picture, or a folder of clips that exists.")
        if Avatar.objects.filter(user_id=user_id, status__in=Avatar.IN_PROGRESS).exists():
            raise CommandError(f"{user_id} is being prepared by the server: cancel that first.")
        from inference.preparation.prepare import prepare

        say = _Progress(self.stdout)
        output = Path(settings.AVATARS_DIR) / user_id
        _clean_up_when_ended()
        try:
            services.check_folder(user_id)
            prepare(_clips_in(source) if source.is_dir() else source, output, say, name=user_id)
        except services.AvatarTaken:
            raise CommandError(f"{user_id} would share its folder with another avatar.") from None
        except PreparationError as error:
            raise CommandError(f"{error} ({error.reason})") from None
        except OSError as error:
            raise CommandError(f"It could not be stored: {error}") from None
        except MemoryError:
            raise CommandError("There is too little memory for it: use a smaller video.") from None
        services.avatar_adopt(user_id=user_id)
        say.end()
        self.stdout.write(f"{output} is ready; how good it is shows {output / 'report.png'}")


class _Progress:
    """Reports stage and percent: on a terminal in one line, elsewhere in a line for each stage."""

    def __init__(self, output: OutputWrapper) -> None:
        self._output = output
        self._is_terminal = output.isatty()
        self._stage = ""

    def __call__(self, stage: str, percent: float) -> None:
        if self._is_terminal:
            self._output.write(f"\r{stage:<8}{percent:3.0f} %", ending="")
            self._output.flush()
        elif stage != self._stage:
            self._output.write(f"{stage} ...")
        self._stage = stage

    def end(self) -> None:
        """Leave the line that was written over itself."""
        if self._is_terminal:
            self._output.write("")


class _Child:
    """The process that the preparation_runner started: it alone writes stage and percent."""

    def __init__(self, job_id: uuid.UUID) -> None:
        self._job_id = job_id
        self._stage, self._percent = "", 0
        self._is_over = threading.Event()
        self._is_lost = threading.Event()

    def run(self) -> None:
        _clean_up_when_ended()
        os.nice(NICENESS)
        heart = threading.Thread(target=self._beat, daemon=True)
        heart.start()
        try:
            self._prepare()
        except services.PreparationLost:
            raise SystemExit(NOT_WANTED) from None
        finally:
            self._is_over.set()
            heart.join()
            asset_folders.forget_job(self._job_id)

    def _prepare(self) -> None:
        avatar = Avatar.objects.filter(job_id=self._job_id).first()
        if avatar is None:
            raise services.PreparationLost(str(self._job_id))
        made = asset_folders.job_folder(self._job_id) / avatar.user_id
        try:
            from inference.preparation.prepare import prepare

            PreparationLimits.from_settings().apply()
            prepare(storage.source(avatar.upload), made, self._note, name=avatar.user_id)
            services.preparation_finish(job_id=self._job_id, made=made)
        except (services.PreparationLost, DatabaseError):
            raise  # no process is there to report to
        except PreparationError as error:
            self._fail(error.reason, str(error))
        except storage.UploadGone as error:
            self._fail("upload_gone", str(error))
        except OSError as error:
            self._fail(
                "storage", f"The server could not store the avatar: {error.strerror or error}."
            )
        except MemoryError:
            self._fail("memory", "The server has too little memory for it: send a smaller video.")
        except Exception:
            log.exception("the preparation of %s failed", avatar.user_id)
            self._fail("internal", "The server made a mistake, which it logged. Try another video.")

    def _fail(self, reason: str, error: str) -> None:
        services.preparation_fail(job_id=self._job_id, reason=reason, error=error)

    def _note(self, stage: str, percent: float) -> None:
        """Write down from time to time how far it is. End the work that nobody wants any more."""
        self._stage, self._percent = stage, int(percent)
        if self._is_lost.is_set():
            raise services.PreparationLost(str(self._job_id))

    def _beat(self) -> None:
        """Write stage and percent at most once a second when they move, else now and then."""
        written, waited_s = ("", -1), 0.0
        while not self._is_over.wait(LOOK_EVERY_S):
            now = self._stage, self._percent
            waited_s += LOOK_EVERY_S
            if now == written and waited_s < HEARTBEAT_S:
                continue
            try:
                services.preparation_note(job_id=self._job_id, stage=now[0], percent=now[1])
            except services.PreparationLost:
                self._is_lost.set()
                break
            except DatabaseError as error:
                availability.lost(self, error)
                continue
            availability.found(self)
            written, waited_s = now, 0.0
        with suppress(DatabaseError):
            connection.close()


def _clean_up_when_ended() -> None:
    """Have signals end this process by an exception, which cleans up on its way out."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as behind `nohup`
            signal.signal(number, _leave)


def _leave(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def _clips_in(folder: Path) -> dict[str, Path]:
    files = {file.stem: file for file in sorted(folder.iterdir()) if file.is_file()}
    clips = {name: files[name] for name in storage.CLIP_NAMES if name in files}
    if not clips:
        raise CommandError(f"{folder} has no files named idle_0 ... action_2.")
    return clips
