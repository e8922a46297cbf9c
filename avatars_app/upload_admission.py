"""Which large request bodies are read at all, decided by the request's headers.

The server stores a body before a view is called. So that strangers cannot fill its disk, a body
beyond `SMALL_BODY_BYTES` is read only where uploads are taken, and only from those who may upload:
this machine, anybody if OPEN_UPLOADS is set, and those who bring a login cookie or a credential;
the view decides whether these may upload.
"""

from collections.abc import Mapping
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie

from django.conf import settings
from django.http import HttpRequest

from avatars_app.permissions import MayChangeAvatars, is_local

SMALL_BODY_BYTES = 64 * 1024
"""Every path takes as much: forms, and JSON."""

_UPLOAD_PATHS = ("/prepare_avatar/", "/upload_video", "/admin/avatars_app/")


class BodyRefused(Exception):
    """A body that is not read; ``status`` is the answer's."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def check_large_body(
    method: str, path: str, headers: Mapping[str, str], peer: str, http_version: str
) -> None:
    """Decide on a body of more than `SMALL_BODY_BYTES`.

    Args:
        method: Of the request, in capitals.
        path: With or without a query.
        headers: By lower-case name.
        peer: Address of the connection.
        http_version: As in ``1.1``.

    Raises:
        BodyRefused: It is not read, and why.
    """
    if method != "POST" or not path.startswith(_UPLOAD_PATHS):
        raise BodyRefused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"A body may have {SMALL_BODY_BYTES} bytes here; videos go to POST /prepare_avatar/.",
        )
    if settings.OPEN_UPLOADS or _has_credential(headers) or _is_local(headers, peer, http_version):
        return
    raise BodyRefused(HTTPStatus.FORBIDDEN, MayChangeAvatars.message)


def _has_credential(headers: Mapping[str, str]) -> bool:
    if headers.get("authorization", "").lower().startswith("bearer "):
        return True
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return False
    return settings.SESSION_COOKIE_NAME in cookies


def _is_local(headers: Mapping[str, str], peer: str, http_version: str) -> bool:
    request = HttpRequest()
    request.META = {
        f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()
    }
    request.META["REMOTE_ADDR"] = peer
    return http_version != "1.0" and is_local(request)
