"""Changing avatars: every write to their rows and folders goes through here.

A preparation may be taken by several supervisors, outlive its row, or die with its machine. So each
step is one conditional UPDATE that says what it expects to find, and who does not find it stops.
"""

import uuid
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from avatars_app import asset_folders
from avatars_app.models import Avatar
from avatars_app.uploads import storage
from avatars_app.webhooks.events import Event, record_events
from inference.assets import manifest as manifests

STALE_AFTER = timedelta(seconds=30)
MAX_ATTEMPTS = 3
MAX_OPEN_QUEUE = 5
"""Preparations that may wait when strangers add to them."""


class PreparationRefused(Exception):
    """An avatar is not to be made now; each way in which it is refused is a class."""


class AvatarBusy(PreparationRefused):
    """It is being prepared already."""


class AvatarDisabled(PreparationRefused):
    """It is not to be shown to anybody; enable it first."""


class AvatarTaken(PreparationRefused):
    """The name belongs to an avatar that the sender may not replace."""


class QueueFull(PreparationRefused):
    """Too many preparations wait already."""


class TooManyPreparations(PreparationRefused):
    """Its sender has as many preparations that wait or run as one may have."""


class PreparationLost(Exception):
    """The row is gone or says another job: what this one makes is not wanted any more."""


def avatar_receive(
    *,
    user_id: str,
    kind: storage.Kind,
    files: Mapping[str, IO[bytes]],
    may_replace: bool = True,
    requested_by: str = "",
) -> Avatar:
    """Keep an upload, and queue an avatar to be made of it.

    Without ``may_replace`` the name must be free, and few preparations may wait. ``requested_by``
    is the subject that sent it, if that is known. Raises as `avatar_queue`, AvatarTaken, QueueFull,
    or OSError if it cannot be stored; then nothing of it is left.
    """
    if not may_replace:
        _check_stranger(user_id)
    upload = storage.keep(kind, files)
    try:
        return avatar_queue(user_id=user_id, upload=upload, requested_by=requested_by)
    except BaseException:
        storage.forget(upload)
        raise


def _check_stranger(user_id: str) -> None:
    is_shipped = (settings.SHIPPED_AVATARS_DIR / user_id).exists()
    is_prepared = asset_folders.is_usable(user_id)
    if is_shipped or is_prepared or Avatar.objects.filter(user_id=user_id).exists():
        raise AvatarTaken(user_id)
    if Avatar.objects.filter(status=Avatar.Status.QUEUED).count() >= MAX_OPEN_QUEUE:
        raise QueueFull(user_id)


def check_folder(user_id: str) -> None:
    """Raise AvatarTaken if another avatar has that folder, as far as the file system can tell."""
    if not asset_folders.ignores_case():
        return
    rows = Avatar.objects.filter(user_id__iexact=user_id)
    names = {*rows.values_list("user_id", flat=True), *asset_folders.names()}
    if any(name.lower() == user_id.lower() and name != user_id for name in names):
        raise AvatarTaken(user_id)


def _check_preparations(requested_by: str) -> None:
    limit = settings.MAX_PREPARATIONS_PER_SUBJECT
    if not limit or not requested_by:
        return
    own = Avatar.objects.filter(requested_by=requested_by, status__in=Avatar.IN_PROGRESS)
    if own.count() >= limit:
        raise TooManyPreparations(
            f"So many of your preparations may wait or run: {limit}; try again when one is over."
        )


def avatar_queue(*, user_id: str, upload: str, requested_by: str = "") -> Avatar:
    """Have an avatar made of an upload.

    One that exists stays to be seen until the new one takes its place. Raises AvatarBusy if one is
    being made for this user, AvatarDisabled if it has one that is disabled, AvatarTaken if its
    folder would be another one's, TooManyPreparations if the subject ``requested_by`` has as many
    as it may have.
    """
    check_folder(user_id)
    fields = {
        "status": Avatar.Status.QUEUED,
        "stage": "",
        "percent": 0,
        "error": "",
        "error_reason": "",
        "upload": upload,
        "requested_by": requested_by,
        "job_id": uuid.uuid4(),
        "attempts": 0,
        "started_at": None,
        "heartbeat_at": None,
    }
    try:
        with transaction.atomic():
            _check_preparations(requested_by)
            folder = user_id if asset_folders.is_usable(user_id) else ""
            return Avatar.objects.create(user_id=user_id, folder=folder, **fields)
    except IntegrityError:
        pass  # there is a row already
    return _queue_again(user_id, fields)


