"""Looking for a worker: claims go out until one is answered in time.

A claim goes out at once and again every `CLAIM_EVERY_S`, each with an id of its own, for as long as
it takes. Only an answer to the newest counts. After `NO_WORKER_S` the client hears of it, once a
search.

What a claim says does not age: where to begin is told to the worker that is accepted.
"""

import logging
from collections.abc import Callable

from inference.messages import SessionClaimed, SessionRefused, SessionStart
from streaming.protocol.errors import CloseCode, ClosingError, ProtocolError
from streaming.session.effects import EffectQueue, SendClaim
from streaming.session.timers import Timer, Timers

log = logging.getLogger(__name__)

NO_WORKER_S = 2.0
CLAIM_EVERY_S = 2.0
CLAIM_AFTER_REFUSAL_S = 0.25


class ClaimLoop:
    """The searches of one session, one after the other.

    ``write_claim`` makes the claim with a given id.
    """

    def __init__(
        self,
        *,
        write_claim: Callable[[str], SessionStart],
        outbox: EffectQueue,
        timers: Timers,
        new_id: Callable[[], str],
    ) -> None:
        self._write_claim = write_claim
        self._outbox = outbox
        self._timers = timers
        self._new_id = new_id
        self._claim: SessionStart | None = None
        self._found_once = False
        self._is_full = False
        """The last answer was that there is no room."""
        self.is_missed = False
        """This search has lasted too long."""

    def begin(self, now_s: float) -> None:
        self._is_full = self.is_missed = False
        self._timers.set(Timer.NO_WORKER, now_s + NO_WORKER_S)
        self.claim(now_s)

    def claim(self, now_s: float) -> None:
        """Claim, and again later if nobody answers."""
        self._claim = self._write_claim(self._new_id())
        self._outbox.put(SendClaim(self._claim))
        self._timers.set(Timer.CLAIM, now_s + CLAIM_EVERY_S)

    def claimed(self, answer: SessionClaimed) -> bool:
        """Whether the worker is to be accepted, or turned down."""
        if self._claim is None or answer.claim_id != self._claim.claim_id:
            return False
        self.end()
        self._found_once = True
        return True

    def refused(self, answer: SessionRefused, now_s: float) -> None:
        """A worker cannot take the session: others may."""
        if self._claim is None or answer.claim_id != self._claim.claim_id:
            return
        log.warning("session %s was refused: %s", self._claim.session_id, answer.message)
        if answer.reason == "avatar" and not self._found_once:
            raise ClosingError(
                "MODEL_NOT_FOUND",
                "The avatar's files cannot be used; it must be prepared again.",
                close_code=CloseCode.MODEL_NOT_FOUND,
                reason="failed",
            )
        self._is_full = answer.reason == "capacity"
        wait_s = CLAIM_EVERY_S if self.is_missed else CLAIM_AFTER_REFUSAL_S
        self._timers.set(Timer.CLAIM, now_s + wait_s)

    def miss(self) -> ProtocolError:
        """Nobody took the session in time: what the client is to be told. The search goes on.

        Raises ClosingError if a first search ends for want of room.
        """
        self.is_missed = True
        if self._is_full and not self._found_once:
            raise ClosingError(
                "RATE_LIMIT_EXCEEDED",
                "All workers are full; try again later.",
                close_code=CloseCode.CAPACITY,
                reason="capacity",
            )
        return ProtocolError(
            "PROCESSING_ERROR",
            "No inference worker has taken this session yet; the search for one goes on.",
            reason="no_worker",
            retry_after_ms=int(CLAIM_EVERY_S * 1_000),
        )

    def end(self) -> None:
        """Whoever answers from now on comes too late."""
        self._claim = None
        self._timers.stop(Timer.NO_WORKER, Timer.CLAIM)
