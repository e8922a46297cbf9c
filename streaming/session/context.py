"""What the parts of one session share: its id, what was negotiated, and where effects go."""

from dataclasses import dataclass, field

from inference import tracing
from inference.messages import LateAudio
from streaming.protocol.client_messages import InitFields, ReceiveKind
from streaming.protocol.errors import ProtocolError
from streaming.session.audience import Audience
from streaming.session.effects import EffectQueue
from streaming.session.metrics import SessionMetrics
from streaming.session.timers import Timers


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What INIT asked for, as the server grants it."""

    has_1_2: bool = False
    """The client understands the message types and fields of version 1.2."""
    receive: frozenset[ReceiveKind] = frozenset({"video", "events"})
    late_audio: LateAudio = "keep"
    allows_watchers: bool = False

    @classmethod
    def of(cls, init: InitFields) -> "Negotiated":
        """Return what an owner's INIT asks for."""
        return cls(
            has_1_2=init.speaks_1_2,
            receive=_DEFAULT.receive if init.receive is None else frozenset(init.receive),
            late_audio=init.late_audio or "keep",
            allows_watchers=init.speaks_1_2 and init.allow_watchers is True,
        )


_DEFAULT = Negotiated()


@dataclass(slots=True)
class SessionContext:
    """Shared by the parts of one session."""

    outbox: EffectQueue = field(default_factory=EffectQueue)
    timers: Timers = field(default_factory=Timers)
    metrics: SessionMetrics = field(default_factory=SessionMetrics)
    session_id: str | None = None
    """None before INIT."""
    negotiated: Negotiated = _DEFAULT
    audience: Audience = field(default_factory=Audience)
    tracer: tracing.Tracer | None = field(default_factory=tracing.tracer)
    """Makes spans of utterances; None: no spans are made."""

    def error(self, error: ProtocolError) -> None:
        """Send the client an ERROR and count it."""
        self.metrics.errors[error.code] += 1
        self.outbox.error(error, self.session_id)
