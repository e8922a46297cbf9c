"""ReDoc's program, without the logo that it fetches from its maker's server.

There is no option for it, and the pages of this server show nothing from elsewhere: browsers would
block it and complain.
"""

from functools import cache
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import condition

LOGO_URL = "https://cdn.redoc.ly/redoc/logo-mini.svg"
_BUNDLE = "drf_spectacular_sidecar/redoc/bundles/redoc.standalone.js"


@cache_control(max_age=3_600)
@condition(etag_func=lambda request: f'"{settings.VERSION}"')
def program(request: HttpRequest) -> HttpResponse:
    """Return the program; its logo is this server's icon."""
    return HttpResponse(_program(), content_type="text/javascript; charset=utf-8")


@cache
def _program() -> bytes:
    path = finders.find(_BUNDLE)
    assert isinstance(path, str), "it comes with the requirements"
    return Path(path).read_bytes().replace(LOGO_URL.encode(), settings.ICON_URL.encode())
