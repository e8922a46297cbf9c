"""Which web pages may open a stream.

A browser says where a page came from and lets it open a WebSocket to anywhere; refusing strangers
is the server's part. A request without an Origin comes from no browser and is let in; so is a page
of this very host; all others need to be among the allowed origins.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

ANY = "*"
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application that lets nobody in: HTTP 403, before the WebSocket exists."""
    await receive()
    await send({"type": "websocket.close"})


class OriginGuard:
    """ASGI middleware: connections from pages that are not allowed never reach ``application``.

    ``allowed``: origins as browsers write them (``https://example.org``), or ``*`` for any.
    """

    def __init__(self, application: Application, allowed: Iterable[str]) -> None:
        self._application = application
        self._allowed = {origin.rstrip("/").lower() for origin in allowed}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        application = self._application if self._admits(scope) else refuse
        await application(scope, receive, send)

    def _admits(self, scope: Scope) -> bool:
        headers = scope.get("headers", [])
        origins = [value.decode("latin1") for name, value in headers if name == b"origin"]
        hosts = [value.decode("latin1") for name, value in headers if name == b"host"]
        for origin in origins:
            if ANY in self._allowed or origin.lower() in self._allowed:
                continue
            if len(hosts) == 1 and _is_same_host(origin, hosts[0]):
                continue
            log.info("refused a stream to a page of %r; CORS_ORIGINS does not name it", origin)
            return False
        return True


def _is_same_host(origin: str, host: str) -> bool:
    """Whether a page of ``origin`` came from ``host``; a port that is not said is the scheme's."""
    try:
        page = urlsplit(origin)
        own = urlsplit(f"//{host}")
        default = _DEFAULT_PORTS.get(page.scheme)
        return (
            default is not None
            and page.hostname is not None
            and page.hostname == own.hostname
            and (page.port or default) == (own.port or default)
        )
    except ValueError:  # a port that is no number
        return False
