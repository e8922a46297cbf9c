"""Only a few log-ins wait at a time for their password to be checked, which is slow on purpose."""

import threading
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import reverse

MAX_WAITING = 8
RETRY_AFTER_S = 5


def few_log_ins_middleware(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Answer log-ins beyond `MAX_WAITING` with 503."""
    free = threading.BoundedSemaphore(MAX_WAITING)

    def respond(request: HttpRequest) -> HttpResponse:
        if request.method != "POST" or request.path != reverse("admin:login"):
            return get_response(request)
        if not free.acquire(blocking=False):
            return HttpResponse(
                "Too many log-ins at once; try again in a few seconds.\n",
                status=503,
                content_type="text/plain",
                headers={"Retry-After": str(RETRY_AFTER_S)},
            )
        try:
            return get_response(request)
        finally:
            free.release()

    return respond
