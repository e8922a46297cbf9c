"""A session that is opened a second time, on a gateway in another process.

Within a process the registry knows who has a session. Between processes the media layer's groups
do: each connection listens in the group of its session, and a connection that opens the session
tells the group first. The same user's older connection ends then; another user's answers that the
id is taken, and the newer one ends. Two that open it within the same few milliseconds may miss each
other, and a layer that is down delivers nothing: then both streams continue, as if they were two
sessions.
"""

import logging
from typing import Any, Final

from channels.layers import BaseChannelLayer

log = logging.getLogger(__name__)

OPENED_ELSEWHERE: Final = "session.opened"
ID_TAKEN: Final = "session.taken"


def key_of(session_id: str) -> str:
    """Return the same key for all spellings of a UUID."""
    return session_id.replace("-", "").lower()


def owner_of(user_id: str, subject: str) -> str:
    """Whose session it is.

    Args:
        user_id: The user's, by the path of the stream.
        subject: Who opened it; "" while AUTH is off.
    """
    return f"{user_id}\n{subject}" if subject else user_id


async def take_over(
    layer: BaseChannelLayer, session_id: str, *, user_id: str, channel: str
) -> None:
    """Tell other gateways that the session is opened at ``channel``, which listens from then on."""
    group = group_of(session_id)
    message = {"type": OPENED_ELSEWHERE, "user_id": user_id, "channel": channel}
    try:
        await layer.group_send(group, message)
        await layer.group_add(group, channel)
    except Exception as error:  # noqa: BLE001 - a layer raises what its client library does
        log_failure("session %s: other gateways were not told: %r", session_id, error)


async def let_go(layer: BaseChannelLayer, session_id: str, channel: str) -> None:
    """Let go of a session that is over at ``channel``."""
    try:
        await layer.group_discard(group_of(session_id), channel)
    except Exception as error:  # noqa: BLE001 - as above; groups forget by themselves in the end
        log_failure("session %s: its group was not left: %r", session_id, error)


def log_failure(line: str, *details: object) -> None:
    """Log a call of a layer that failed; the last of ``details`` is the exception.

    A connection that is lost is the layer's own affair: it logs that once, for all sessions.
    """
    log.log(
        logging.DEBUG if isinstance(details[-1], ConnectionError) else logging.WARNING,
        line,
        *details,
    )


def is_taken_over(message: dict[str, Any], *, user_id: str, channel: str) -> bool:
    """Whether this was said of us, by the same user's newer connection."""
    return message.get("user_id") == user_id and message.get("channel") != channel


async def keep(
    layer: BaseChannelLayer, session_id: str, message: dict[str, Any], *, user_id: str
) -> None:
    """Answer another user's connection, which opened our session, that the id is taken."""
    if message.get("user_id") == user_id:
        return
    answer = {"type": ID_TAKEN, "session": key_of(session_id)}
    try:
        await layer.send(str(message.get("channel")), answer)
    except Exception as error:  # noqa: BLE001 - as above
        log_failure("session %s: another user's gateway was not told: %r", session_id, error)


def is_refused(message: dict[str, Any], session_id: str | None) -> bool:
    """Whether the session that we opened is another user's."""
    return session_id is not None and message.get("session") == key_of(session_id)


def group_of(session_id: str) -> str:
    """Return the group of the media layer in which the session's connection listens."""
    return f"session.{key_of(session_id)}"
