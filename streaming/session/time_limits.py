"""How long a session may be silent, and how long it may last; warnings before both.

Pure: time is an argument.
"""

from streaming.protocol.server_messages import SessionWarning, WarningFields, WarningReason
from streaming.session.context import SessionContext
from streaming.session.effects import Effect
from streaming.session.limits import SessionLimits, warning_s
from streaming.session.timers import Timer


class TimeLimits:
    """Sets the timers of one session that end it."""

    def __init__(self, context: SessionContext, rules: SessionLimits) -> None:
        self._context = context
        self._rules = rules
        self._max_session_due_s: float | None = None
        self._token_warned_s = 0.0
        self._is_open = False

    def on_message(self, now_s: float) -> None:
        """Count what the client sent, or that it connected."""
        idle_s = self._rules.idle_s
        if idle_s > 0:
            self._context.timers.set(Timer.IDLE, now_s + idle_s)
            self._context.timers.set(Timer.IDLE_WARNING, now_s + idle_s - warning_s(idle_s))

    def opened(self, now_s: float) -> None:
        """Enter the open state."""
        self._is_open = True
        if self._rules.max_session_s > 0:
            self._max_session_due_s = now_s + self._rules.max_session_s
        self._start_max_session_timer()

    def resumed(self, now_s: float) -> None:
        """Continue with a client that is back, on another connection."""
        self.on_message(now_s)
        self._start_max_session_timer()

    def _start_max_session_timer(self) -> None:
        if (due_s := self._max_session_due_s) is not None:
            warned_s = due_s - warning_s(self._rules.max_session_s)
            self._context.timers.set(Timer.MAX_SESSION, due_s)
            self._context.timers.set(Timer.MAX_SESSION_WARNING, warned_s)

    def token_ends(self, in_s: float, now_s: float) -> None:
        """Limit the session to ``in_s`` more, as the client's credential does."""
        self._token_warned_s = warning_s(in_s)
        self._context.timers.set(Timer.TOKEN, now_s + in_s)
        self._context.timers.set(Timer.TOKEN_WARNING, now_s + in_s - self._token_warned_s)

    def server_ends(self, in_s: float) -> list[Effect]:
        """End the session with the server in ``in_s``, unless it is resumed elsewhere."""
        if self._is_open:
            self._warn("draining", in_s)
        return self._context.outbox.take()

    def warn(self, timer: Timer) -> None:
        """IDLE_WARNING, MAX_SESSION_WARNING or TOKEN_WARNING is due."""
        if timer is Timer.IDLE_WARNING:
            self._warn("idle", warning_s(self._rules.idle_s))
        elif timer is Timer.TOKEN_WARNING:
            self._warn("token", self._token_warned_s)
        else:
            self._warn("max_session", warning_s(self._rules.max_session_s))

    def _warn(self, reason: WarningReason, in_s: float) -> None:
        if self._context.negotiated.has_1_2:
            self._context.outbox.to_client(
                SessionWarning(
                    session_id=self._context.session_id,
                    data=WarningFields(reason=reason, in_ms=round(in_s * 1_000)),
                )
            )
