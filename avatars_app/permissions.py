"""Who may change avatars: this machine, and staff who are logged in and have the right to.

OPEN_UPLOADS lets strangers make avatars under names that are free; replacing and deleting is left
to those above.

"This machine" is known by the address of the connection. But a proxy on this machine connects from
here for everybody, and a page from elsewhere can make the browser of a local user send
requests. So what was forwarded does not count as coming from here, nor does what a foreign page
sent, nor what was asked of this server by a name that is not this machine's own. Only a page of an
origin that CORS_ORIGINS names, which ``*`` does not, is as good as one of ours.
"""

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

_FORWARDED = ("HTTP_FORWARDED", "HTTP_X_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")
_PROXIES_VERSION = "1.0"
"""Of HTTP. Browsers and curl left it long ago; nginx, unless told otherwise, speaks it to servers,
and then does not say for whom it asks."""


class MayRead(BasePermission):
    """Everybody, unless AUTH is on: then this machine and authenticated callers."""

    message = "Log in, or send an API key or a token as Authorization: Bearer."

    def has_permission(self, request: Request, view: Any) -> bool:
        return not settings.AUTH or request.user.is_authenticated or is_local(request)


class MayChangeAvatars(MayRead):
    message = (
        "Only this machine and staff who are logged in may change avatars; the setting"
        " OPEN_UPLOADS=true lets everybody make new ones."
    )

    def has_permission(self, request: Request, view: Any) -> bool:
        if request.method in SAFE_METHODS:
            return super().has_permission(request, view)
        if may_replace(request):
            return True
        is_open = settings.OPEN_UPLOADS and request.method != "DELETE"
        return is_open and super().has_permission(request, view) and _may_call(request)


def may_replace(request: Request) -> bool:
    """Whether the request may change or delete avatars that exist."""
    if is_local(request):
        return True
    right = "delete_avatar" if request.method == "DELETE" else "add_avatar"
    user = request.user
    return bool(user.is_staff and user.has_perm(f"avatars_app.{right}"))


def is_local(request: Request | HttpRequest) -> bool:
    """Whether a user of this machine sent this, knowingly."""
    if _is_forwarded(request) or not is_loopback(request.META.get("REMOTE_ADDR", "")):
        return False
    # A name that another party controls may point here: then their page and this server share an
    # origin, and the browser says so.
    host = _name_in(request.META.get("HTTP_HOST", "localhost"))
    if not (host == "localhost" or is_loopback(host)):
        return False
    origin = request.META.get("HTTP_ORIGIN")
    if origin is None:
        return request.META.get("HTTP_SEC_FETCH_SITE", "none") in {"none", "same-origin"}
    return _is_own(origin, request) or origin in settings.CORS_ORIGINS


def _may_call(request: Request) -> bool:
    """Whether no page sent this, or one that may use the API."""
    origin = request.META.get("HTTP_ORIGIN")
    allowed = settings.CORS_ORIGINS
    return origin is None or "*" in allowed or origin in allowed or _is_own(origin, request)


def _is_own(origin: str, request: Request | HttpRequest) -> bool:
    return origin.partition("://")[2] == request.META.get("HTTP_HOST")


def _is_forwarded(request: Request | HttpRequest) -> bool:
    scope = getattr(request, "scope", {})
    return scope.get("http_version") == _PROXIES_VERSION or any(
        name.startswith(_FORWARDED) for name in request.META
    )


def _name_in(host: str) -> str:
    """Return a Host header without its port; "" if it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)


def is_for_this_machine_alone(host: str) -> bool:
    """Whether nobody else reaches a server that listens on ``host``: no proxy lets them in."""
    return is_loopback(host) and not settings.TRUSTED_PROXIES
