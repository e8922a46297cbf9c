"""Watch tokens for sessions that outlast theirs: `POST /sessions/{session_id}/watch_tokens`."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from talking_avatar.errors import ProtocolBroken, ServerUnreachable, SessionRefused
from talking_avatar.opening import stream_address

WITHIN_S = 10.0


async def request_watch_token(
    server: str, session_id: str, *, token: str | None, headers: Mapping[str, str]
) -> str:
    """Ask for another token.

    Args:
        server: ``ws://HOST:PORT``, or with wss, http or https.
        session_id: The caller's own session.
        token: The credential that opened it.
        headers: Of the request.

    Raises:
        SessionRefused: The server gives none; says why.
        ServerUnreachable: Nothing answers there.
        ProtocolBroken: What answers is no such server.
    """
    sent = dict(headers)
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(  # noqa: S310 - http or https, by `_address`
        _address(server, session_id), method="POST", data=b"", headers=sent
    )
    return await asyncio.to_thread(_send, request)


def _address(server: str, session_id: str) -> str:
    parts = urlsplit(stream_address(server, "-"))
    path = parts.path.removesuffix("/musetalk/v1/ws/-")
    scheme = {"ws": "http", "wss": "https"}[parts.scheme]
    return urlunsplit((scheme, parts.netloc, f"{path}/sessions/{session_id}/watch_tokens", "", ""))


def _send(request: urllib.request.Request) -> str:
    try:
        with urllib.request.urlopen(request, timeout=WITHIN_S) as answer:  # noqa: S310
            return str(json.loads(answer.read())["token"])
    except urllib.error.HTTPError as error:
        with error:
            raise SessionRefused(f"HTTP {error.code}", _detail(error.read()), {}) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ProtocolBroken(f"{request.full_url} gave no token: {error!r}.") from None
    except OSError as error:
        raise ServerUnreachable(f"{request.full_url} cannot be reached: {error}") from None


def _detail(body: bytes) -> str:
    """Return what a problem document says."""
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return "The server gives no watch token."
