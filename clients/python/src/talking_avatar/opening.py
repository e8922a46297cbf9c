"""How a WebSocket to a server is opened, and why it could not be, in words."""

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from talking_avatar.errors import ServerUnreachable, SessionRefused
from talking_avatar.wire import BINARY_SUBPROTOCOL, JSON_SUBPROTOCOL

AWAY_STATUSES = frozenset({500, 502, 503, 504})
"""What proxies answer while their server restarts."""


def stream_address(server: str, user_id: str, session_id: str | None = None) -> str:
    """Return the address of a user's stream.

    Args:
        server: ``ws://HOST:PORT``, or with wss, http or https; a path before the stream's is kept.
        user_id: Whose avatar.
        session_id: The session to continue with, or to watch.

    Raises:
        ValueError: ``server`` is no address.
    """
    parts = urlsplit(server if "://" in server else f"ws://{server}")
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError(f"{server!r} is no server's address: write ws://HOST:PORT.")
    query = "" if session_id is None else f"?session={session_id}"
    path = parts.path.rstrip("/")
    return f"{scheme}://{parts.netloc}{path}/musetalk/v1/ws/{quote(user_id, safe='')}{query}"


async def open_socket(
    address: str, *, headers: Mapping[str, str], is_binary: bool, within_s: float
) -> ClientConnection:
    """Open a WebSocket.

    Args:
        address: From `stream_address`.
        headers: Of the request.
        is_binary: Offer the binary subprotocol beside the other.
        within_s: Seconds that it may take.

    Raises:
        ServerUnreachable: Nothing answers there, or not with a WebSocket.
        SessionRefused: The server refused the address.
    """
    subprotocols = [BINARY_SUBPROTOCOL] * is_binary + [JSON_SUBPROTOCOL]
    try:
        return await connect(
            address,
            subprotocols=[Subprotocol(name) for name in subprotocols],
            additional_headers=headers,
            compression=None,  # coded pictures do not shrink
            max_size=None,
            open_timeout=within_s,
            ping_interval=None,  # frames come 25 times a second, and the server pings
        )
    except InvalidStatus as refusal:
        status = refusal.response.status_code
        if status in AWAY_STATUSES:
            raise ServerUnreachable(
                f"What answers at {address} has no server: HTTP {status}."
            ) from None
        rule = (
            ": a user's name has 1 to 64 letters, digits, hyphens and underscores"
            if status == 403
            else ""
        )
        raise SessionRefused(f"HTTP {status}", f"{address} was refused{rule}.", {}) from None
    except (InvalidHandshake, EOFError) as error:
        raise ServerUnreachable(
            f"What answers at {address} does not speak WebSocket: {error or repr(error)}"
        ) from None
    except TimeoutError:
        plain = " A server without TLS is reached by ws://, not wss://."
        raise ServerUnreachable(
            f"No answer from {address} within {within_s:g} s."
            f"{plain if address.startswith('wss:') else ''}"
        ) from None
    except OSError as error:
        raise ServerUnreachable(
            f"{address} cannot be reached: is the server running? ({error.strerror or error})"
        ) from None
