"""Settings with which a server would start and be of no use: they stop the start with a sentence.

What a single value may be is said in `environment`. Here is what takes a look at the disk and the
database: that avatars can be stored, that there is one to show, that a key can be read.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection

from avatars_app import selectors
from avatars_app.access.jwt_tokens import public_key
from avatars_app.models import Avatar
from inference.errors import AvatarInvalid, AvatarNotFound
from musetalk_site.configuration.environment import CannotStart, SettingInvalid
from musetalk_site.telemetry.spans import missing_packages

KEY_SOURCES = ("AUTH_JWKS_URL", "AUTH_PUBLIC_KEY", "AUTH_SECRET")


class CheckedCommand(BaseCommand):
    """A command that serves: it does not start with settings that cannot work.

    With ``--skip-checks`` another process has looked.
    """

    def check(self, *args: object, **kwargs: object) -> None:
        """Look at the settings, then at what Django checks.

        Raises:
            CannotStart: A setting cannot work; says which, and what can.
        """
        check_avatars_dir(settings.AVATARS_DIR)
        check_default_avatar(settings.DEFAULT_AVATAR)
        check_keys()
        check_webhooks()
        check_spans()
        super().check(*args, **kwargs)  # type: ignore[arg-type]  # passed on as it came


def check_avatars_dir(folder: Path) -> None:
    """Raise CannotStart unless avatars can be stored in the folder, which need not exist yet."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir():
        raise SettingInvalid("AVATARS_DIR", str(folder), f"a folder: {existing} is a file")
    try:
        with TemporaryDirectory(prefix=".check-", dir=existing):
            pass  # what may be written is known by writing: the rights of a file system say less
    except OSError:
        raise SettingInvalid(
            "AVATARS_DIR", str(folder), f"a folder that can be written: {existing} cannot"
        ) from None


def check_default_avatar(name: str) -> None:
    """Raise CannotStart if users without an avatar would see nobody, though one is named.

    Staff may have chosen another default in the admin, or the avatar may be in preparation.
    """
    if not name:
        return
    try:
        selectors.library().manifest(name)
    except AvatarInvalid as error:
        raise CannotStart(f"DEFAULT_AVATAR is {name!r}, which cannot be shown: {error}.") from None
    except AvatarNotFound:
        if not _is_known(name):
            raise SettingInvalid(
                "DEFAULT_AVATAR",
                name,
                f"an avatar that is there ({', '.join(sorted(selectors.library().names()))}) or "
                "none: `.venv/bin/python manage.py prepare_avatar` makes one",
            ) from None


def _is_known(name: str) -> bool:
    """Whether the database has another default, or this avatar; unknown counts as yes."""
    try:
        rows = Avatar.objects.filter(is_default=True) | Avatar.objects.filter(user_id=name)
        return rows.exists()
    except DatabaseError:
        return True  # what is wrong with the database is said elsewhere
    finally:
        connection.close()


def check_keys() -> None:
    """Raise CannotStart if identity providers' tokens could never be checked as configured."""
    given = [name for name in KEY_SOURCES if getattr(settings, name)]
    if len(given) > 1:
        raise CannotStart(
            f"{' and '.join(given)} are set, but one of them checks tokens: empty the rest."
        )
    if not settings.AUTH_PUBLIC_KEY:
        return
    path = Path(settings.AUTH_PUBLIC_KEY)
    try:
        public_key(path)
    except OSError as error:
        raise SettingInvalid(
            "AUTH_PUBLIC_KEY", str(path), f"a file that can be read ({error.strerror})"
        ) from None
    except ValueError:
        raise SettingInvalid(
            "AUTH_PUBLIC_KEY", str(path), "a public key in PEM, for RS256 or ES256"
        ) from None


def check_spans() -> None:
    """Raise CannotStart if spans are wanted and cannot be made."""
    missing = missing_packages() if settings.TRACES_URL else []
    if missing:
        raise CannotStart(
            f"TRACES_URL is set, but {' and '.join(missing)} cannot be imported: "
            "`.venv/bin/pip install -r requirements-tracing.txt`, or empty it."
        )


def check_webhooks() -> None:
    """Raise CannotStart if webhooks would go out without a signature."""
    if settings.WEBHOOK_URL and not settings.WEBHOOK_SECRET:
        raise CannotStart(
            "WEBHOOK_URL is set and WEBHOOK_SECRET is not, but what is sent must be signed: set it "
            "to whsec_ and 24 to 64 bytes in base64."
        )
