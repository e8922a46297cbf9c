"""Asset folders on disk: made aside, put in place, removed.

Each preparation has a folder of its own, ``AVATARS_DIR/.jobs/<job_id>``, for everything that it
writes. Whatever happens to it, nothing of it is elsewhere, so cleaning up after it is removing
that folder.
"""

import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

from django.conf import settings

from inference.assets import manifest as manifests
from inference.assets.publishing import publish
from inference.errors import AvatarError


def job_folder(job_id: uuid.UUID) -> Path:
    """Where a preparation writes; it need not exist."""
    return _jobs_dir() / job_id.hex


def is_usable(folder: str) -> bool:
    """Whether people's own asset folder ``folder`` is there and whole."""
    if not folder:
        return False
    try:
        manifests.read(Path(settings.AVATARS_DIR) / folder)
    except AvatarError:
        return False
    return True


def ignores_case() -> bool:
    """Whether names that differ in case alone are one folder where avatars are kept."""
    jobs = _jobs_dir()
    jobs.mkdir(parents=True, exist_ok=True)
    return jobs.with_name(jobs.name.upper()).exists()


def names() -> set[str]:
    """Of all folders in which avatars are kept."""
    return {path.name for path in Path(settings.AVATARS_DIR).iterdir()}


def put_in_place(made: Path, folder: str) -> None:
    """Let ``made``, which is in a job's folder, become the asset folder ``folder``.

    The one that was there before is in the job's folder then.
    """
    former = made.with_name(f"{made.name}.before")
    publish(made, Path(settings.AVATARS_DIR) / folder, former=former)


def remove(folder: str) -> None:
    """Remove an asset folder; it vanishes at once, not file by file."""
    if not folder:
        return
    grave = _jobs_dir() / uuid.uuid4().hex
    grave.parent.mkdir(parents=True, exist_ok=True)
    try:
        (Path(settings.AVATARS_DIR) / folder).rename(grave)
    except FileNotFoundError:
        return
    shutil.rmtree(grave, ignore_errors=True)


def forget_job(job_id: uuid.UUID) -> None:
    """Remove what a preparation left."""
    shutil.rmtree(job_folder(job_id), ignore_errors=True)


def forget_other_jobs(job_ids: Iterable[uuid.UUID | None]) -> None:
    """Remove what preparations left that nobody waits for any more.

    Args:
        job_ids: Of the jobs in the database. They are read after the folders are listed, so the
            folder of a job that begins in between is not taken for one of these.
    """
    if not _jobs_dir().is_dir():
        return
    folders = list(_jobs_dir().iterdir())
    kept = {job_id.hex for job_id in job_ids if job_id is not None}
    for folder in folders:
        if folder.name not in kept:
            shutil.rmtree(folder, ignore_errors=True)


def _jobs_dir() -> Path:
    return Path(settings.AVATARS_DIR) / ".jobs"
