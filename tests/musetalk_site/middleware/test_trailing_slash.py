"""A slash at the end of an address changes nothing."""

import pytest

from musetalk_site.middleware.trailing_slash import TrailingSlash


@pytest.mark.parametrize(
    ("kind", "path", "seen"),
    [
        ("http", "/health/", "/health"),
        ("websocket", "/musetalk/v1/ws/me/", "/musetalk/v1/ws/me"),
        ("http", "/avatars/me", "/avatars/me"),
        ("http", "/", "/"),
        ("http", "/health//", "/health/"),
        ("http", "/admin/", "/admin/"),
        ("http", "/admin/auth/user/", "/admin/auth/user/"),
        ("http", "/static/", "/static/"),
        ("http", "/administer/", "/administer"),
    ],
)
async def test_one_slash_is_left_out(kind: str, path: str, seen: str) -> None:
    scopes = []

    async def application(scope, receive, send) -> None:
        scopes.append(scope)

    scope = {"type": kind, "path": path, "raw_path": path.encode()}
    await TrailingSlash(application)(scope, None, None)
    assert (scopes[0]["path"], scopes[0]["raw_path"]) == (seen, seen.encode())
    assert scope["path"] == path, "the caller's own is as it was"


async def test_other_scopes_pass_as_they_are() -> None:
    scopes = []

    async def application(scope, receive, send) -> None:
        scopes.append(scope)

    await TrailingSlash(application)({"type": "lifespan"}, None, None)
    assert scopes == [{"type": "lifespan"}]
