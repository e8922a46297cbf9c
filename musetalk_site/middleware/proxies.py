"""Who is asking, where a proxy asks for them.

Behind a proxy every connection comes from the proxy, and from an HTTPS proxy it comes in plain
HTTP. What the client's address and scheme really were is given in ``X-Forwarded-For`` and
``X-Forwarded-Proto``; but anybody can send these headers. They are believed only if the connection
comes from an address in ``TRUSTED_PROXIES``, and then put where everything else looks: into
``client`` and ``scheme`` of the ASGI scope. So links, cookies, the check of forms' origins and the
question who may upload need to know nothing of proxies.

Each proxy appends the address that it was called from, so the list is read from its end: the first
address that is no trusted proxy is the client. What stands before it the client may have made up.
A trusted proxy that names nobody leaves the client unknown: it must not pass for this machine.
"""

import ipaddress
import logging
from collections.abc import Iterable
from typing import Any

from streaming.gateway.asgi_types import Application, Scope

log = logging.getLogger(__name__)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_SECURE = {"http": "https", "websocket": "wss"}
_PLAIN = {"http": "http", "websocket": "ws"}
_WARNED_LIMIT = 16


class TrustedProxies:
    """ASGI middleware: ``application`` sees clients as the proxies at these addresses saw them."""

    def __init__(self, application: Application, trusted: Iterable[Network]) -> None:
        self._application = application
        self._trusted = tuple(trusted)
        self._warned: set[Address] = set()

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] in _SECURE:
            scope = self._as_the_proxy_saw(scope)
        await self._application(scope, receive, send)

    def _as_the_proxy_saw(self, scope: Scope) -> Scope:
        peer = _address((scope.get("client") or ("",))[0])
        forwarded_for = _values(scope, b"x-forwarded-for")
        forwarded_proto = _values(scope, b"x-forwarded-proto")
        if peer is None or not self._trusts(peer):
            if peer is not None and (forwarded_for or forwarded_proto):
                self._warn_once(peer)
            return scope
        client = self._client(forwarded_for)
        is_secure = forwarded_proto[-1:] in (["https"], ["wss"])
        schemes = _SECURE if is_secure else _PLAIN
        return {
            **scope,
            "client": None if client is None else [str(client), 0],
            "scheme": schemes[scope["type"]],
        }

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)

    def _client(self, forwarded_for: list[str]) -> Address | None:
        client = None
        for text in reversed(forwarded_for):
            client = _address(text)
            if client is None or not self._trusts(client):
                break
        return client

    def _warn_once(self, peer: Address) -> None:
        """Warn once of a likely mistake of the operator's.

        What strangers send is not worth a line.
        """
        if peer.is_private and peer not in self._warned and len(self._warned) < _WARNED_LIMIT:
            self._warned.add(peer)
            log.warning(
                "%s forwards requests but TRUSTED_PROXIES does not name it: the client's address"
                " and https:// are not taken from it",
                peer,
            )


def _values(scope: Scope, wanted: bytes) -> list[str]:
    """Return the parts of a header that is a list, over all its lines."""
    lines = [value.decode("latin1") for name, value in scope["headers"] if name == wanted]
    return [part.strip() for line in lines for part in line.split(",")]


def _address(text: str) -> Address | None:
    """Return an address, with or without a port; None if it is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
