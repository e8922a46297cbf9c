"""What a session wants done: the whole of its way to the outside."""

from dataclasses import dataclass, field

from inference.messages import LayerMessage, SessionStart
from streaming.protocol.client_messages import InitFields
from streaming.protocol.errors import CloseCode, ProtocolError
from streaming.protocol.server_messages import (
    ActionFrame,
    CloseAck,
    Error,
    ServerMessage,
    VideoFrame,
)

MAX_REPLIES_UNREAD = 1_000
"""How many messages beside pictures are sent to a client that reads nothing."""


@dataclass(frozen=True, slots=True)
class SendToClient:
    message: ServerMessage


@dataclass(frozen=True, slots=True)
class SendPayload:
    """A message that was serialized once for several connections."""

    payload: str | bytes


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Reserve the session_id for this connection and look up the user's avatar.

    Answered by `Session.opened`, `Session.id_taken` or `Session.avatar_missing` before the next
    message of the client is handed in.
    """

    session_id: str
    user_id: str
    auth_token: str | None = None
    """As INIT had it."""


@dataclass(frozen=True, slots=True)
class ResumeSession:
    """Check the token of this INIT, and continue the session that it names.

    Either another `Session` takes the place of this one, or the answer is `Session.opened`,
    `Session.init_refused`, `Session.id_taken` or `Session.avatar_missing`.
    """

    session_id: str
    init: InitFields


@dataclass(frozen=True, slots=True)
class WatchSession:
    """Check the token of this INIT, and have the connection watch the session that it names.

    Either a `Watcher` takes the place of this session, or the answer is `Session.init_refused`.
    """

    session_id: str
    init: InitFields


@dataclass(frozen=True, slots=True)
class SendClaim:
    """Onto the shared channel of the claim layer."""

    message: SessionStart


@dataclass(frozen=True, slots=True)
class SendToWorker:
    """Onto a worker's private channel; `Session.undelivered` if that fails."""

    channel: str
    message: LayerMessage


@dataclass(frozen=True, slots=True)
class FlushSpeech:
    """Send what `Session.next_for_worker` gives until it gives None, or until it cannot be sent.

    What that is shows when its turn comes: an interrupt may have come first, or another worker.
    """

    claim_id: str


@dataclass(frozen=True, slots=True)
class CloseConnection:
    """The last effect."""

    code: CloseCode


Effect = (
    SendToClient
    | SendPayload
    | OpenSession
    | ResumeSession
    | WatchSession
    | SendClaim
    | SendToWorker
    | FlushSpeech
    | CloseConnection
)


@dataclass(slots=True)
class EffectQueue:
    """Collects effects while one input is worked on.

    While the client reads nothing (``is_paused``) what is sent to it stays in memory: pictures are
    held back elsewhere, and of all other messages no more than `MAX_REPLIES_UNREAD` are sent.
    """

    is_paused: bool = False
    _effects: list[Effect] = field(default_factory=list)
    _unread: int = 0

    def put(self, effect: Effect) -> None:
        self._effects.append(effect)

    def to_client(self, message: ServerMessage) -> None:
        if not self.is_paused:
            self._unread = 0
        elif not isinstance(message, VideoFrame | ActionFrame | CloseAck):
            if self._unread == MAX_REPLIES_UNREAD:
                return
            self._unread += 1
        self._effects.append(SendToClient(message))

    def error(self, error: ProtocolError, session_id: str | None) -> None:
        self.to_client(Error.of(error, session_id))

    def take(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects
