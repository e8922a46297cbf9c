"""How much speech of one subject may wait, in all its sessions of this machine together.

A process counts its own sessions, which costs no message. It reports what waits there to the other
processes each second, and at once when it has become `REPORT_STEP_S` more than they know: so none
waits for an answer, and a subject that fills all of them at once gets at most that much more in
each.
"""

from collections.abc import Mapping
from typing import Protocol

from django.conf import settings

from avatars_app.access.principal import Principal
from inference.timing import SAMPLE_RATE_HZ
from streaming.session.incoming_speech import SharedRoom
from streaming.session.session import Session

REPORT_STEP_S = 10


class Peers(Protocol):
    """The other app processes of this machine."""

    def speech_waits(self, samples: Mapping[str, int]) -> None:
        """Send them how much waits here of each subject of which that has changed."""


class SubjectSpeech:
    """Counts the speech that waits, by subject. Lives on one event loop."""

    def __init__(self) -> None:
        """Begin to count."""
        self.peers: Peers | None = None
        """None: this process is alone on its machine."""
        self._sessions: dict[str, set[Session]] = {}
        """Of this process, by subject."""
        self._subjects: dict[Session, str] = {}
        self._elsewhere: dict[str, int] = {}
        """Samples that wait in the other processes."""
        self._reported: dict[str, int] = {}
        """What the other processes know of this one."""

    def bound(self, session: Session, principal: Principal | None) -> None:
        """Have an open session's speech counted with that of the subject's other sessions.

        Args:
            session: The session.
            principal: Who opened it; None: AUTH is off, and nothing is counted.
        """
        limit_s = settings.MAX_QUEUED_SPEECH_PER_SUBJECT_S
        if session.speech is None or principal is None or not limit_s:
            return
        subject = principal.subject
        self._subjects[session] = subject
        self._sessions.setdefault(subject, set()).add(session)

        def queued_elsewhere() -> int:
            return self._queued(subject, but=session) + self._elsewhere.get(subject, 0)

        def accepted() -> None:
            if self.peers is None:
                return
            queued = self._queued(subject)
            if queued - self._reported.get(subject, 0) >= REPORT_STEP_S * SAMPLE_RATE_HZ:
                self._send({subject: queued})

        session.speech.shared_room = SharedRoom(limit_s, queued_elsewhere, accepted)

    def left(self, session: Session) -> None:
        """Count no longer what waits in a session that is over."""
        subject = self._subjects.pop(session, None)
        if subject is None:
            return
        self._sessions[subject].discard(session)
        if not self._sessions[subject]:
            del self._sessions[subject]

    def update_elsewhere(self, samples: Mapping[str, int]) -> None:
        """Take what waits in all other processes together, of some subjects."""
        self._elsewhere.update(samples)
        for subject in [subject for subject, queued in samples.items() if queued == 0]:
            del self._elsewhere[subject]

    def report(self) -> None:
        """Send the other processes what has changed here; to be called each second."""
        if self.peers is None:
            return
        subjects = self._reported.keys() | self._sessions.keys()
        queued = {subject: self._queued(subject) for subject in subjects}
        self._send({s: n for s, n in queued.items() if n != self._reported.get(s, 0)})

    def _send(self, changed: Mapping[str, int]) -> None:
        assert self.peers is not None, "there are others"
        if changed:
            self._reported.update(changed)
            self._reported = {s: n for s, n in self._reported.items() if n}
            self.peers.speech_waits(changed)

    def _queued(self, subject: str, *, but: Session | None = None) -> int:
        sessions = self._sessions.get(subject, ())
        return sum(s.speech.window.queued for s in sessions if s.speech and s is not but)
