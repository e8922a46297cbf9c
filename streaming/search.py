"""Looking for a worker: claims go out until one is answered in time.

A claim goes out at once and again every `CLAIM_EVERY_S`, each with an id of its own, for as long as
it takes. Only an answer to the newest counts. After `NO_WORKER_S` the client hears of it, once a
search.

A claim that lay waiting for a worker names a frame whose time has passed; a worker that took it
would run late for ever. So such an answer is turned down, and a fresh claim goes out, now that
workers are there; once a search, lest slow workers are turned down without end.
"""

import logging
from collections.abc import Callable

from inference.messages import SessionClaimed, SessionRefused, SessionStart
from streaming.effects import Outbox, SendClaim
from streaming.errors import CloseCode, ClosingError, ProtocolError
from streaming.timers import Timer, Timers

log = logging.getLogger(__name__)

NO_WORKER_S = 2.0
CLAIM_EVERY_S = 2.0
CLAIM_AFTER_REFUSAL_S = 0.25
FRESH_CLAIM_S = 0.5


class Search:
    """The searches of one session, one after the other.

    ``write_claim`` makes the claim with a given id, as of a given moment.
    """

    def __init__(
        self,
        *,
        write_claim: Callable[[str, float], SessionStart],
        outbox: Outbox,
        timers: Timers,
        new_id: Callable[[], str],
    ) -> None:
        self._write_claim = write_claim
        self._outbox = outbox
        self._timers = timers
        self._new_id = new_id
        self._claim: SessionStart | None = None
        self._claimed_s = 0.0
        self._found_once = False
        self._is_full = False
        """The last answer was that there is no room."""
        self.is_missed = False
        """This search has lasted too long."""
        self._may_refresh = True

    def begin(self, now_s: float) -> None:
        self._is_full = self.is_missed = False
        self._may_refresh = True
        self._timers.set(Timer.NO_WORKER, now_s + NO_WORKER_S)
        self.claim(now_s)

    def claim(self, now_s: float) -> None:
        """Claim, and again later if nobody answers."""
        self._claim = self._write_claim(self._new_id(), now_s)
        self._claimed_s = now_s
        self._outbox.put(SendClaim(self._claim))
        self._timers.set(Timer.CLAIM, now_s + CLAIM_EVERY_S)

    def claimed(self, answer: SessionClaimed, now_s: float) -> SessionStart | None:
        """The claim if the worker is to be accepted, None if it is to be turned down."""
        claim = self._claim
        if claim is None or answer.claim_id != claim.claim_id:
            return None
        is_outdated = claim.next_frame > 0 and now_s - self._claimed_s > FRESH_CLAIM_S
        if is_outdated and self._may_refresh:
            self._may_refresh = False
            self.claim(now_s)
            return None
        self.end()
        self._found_once = True
        return claim

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
