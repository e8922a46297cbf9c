"""Cookies that came over HTTPS stay there.

Django's settings mark cookies as secure always or never. Here the same server may be asked over
HTTPS, through a proxy, and in plain HTTP on its own machine; each answer knows which it is.
"""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse


def secure_cookies_middleware(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Mark the cookies of answers over HTTPS as secure."""

    def respond(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if request.is_secure():
            for cookie in response.cookies.values():
                cookie["secure"] = True
        return response

    return respond
