"""The search for a worker: claims are sent until one is answered.

A claim is sent at once and again every `CLAIM_EVERY_S`, each with an id of its own. Only an answer
to the newest counts. After `NO_WORKER_S` the client receives a warning, once a search.

A claim does not become outdated: the first frame and sample are part of the acceptance.

An avatar that several workers in a row cannot open is gone: the session ends.
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
RETRY_WHEN_FULL_MS = 5_000
MAX_AVATAR_REFUSALS = 3
"""So many workers in a row could not open the avatar: it is gone, or damaged."""


class ClaimLoop:
    """The searches of one session, one after the other."""

    def __init__(
        self,
        *,
        write_claim: Callable[[str], SessionStart],
        outbox: EffectQueue,
        timers: Timers,
        new_id: Callable[[], str],
    ) -> None:
        """Search nothing yet.

        Args:
            write_claim: Makes the claim with a given id.
            outbox: Where claims go.
            timers: The session's.
            new_id: Makes claim ids.
        """
        self._write_claim = write_claim
        self._outbox = outbox
        self._timers = timers
        self._new_id = new_id
        self._claim: SessionStart | None = None
        self._found_once = False
        self._is_full = False
        """The last answer was a refusal for want of capacity."""
        self._avatar_refusals = 0
        self.is_missed = False
        """This search takes longer than `NO_WORKER_S`."""

    def begin(self, now_s: float, *, after_s: float = 0.0) -> None:
        """Start a search.

        Args:
            now_s: The moment.
            after_s: How long to wait before the first claim.
        """
        self._is_full = self.is_missed = False
        self._timers.set(Timer.NO_WORKER, now_s + after_s + NO_WORKER_S)
        if after_s > 0:
            self._timers.set(Timer.CLAIM, now_s + after_s)
        else:
            self.claim(now_s)

    def claim(self, now_s: float) -> None:
        """Send a claim; the next one follows unless this one is answered."""
        self._claim = self._write_claim(self._new_id())
        self._outbox.put(SendClaim(self._claim))
        self._timers.set(Timer.CLAIM, now_s + CLAIM_EVERY_S)

    def claimed(self, answer: SessionClaimed) -> bool:
        """Take a worker's offer to take the session.

        Returns:
            Whether it is accepted.
        """
        if self._claim is None or answer.claim_id != self._claim.claim_id:
            return False
        self.end()
        self._found_once = True
        self._avatar_refusals = 0
        return True

    def refused(self, answer: SessionRefused, now_s: float) -> None:
        """Take the refusal of a worker that cannot take the session; others may.

        Raises:
            ClosingError: The avatar cannot be opened.
        """
        if self._claim is None or answer.claim_id != self._claim.claim_id:
            return
        if answer.reason == "avatar":
            self._avatar_refusals += 1
        if not self._is_full:  # one line a search is enough
            log.warning("session %s was refused: %s", self._claim.session_id, answer.message)
        is_gone = not self._found_once or self._avatar_refusals >= MAX_AVATAR_REFUSALS
        if answer.reason == "avatar" and is_gone:
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
        """No worker took the session in time; the search continues.

        Returns:
            What is sent to the client.

        Raises:
            ClosingError: The first search of a session found full workers only.
        """
        self.is_missed = True
        if self._is_full and not self._found_once:
            raise ClosingError(
                "RATE_LIMIT_EXCEEDED",
                f"All workers are full; try again in {RETRY_WHEN_FULL_MS // 1_000} s.",
                close_code=CloseCode.CAPACITY,
                reason="capacity",
                retry_after_ms=RETRY_WHEN_FULL_MS,
            )
        return ProtocolError(
            "PROCESSING_ERROR",
            "No inference worker has taken this session yet; the search for one continues.",
            reason="no_worker",
            retry_after_ms=int(CLAIM_EVERY_S * 1_000),
        )

    def end(self) -> None:
        """Stop searching; later answers are declined."""
        self._claim = None
        self._timers.stop(Timer.NO_WORKER, Timer.CLAIM)
