"""`/livez` and `/readyz`: what a supervisor of containers asks, answered by the event loop itself.

They stand before Django, so that neither the database nor a busy thread has a say: that this
process answers at all is what `/livez` says. `/readyz` says whether streams should be sent here; it
reads what is known in memory.
"""

from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from streaming.gateway.asgi_types import Receive, Scope, Send
from streaming.web.health import readiness

_PATHS = {"/livez", "/readyz"}


class Probes:
    """ASGI middleware that answers probes; everything else passes to the application."""

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in _PATHS:
            await self._application(scope, receive, send)
            return
        if scope["method"] not in {"GET", "HEAD"}:
            await _answer(send, HTTPStatus.METHOD_NOT_ALLOWED, "GET or HEAD", scope["method"])
            return
        if scope["path"] == "/livez":
            await _answer(send, HTTPStatus.OK, "alive", scope["method"])
            return
        query = parse_qs(scope["query_string"].decode("ascii", "replace"))
        hindrance = readiness(wants_capacity=query.get("capacity") == ["1"])
        status = HTTPStatus.SERVICE_UNAVAILABLE if hindrance else HTTPStatus.OK
        await _answer(send, status, hindrance or "ready", scope["method"])


async def _answer(send: Send, status: HTTPStatus, text: str, method: str) -> None:
    body = f"{text}\n".encode()
    await send(
        {
            "type": "http.response.start",
            "status": int(status),
            "headers": [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", str(len(body)).encode()),
                (b"cache-control", b"no-store"),
            ],
        }
    )
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
