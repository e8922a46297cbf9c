"""Addresses with a slash at their end are those without: people and frameworks add it.

The contract's addresses end without one. A redirect would not do: a WebSocket cannot follow it, and
`curl` sends no body again. The admin's own addresses end with a slash, and files keep their names.
"""

from streaming.gateway.asgi_types import Application, Receive, Scope, Send

_KEPT = ("/admin/", "/static/")


class TrailingSlash:
    """ASGI middleware: ``application`` sees paths without a slash at their end."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"}:
            scope = _without_slash(scope)
        await self._application(scope, receive, send)


def _without_slash(scope: Scope) -> Scope:
    path = str(scope["path"])
    if len(path) < 2 or not path.endswith("/") or path.startswith(_KEPT):
        return scope
    changed = {**scope, "path": path[:-1]}
    raw_path = scope.get("raw_path")
    if raw_path:
        changed["raw_path"] = raw_path.removesuffix(b"/")
    return changed
