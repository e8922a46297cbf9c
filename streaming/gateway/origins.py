"""Which web pages may open a stream.

A browser sends the origin of a page and lets it open a WebSocket to any server; the server has to
refuse pages it does not trust. A request without an Origin comes from no browser and is accepted;
so is a page of the same host; all others must be among the allowed origins. As for pages, the Host
must be one of ALLOWED_HOSTS: otherwise a page could rebind its own name to this server, and would
then be of the same host.
"""

import logging
from collections.abc import Iterable
from urllib.parse import urlsplit

from django.http.request import split_domain_port, validate_host

from streaming.gateway.asgi_types import Application, Receive, Scope, Send

log = logging.getLogger(__name__)


ANY = "*"
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse as an ASGI application: HTTP 403, before the WebSocket exists."""
    await receive()
    await send({"type": "websocket.close"})


class OriginGuard:
    """ASGI middleware: connections from pages that are not allowed never reach ``application``."""

    def __init__(
        self, application: Application, allowed: Iterable[str], hosts: Iterable[str] = (ANY,)
    ) -> None:
        """Guard an application.

        Args:
            application: Called for connections that are allowed.
            allowed: Origins as browsers write them (``https://example.org``), ``*`` for any.
            hosts: Names as in ALLOWED_HOSTS.
        """
        self._application = application
        self._hosts = list(hosts)
        self._allowed = {_normalized(origin) for origin in allowed}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        application = self._application if self._admits(scope) else refuse
        await application(scope, receive, send)

    def _admits(self, scope: Scope) -> bool:
        headers = scope.get("headers", [])
        origins = [value.decode("latin1") for name, value in headers if name == b"origin"]
        hosts = [value.decode("latin1") for name, value in headers if name == b"host"]
        if ANY not in self._hosts:
            name = split_domain_port(hosts[0])[0] if len(hosts) == 1 else ""
            if not validate_host(name, self._hosts):
                log.info("refused a stream to host %r; ALLOWED_HOSTS does not name it", name)
                return False
        for origin in origins:
            if ANY in self._allowed or _normalized(origin) in self._allowed:
                continue
            if len(hosts) == 1 and _is_same_host(origin, hosts[0]):
                continue
            log.info("refused a stream to a page of %r; CORS_ORIGINS does not name it", origin)
            return False
        return True


def _normalized(origin: str) -> str:
    return origin.rstrip("/").lower()


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