def _queue_again(user_id: str, fields: Mapping[str, Any]) -> Avatar:
    """Give the row of a user another upload, unless something speaks against it."""
    with transaction.atomic():
        avatar = Avatar.objects.select_for_update().filter(user_id=user_id).first()
        if avatar is None or avatar.is_in_progress:
            raise AvatarBusy(user_id)
        if avatar.status == Avatar.Status.DISABLED:
            raise AvatarDisabled(user_id)
        replaced = avatar.upload
        for name, value in fields.items():
            setattr(avatar, name, value)
        avatar.save()
    if replaced != avatar.upload:
        storage.forget(replaced)
    return avatar


def avatar_prepare_again(*, avatar: Avatar) -> Avatar:
    """Prepare it again from its upload; raises as `avatar_queue`, or UploadGone."""
    storage.source(avatar.upload)
    return avatar_queue(
        user_id=avatar.user_id, upload=avatar.upload, requested_by=avatar.requested_by
    )


def avatar_adopt(*, user_id: str) -> Avatar:
    """Know of an asset folder that was made by hand; AvatarError if it cannot be used.

    One that is disabled stays so, and an upload that waits or is prepared is not given up for it.
    """
    version = manifests.read(Path(settings.AVATARS_DIR) / user_id).version
    with transaction.atomic():
        avatar, created = Avatar.objects.select_for_update().get_or_create(user_id=user_id)
        avatar.folder, avatar.version = user_id, version
        if created or not avatar.is_in_progress:
            avatar.percent = 100
            avatar.stage = avatar.error = avatar.error_reason = ""
            if avatar.status != Avatar.Status.DISABLED:
                avatar.status = Avatar.Status.READY
        avatar.save()
    return avatar


def avatar_cancel(*, avatar: Avatar) -> bool:
    """Stop its preparation; False if none was under way.

    What was there before is there again; an avatar that never was is gone with its upload.
    """
    in_progress = Avatar.objects.filter(pk=avatar.pk, status__in=Avatar.IN_PROGRESS)
    if asset_folders.is_usable(avatar.folder):
        return _write(
            in_progress,
            status=Avatar.Status.READY,
            job_id=None,
            stage="",
            percent=100,
            error="",
            error_reason="",
        )
    deleted, _ = in_progress.delete()
    if deleted:
        storage.forget(avatar.upload)
    return bool(deleted)


def avatar_remove(*, avatar: Avatar) -> None:
    """Remove it with all that was made of it and sent for it.

    OSError if its folder cannot be moved away: then all is as before.
    """
    with transaction.atomic():
        # As it is now: a preparation may have ended since the caller read the row.
        row = Avatar.objects.select_for_update().filter(pk=avatar.pk).first()
        if row is None:
            return
        row.delete()
        # A folder without a row is an avatar that everyone is shown.
        asset_folders.remove(row.folder)
    storage.forget(row.upload)


def avatar_disable(*, avatar: Avatar) -> bool:
    """Show it to nobody any more, but keep it; False unless it was ready."""
    ready = Avatar.objects.filter(pk=avatar.pk, status=Avatar.Status.READY)
    return _write(ready, status=Avatar.Status.DISABLED, is_default=False)


def avatar_enable(*, avatar: Avatar) -> bool:
    """Do the opposite of `avatar_disable`."""
    disabled = Avatar.objects.filter(pk=avatar.pk, status=Avatar.Status.DISABLED)
    return _write(disabled, status=Avatar.Status.READY)


@transaction.atomic
def avatar_make_default(*, avatar: Avatar) -> bool:
    """Show it to users who have none of their own; False unless it is ready."""
    ready = Avatar.objects.filter(pk=avatar.pk, status=Avatar.Status.READY)
    if not ready.exists():
        return False
    Avatar.objects.filter(is_default=True).update(is_default=False)
    return _write(ready, is_default=True)


def preparation_take() -> Avatar | None:
    """Take the oldest job that waits, or whose preparation died; None if there is none.

    A job that died `MAX_ATTEMPTS` times is given up.
    """
    # By the database's clock: those of the machines need not agree.
    stale = Q(status=Avatar.Status.PREPARING, heartbeat_at__lt=Now() - STALE_AFTER)
    waiting = Avatar.objects.filter(Q(status=Avatar.Status.QUEUED) | stale)
    for avatar in waiting.order_by("updated_at"):
        mine = waiting.filter(pk=avatar.pk, job_id=avatar.job_id, attempts=avatar.attempts)
        if avatar.attempts >= MAX_ATTEMPTS:
            _give_up(avatar, mine)
        # A new id, so that a child that was only slow, not dead, finds that it was replaced.
        elif _write(
            mine,
            status=Avatar.Status.PREPARING,
            job_id=uuid.uuid4(),
            attempts=F("attempts") + 1,
            started_at=Now(),
            heartbeat_at=Now(),
            stage="",
            percent=0,
        ):
            _forget_attempt(avatar)
            avatar.refresh_from_db()
            return avatar
    return None


