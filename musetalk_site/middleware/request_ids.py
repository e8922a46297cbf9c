"""An id for each HTTP request, in its answer and in the lines of the log that it causes."""

import uuid
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse

HEADER = "X-Request-ID"


def request_ids_middleware(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Make Django middleware that gives each request an id of its own."""

    def middleware(request: HttpRequest) -> HttpResponse:
        request_id = uuid.uuid4().hex[:12]
        with structlog.contextvars.bound_contextvars(request=request_id):
            response = get_response(request)
        response[HEADER] = request_id
        return response

    return middleware
