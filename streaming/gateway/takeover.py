"""A session that is opened a second time, on a gateway in another process.

Within a process the registry knows who has a session. Between processes the media layer's groups
do: each connection listens in the group of its session, and a connection that opens the session
tells the group first. The same user's older connection ends then; another user's answers that the
id is taken, and the newer one ends. That gives the id up at once: its user may open the session at
that gateway while the connection that was refused has yet to leave, and who opens it there before
the refusal has come is made to wait for that (`Registry.reserve`). Two that open it within the same
few milliseconds may miss each other, and a layer that is down delivers nothing: then both streams
continue, as if they were two sessions.
"""

import asyncio
import logging
from typing import Any, Final, Protocol

from channels.layers import BaseChannelLayer

from streaming.session.connection_state import State
from streaming.session.effects import Effect
from streaming.session.session import Session

log = logging.getLogger(__name__)

OPENED_ELSEWHERE: Final = "session.opened"
ID_TAKEN: Final = "session.taken"
MESSAGES = frozenset({OPENED_ELSEWHERE, ID_TAKEN})


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
    message = {
        "type": OPENED_ELSEWHERE,
        "session": key_of(session_id),
        "user_id": user_id,
        "channel": channel,
    }
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


class Opened(Protocol):
    """A connection that opened a session."""

    session: Session
    owner: str
    channel_name: str

    async def supersede(self) -> None:
        """End it: its user opened the session elsewhere."""


class Reservations(Protocol):
    """Which connection has which session in this process."""

    def give_up(self, session_id: str, connection: Any) -> None:
        """Free the session for its user, if the connection has it."""


async def receive(
    layer: BaseChannelLayer,
    message: dict[str, Any],
    connection: Opened,
    reservations: Reservations,
) -> list[Effect]:
    """Take what another gateway says of the connection's session; return what is to be done."""
    session = connection.session
    session_id = session.session_id
    if session_id is None or message.get("session") != key_of(session_id):
        return []
    if session.state is State.CLOSED:
        return []  # it was refused itself, and has yet to leave
    if message["type"] == ID_TAKEN:
        reservations.give_up(session_id, connection)
        return session.id_taken(asyncio.get_running_loop().time())
    if is_taken_over(message, user_id=connection.owner, channel=connection.channel_name):
        await connection.supersede()
    elif message.get("user_id") != connection.owner:
        answer = {"type": ID_TAKEN, "session": key_of(session_id)}
        try:
            await layer.send(str(message.get("channel")), answer)
        except Exception as error:  # noqa: BLE001 - as above
            log_failure("session %s: another user was not refused: %r", session_id, error)
    return []


def is_taken_over(message: dict[str, Any], *, user_id: str, channel: str) -> bool:
    """Whether this was said of us, by the same user's newer connection."""
    return message.get("user_id") == user_id and message.get("channel") != channel


def group_of(session_id: str) -> str:
    """Return the group of the media layer in which the session's connection listens."""
    return f"session.{key_of(session_id)}"
