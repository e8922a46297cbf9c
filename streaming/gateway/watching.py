"""How a connection finds the session that it wants to watch."""

import uuid
from collections.abc import Callable

from streaming.gateway.mirrors import mirrors
from streaming.gateway.registry import Registry
from streaming.gateway.takeover import key_of
from streaming.protocol.errors import ProtocolError
from streaming.session.audience import Audience, full, refused
from streaming.session.effects import WatchSession
from streaming.session.session import Session
from streaming.session.watcher import Watcher


def find_audience(registry: Registry, request: WatchSession, user_id: str) -> Audience:
    """Return the audience of a session of this process.

    Args:
        registry: The sessions of this process.
        request: What the watcher sent.
        user_id: By the watcher's path: the owner's.

    Raises:
        ProtocolError: There is none for this token.
    """
    owner, token = registry.connection_of(request.session_id), request.init.watch_token
    if owner is None or owner.session.user_id != user_id or token is None:
        raise refused()
    if not owner.session.audience.admits(token):
        raise refused()
    return owner.session.audience


async def _find(registry: Registry, request: WatchSession, user_id: str) -> Audience:
    if registry.connection_of(request.session_id) is not None:
        return find_audience(registry, request, user_id)
    return await mirrors.find(request, user_id)


async def watch(
    registry: Registry,
    request: WatchSession,
    own: Session,
    *,
    is_binary: bool,
    on_news: Callable[[], None],
    now_s: float,
) -> Watcher:
    """Let a connection watch the session of another one, on this machine or on another.

    Args:
        registry: The sessions of this process.
        request: What the watcher sent.
        own: The connection's own session, which never opens.
        is_binary: The connection has the subprotocol musetalk.v1.binary.
        on_news: Called when the watcher has something to take.
        now_s: The moment.

    Raises:
        ProtocolError: The token does not fit, or too many watch.
    """
    audience = await _find(registry, request, own.user_id)
    member, holder = f"watcher:{uuid.uuid4().hex}", f"watchers:{key_of(request.session_id)}"
    if await registry.leases.take(member, {holder: audience.max_watchers}) is not None:
        raise full(audience.max_watchers)

    def closed(watcher: Watcher) -> None:
        audience.leave(watcher)
        registry.leases.give_back(member)

    watcher = Watcher(
        request.session_id,
        request.init,
        is_binary=is_binary,
        metrics=own.metrics,
        on_news=on_news,
        on_closed=closed,
        now_s=now_s,
    )
    try:
        if not audience.is_open:  # a mirror that nobody watched ended in the meantime
            audience = await _find(registry, request, own.user_id)
        audience.join(watcher)
    except ProtocolError:
        registry.leases.give_back(member)
        raise
    return watcher
