"""One request of a webhook: signed by Standard Webhooks, over HTTPS, and to no other place."""

import contextlib
import http.client
import json
import socket
import ssl
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from standardwebhooks import Webhook

from avatars_app.webhooks.targets import TargetRefused, resolve

WITHIN_S = 5.0
"""From the first packet to the answer's status."""


class NotDelivered(Exception):
    """It was not taken; the message says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where webhooks go."""

    url: str
    secret: str
    """As the standard writes it, ``whsec_`` and base64."""
    allow_private: bool = False


def body_of(type_: str, happened_at: datetime, data: Mapping[str, Any]) -> str:
    """Return what is sent, as the standard recommends it."""
    timestamp = happened_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps({"type": type_, "timestamp": timestamp, "data": data}, ensure_ascii=False)


def headers_of(id_: uuid.UUID, body: str, secret: str, now: datetime) -> dict[str, str]:
    """Return the headers that identify and sign a message.

    Args:
        id_: Of the message, the same for each attempt.
        body: The message.
        secret: The signing secret.
        now: When it is sent.
    """
    message_id = f"msg_{id_.hex}"
    now = now.astimezone(UTC)
    return {
        "content-type": "application/json; charset=utf-8",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, now, body),
    }


def deliver(target: Target, body: str, headers: Mapping[str, str]) -> int:
    """Send a message, and wait at most `WITHIN_S` for the answer.

    Returns:
        The status of the answer, which is a success.

    Raises:
        NotDelivered: There was no answer, or another one; redirects are not followed.
    """
    url = urlsplit(target.url)
    host, port = url.hostname or "", url.port or 443
    if url.scheme != "https":
        raise NotDelivered("the address must begin with https://")
    try:
        addresses = resolve(host, port, allow_private=target.allow_private)
    except (TargetRefused, OSError) as error:
        raise NotDelivered(str(error)) from None
    connection = _PinnedConnection(host, port, addresses)
    timer = threading.Timer(WITHIN_S, connection.abort)
    timer.start()
    try:
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        connection.request("POST", path, body.encode(), dict(headers))
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        late = f"no answer within {WITHIN_S:g} s" if connection.is_aborted else None
        raise NotDelivered(late or f"{type(error).__name__}: {error}") from None
    finally:
        timer.cancel()
        connection.close()
    if not 200 <= status < 300:
        redirect = ", a redirect, which is not followed" if 300 <= status < 400 else ""
        raise NotDelivered(f"the answer was {status}{redirect}")
    return status


class _PinnedConnection(http.client.HTTPSConnection):
    """Connects to addresses that were judged, whatever the name points to by now."""

    def __init__(self, host: str, port: int, addresses: list[str]) -> None:
        self._context_of_tls = ssl.create_default_context()
        super().__init__(host, port, timeout=WITHIN_S, context=self._context_of_tls)
        self._addresses = addresses
        self.is_aborted = False

    def connect(self) -> None:
        error: OSError | None = None
        for address in self._addresses:
            try:
                plain = socket.create_connection((address, self.port), self.timeout)
            except OSError as failed:
                error = failed
                continue
            self.sock = plain
            self.sock = self._context_of_tls.wrap_socket(plain, server_hostname=self.host)
            return
        raise error or OSError(f"{self.host} has no address")

    def abort(self) -> None:
        """Give up, from another thread."""
        self.is_aborted = True
        if self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)
