"""How a connection finds the session that it wants to watch."""

from streaming.gateway.registry import Registry
from streaming.session.audience import Audience, refused
from streaming.session.effects import WatchSession


def find_audience(registry: Registry, request: WatchSession, user_id: str) -> Audience:
    """The audience of a session of this process.

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
