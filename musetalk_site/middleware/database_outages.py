"""Pages during an outage of the database: a short answer, and one line of the log."""

import logging
from collections.abc import Callable
from http import HTTPStatus

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from inference.reachability import in_one_line

log = logging.getLogger(__name__)


class DatabaseOutagesMiddleware:
    """Answers with 503 what a page could not do without the database; the API does so by itself."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Return the answer to a view's exception; None: it is another one."""
        if not isinstance(error, OperationalError | InterfaceError):
            return None
        log.error("%s: the database: %s", request.path, in_one_line(error))
        return HttpResponse(render_to_string("503.html"), status=HTTPStatus.SERVICE_UNAVAILABLE)