def _forget_attempt(avatar: Avatar) -> None:
    """Remove what an attempt left that died; one that was only slow stumbles over that and ends."""
    if avatar.job_id is not None:
        asset_folders.forget_job(avatar.job_id)


def _give_up(avatar: Avatar, waiting: QuerySet[Avatar]) -> None:
    if _fail(
        avatar,
        waiting,
        "died",
        f"The preparation died {MAX_ATTEMPTS} times, most likely for want of memory:"
        " send a shorter or smaller video.",
    ):
        _forget_attempt(avatar)


def preparation_stage(*, job_id: uuid.UUID) -> str | None:
    """Return what this job does now; None if it is no longer its avatar's, "" if it is finished."""
    return Avatar.objects.filter(job_id=job_id).values_list("stage", flat=True).first()


def preparation_give_back(*, job_id: uuid.UUID, has_failed: bool) -> bool:
    """Release the job for another process; False if nobody waits for it any more.

    ``has_failed``: it died, which counts as an attempt; else it was only interrupted.
    """
    attempts = F("attempts") if has_failed else F("attempts") - 1
    return _write(_running(job_id), status=Avatar.Status.QUEUED, attempts=attempts)


def preparation_rests(*, job_id: uuid.UUID) -> bool:
    """Keep a job that does nothing just now from being taken for one that died.

    Returns:
        False if nobody waits for it any more.
    """
    return _write(_running(job_id), heartbeat_at=Now())


def preparation_note(*, job_id: uuid.UUID, stage: str, percent: int) -> None:
    """How far it is, and that it lives; PreparationLost if nobody waits for it any more."""
    if not _write(_running(job_id), stage=stage, percent=percent, heartbeat_at=Now()):
        raise PreparationLost(str(job_id))


def preparation_finish(*, job_id: uuid.UUID, made: Path) -> None:
    """Put the asset folder ``made`` in its place and show it.

    Raises PreparationLost if nobody waits for it any more, AvatarError if it cannot be used, or
    OSError if it cannot be moved: then all is as before.
    """
    version = manifests.read(made).version
    with transaction.atomic():
        # The row is ours from here to the end: nobody can cancel in between.
        avatar = Avatar.objects.select_for_update().filter(job_id=job_id).first()
        if avatar is None or not _write(
            _running(job_id),
            status=Avatar.Status.READY,
            folder=avatar.user_id,
            version=version,
            stage="",
            percent=100,
            error="",
            error_reason="",
            heartbeat_at=Now(),
        ):
            raise PreparationLost(str(job_id))
        record_events(
            [Event("avatar.ready", job_id, {"user_id": avatar.user_id, "version": version})]
        )
        asset_folders.put_in_place(made, avatar.user_id)


def preparation_fail(*, job_id: uuid.UUID, reason: str, error: str) -> None:
    """Record that it cannot be made, and why. An avatar that was there before stays to be seen."""
    avatar = _running(job_id).first()
    if avatar is None or not _fail(avatar, _running(job_id), reason, error):
        raise PreparationLost(str(job_id))


def _fail(avatar: Avatar, rows: QuerySet[Avatar], reason: str, error: str) -> bool:
    is_usable = asset_folders.is_usable(avatar.folder)
    status = Avatar.Status.READY if is_usable else Avatar.Status.FAILED
    with transaction.atomic():
        if not _write(rows, status=status, stage="", error=error, error_reason=reason):
            return False
        assert avatar.job_id is not None, "it was taken"
        data = {"user_id": avatar.user_id, "reason": reason, "error": error}
        record_events([Event("avatar.failed", avatar.job_id, data)])
    return True


def _running(job_id: uuid.UUID) -> QuerySet[Avatar]:
    return Avatar.objects.filter(job_id=job_id, status=Avatar.Status.PREPARING)


def _write(rows: QuerySet[Avatar], **fields: Any) -> bool:
    """One conditional UPDATE; whether it found its row."""
    return bool(rows.update(updated_at=timezone.now(), **fields))
