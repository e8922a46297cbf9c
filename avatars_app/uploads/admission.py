"""Which large request bodies are read at all, decided by the request's headers.

The server stores a body before a view is called. So that strangers cannot fill its disk, a body
beyond `SMALL_BODY_BYTES` is read only where uploads are taken, and only from those who may upload:
this machine, anybody if OPEN_UPLOADS is set, and those whose login or credential allows it.
"""

from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from importlib import import_module

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db import DatabaseError
from django.http import HttpRequest

from avatars_app.access.authentication import TokenUser, principal_of
from avatars_app.access.principal import AccessDenied, CredentialUnchecked
from avatars_app.permissions import MayChangeAvatars, is_local
from avatars_app.uploads.body_limits import SMALL_BODY_BYTES, BodyRefused

_RIGHTS = ("add_avatar", "change_avatar")
_UPLOAD_PATHS = ("/prepare_avatar/", "/upload_video", "/admin/avatars_app/")


def check_large_body(
    method: str, path: str, headers: Mapping[str, str], peer: str, http_version: str
) -> Callable[[], None] | None:
    """Decide on a body of more than `SMALL_BODY_BYTES`.

    Args:
        method: Of the request, in capitals.
        path: With or without a query.
        headers: By lower-case name.
        peer: Address of the connection.
        http_version: As in ``1.1``.

    Returns:
        What is still to be called, in a thread, since it asks the database: it raises BodyRefused,
        too. None: the body is read.

    Raises:
        BodyRefused: It is not read, and why.
    """
    if method != "POST" or not path.startswith(_UPLOAD_PATHS):
        raise BodyRefused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"A body may have {SMALL_BODY_BYTES} bytes here; videos go to POST /prepare_avatar/.",
        )
    if _is_local(headers, peer, http_version) or (settings.OPEN_UPLOADS and not settings.AUTH):
        return None
    kind, _, credential = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return partial(_check, partial(_user_of_credential, credential.strip()))
    if (session := _session_of(headers.get("cookie", ""))) is not None:
        return partial(_check, partial(_user_of_session, session))
    raise _forbidden()


def _check(look_up: Callable[[], AbstractBaseUser | AnonymousUser]) -> None:
    """Raise BodyRefused unless this user may upload; the view decides about what."""
    try:
        user = look_up()
    except AccessDenied as denied:
        raise BodyRefused(HTTPStatus.UNAUTHORIZED, str(denied)) from None
    except CredentialUnchecked as unchecked:
        raise BodyRefused(HTTPStatus.SERVICE_UNAVAILABLE, str(unchecked)) from None
    except DatabaseError:
        raise BodyRefused(
            HTTPStatus.SERVICE_UNAVAILABLE, "The database cannot be reached; try again later."
        ) from None
    if settings.OPEN_UPLOADS and user.is_authenticated:
        return
    if not (user.is_staff and any(user.has_perm(f"avatars_app.{right}") for right in _RIGHTS)):  # type: ignore[union-attr]  # ours have both
        raise _forbidden()


def _user_of_credential(credential: str) -> AbstractBaseUser | AnonymousUser:
    return TokenUser(principal_of(credential))


def _user_of_session(key: str) -> AbstractBaseUser | AnonymousUser:
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    return get_user(request)


def _session_of(cookies: str) -> str | None:
    try:
        found = SimpleCookie(cookies).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        return None
    return None if found is None else found.value


def _forbidden() -> BodyRefused:
    return BodyRefused(HTTPStatus.FORBIDDEN, MayChangeAvatars.message)


def _is_local(headers: Mapping[str, str], peer: str, http_version: str) -> bool:
    request = HttpRequest()
    request.META = {
        f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()
    }
    request.META["REMOTE_ADDR"] = peer
    return http_version != "1.0" and is_local(request)
