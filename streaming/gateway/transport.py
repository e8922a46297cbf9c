"""What the server tells of its side of a connection: whether the client reads fast enough."""

import logging
from collections.abc import Mapping
from typing import Any

TRANSPORT_EXTENSION = "musetalk.transport"

log = logging.getLogger(__name__)
_has_warned = False


def transport_of(scope: Mapping[str, Any]) -> Any:
    """Return the connection's transport, with ``paused`` and ``on_change``.

    It is None if the server has none.

    Without it, once for all connections, the log says what that means.
    """
    global _has_warned
    extensions: dict[str, Any] = scope.get("extensions") or {}
    transport = extensions.get(TRANSPORT_EXTENSION)
    if transport is None and not _has_warned:
        _has_warned = True
        log.warning(
            "this server does not report when a client reads too slowly: frames for it will "
            "pile up in memory; `manage.py serve` does report it"
        )
    return transport
