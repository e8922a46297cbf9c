"""Who may change avatars: this machine, and staff who are logged in and have the right to.

"This machine" is told by the address of the connection. A proxy on this machine connects from here
for everybody, and a page from elsewhere can make the browser of somebody who sits here send
requests. So neither what was forwarded nor what a foreign page sent counts as coming from here.
"""

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

_FORWARDED = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_VIA")


class MayChangeAvatars(BasePermission):
    message = (
        "Only this machine and staff who are logged in may change avatars; the setting"
        " OPEN_UPLOADS=true lets everybody."
    )

    def has_permission(self, request: Request, view: Any) -> bool:
        if request.method in SAFE_METHODS or settings.OPEN_UPLOADS or is_local(request):
            return True
        right = "delete_avatar" if request.method == "DELETE" else "add_avatar"
        user = request.user
        return bool(user.is_staff and user.has_perm(f"avatars_app.{right}"))


def is_local(request: Request | HttpRequest) -> bool:
    """Whether somebody on this machine sent this, knowingly."""
    if any(name in request.META for name in _FORWARDED):
        return False
    if not _is_loopback(request.META.get("REMOTE_ADDR", "")):
        return False
    origin = request.META.get("HTTP_ORIGIN")
    if origin is None:
        return request.META.get("HTTP_SEC_FETCH_SITE", "none") in {"none", "same-origin"}
    # A name that somebody else controls may point here: then page and server share an origin.
    host = urlsplit(origin).hostname or ""
    is_own = urlsplit(origin).netloc == request.META.get("HTTP_HOST")
    return is_own and (host == "localhost" or _is_loopback(host))


def _is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)
