"""Reading avatars: which one a user sees, and where its assets are."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from django.conf import settings

from avatars_app.models import Avatar
from inference.assets.library import AvatarLibrary
from inference.assets.manifest import STATES, ClipState, Manifest
from inference.errors import AvatarError, AvatarInvalid, AvatarNotFound

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AvatarRef:
    """An avatar that can be shown: what a claim names, and what a client receives."""

    folder: str
    version: str
    clips: dict[ClipState, tuple[str, ...]]
    titles: dict[str, str]
    """What clips show, for people; of those that have one."""
    codec: str
    width: int
    height: int


class AvatarNotReady(Exception):
    """No face can be shown for this user: its own is not ready, or there is none at all."""

    def __init__(self, reason: Literal["preparing", "failed", "none"], percent: int = 0) -> None:
        super().__init__(f"no avatar to show: {reason}")
        self.reason = reason
        self.percent = percent


def library() -> AvatarLibrary:
    """Return the asset folders of this server."""
    return AvatarLibrary(settings.AVATARS_DIR, settings.SHIPPED_AVATARS_DIR)


def asset_path(folder: str) -> Path:
    """Where the asset folder ``folder`` is; AvatarNotFound if there is none."""
    return library().find(folder)


def avatar_for(user_id: str) -> AvatarRef:
    """Return the avatar that ``user_id`` sees: its own, else the default.

    A folder under AVATARS_DIR that has no row counts as ready. A user whose own avatar exists
    but cannot be shown is never given another's face: AvatarNotReady, as when there is none at all.
    """
    own = Avatar.objects.filter(user_id=user_id).first()
    if own is not None:
        return _of_row(own)
    try:
        return _of_folder(user_id)
    except AvatarNotFound:
        return _default()


@dataclass(frozen=True, slots=True)
class ShownAvatar:
    """An avatar as users see it, whether it has a row, a folder, or both."""

    user_id: str
    status: str
    is_default: bool
    is_shipped: bool
    path: Path | None
    """Its asset folder, if it has one that can be used."""
    manifest: Manifest | None


def shown_avatars(*, with_disabled: bool) -> list[ShownAvatar]:
    """All there are, by name."""
    rows = {row.user_id: row for row in Avatar.objects.all()}
    names = {*rows, *library().names()}
    found = (_shown(name, rows.get(name), _default_name()) for name in sorted(names))
    return [shown for shown in found if with_disabled or shown.status != Avatar.Status.DISABLED]


def shown_avatar(user_id: str, *, with_disabled: bool) -> ShownAvatar | None:
    """Return this user's own, or a shipped one of that name; None if there is none."""
    row = Avatar.objects.filter(user_id=user_id).first()
    shown = _shown(user_id, row, _default_name())
    if (row is None and shown.manifest is None) or (
        shown.status == Avatar.Status.DISABLED and not with_disabled
    ):
        return None
    return shown


def manifest_of(folder: str) -> Manifest | None:
    """None if the folder is not there or cannot be used."""
    try:
        return library().manifest(folder)
    except AvatarError:
        return None


def _shown(name: str, row: Avatar | None, default: str) -> ShownAvatar:
    folder = name if row is None else row.folder
    manifest = manifest_of(folder)
    path = None if manifest is None else asset_path(folder)
    status = Avatar.Status.READY if row is None else Avatar.Status(row.status)
    if status == Avatar.Status.READY and manifest is None:
        status = Avatar.Status.FAILED  # its files are gone or damaged: no stream can show it
    return ShownAvatar(
        user_id=name,
        status=status,
        is_default=name == default,
        is_shipped=path is not None and path.parent == settings.SHIPPED_AVATARS_DIR,
        path=path,
        manifest=manifest,
    )


def _default_name() -> str:
    chosen = Avatar.objects.filter(is_default=True).first()
    if chosen is not None and chosen.has_pictures:
        return chosen.user_id
    return str(settings.DEFAULT_AVATAR)


def _default() -> AvatarRef:
    chosen = Avatar.objects.filter(is_default=True).first()
    if chosen is not None and chosen.has_pictures:
        return _of_row(chosen)
    if not settings.DEFAULT_AVATAR:
        raise AvatarNotReady("none")
    try:
        return _of_folder(settings.DEFAULT_AVATAR)
    except AvatarNotFound as error:
        log.error("DEFAULT_AVATAR cannot be shown: %s", error)
        raise AvatarNotReady("none") from None


def _of_row(avatar: Avatar) -> AvatarRef:
    if avatar.has_pictures:
        try:
            return _of_folder(avatar.folder)
        except AvatarNotFound as error:
            log.error("avatar %s is %s, but %s", avatar.user_id, avatar.status, error)
            raise AvatarNotReady("failed") from None
    if avatar.status == Avatar.Status.DISABLED:
        raise AvatarNotReady("none")
    if avatar.status == Avatar.Status.FAILED:
        raise AvatarNotReady("failed", avatar.percent)
    raise AvatarNotReady("preparing", avatar.percent)


def _of_folder(folder: str) -> AvatarRef:
    try:
        manifest = library().manifest(folder)
    except AvatarInvalid as error:
        log.error("avatar %s cannot be shown: %s", folder, error)
        raise AvatarNotReady("failed") from None
    return AvatarRef(
        folder=folder,
        version=manifest.version,
        clips=_clips_by_state(manifest),
        titles={clip.name: clip.title for clip in manifest.clips if clip.title},
        codec=manifest.profile.codec,
        width=manifest.profile.width,
        height=manifest.profile.height,
    )


def _clips_by_state(manifest: Manifest) -> dict[ClipState, tuple[str, ...]]:
    return {
        state: tuple(clip.name for clip in manifest.clips if clip.state == state)
        for state in STATES
    }
