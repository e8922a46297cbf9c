"""The address of the stream. Every other one is refused before a WebSocket exists."""

import re
from typing import Any

from django.conf import settings

from inference.assets.names import NAME_PATTERN
from streaming.gateway.asgi_types import Receive, Scope, Send
from streaming.gateway.consumer import StreamConsumer
from streaming.gateway.origins import OriginGuard, refuse
from streaming.protocol.address import STREAM_PREFIX

# Matched as a whole, and by hand: a URL pattern of Django's would let "//musetalk/…" pass and, with
# its `$`, a user_id that ends in a newline.
_PATH = re.compile(rf"{STREAM_PREFIX}(?P<user_id>{NAME_PATTERN})", re.ASCII)

_consumer: Any = StreamConsumer.as_asgi()


async def route(scope: Scope, receive: Receive, send: Send) -> None:
    """To the consumer, or nowhere."""
    path = str(scope["path"]).removeprefix(scope.get("root_path", ""))
    if match := _PATH.fullmatch(path):
        url_route = {"args": (), "kwargs": match.groupdict()}
        await _consumer({**scope, "url_route": url_route}, receive, send)
    else:
        await refuse(scope, receive, send)


streams = OriginGuard(route, settings.CORS_ORIGINS, settings.ALLOWED_HOSTS)
"""The ASGI application for WebSockets."""
