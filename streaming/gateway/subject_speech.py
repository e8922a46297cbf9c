"""How much speech of one subject may wait, in all its sessions of this process together."""

from django.conf import settings

from avatars_app.access.principal import Principal
from streaming.gateway.registry import Registry
from streaming.session.incoming_speech import SharedRoom
from streaming.session.session import Session


def bound_speech(session: Session, registry: Registry, principal: Principal | None) -> None:
    """Have an open session's speech counted with that of the subject's other sessions.

    Args:
        session: The session.
        registry: The sessions of this process.
        principal: Who opened it; None: AUTH is off, and nothing is counted.
    """
    limit_s = settings.MAX_QUEUED_SPEECH_PER_SUBJECT_S
    if session.speech is None or principal is None or not limit_s:
        return
    subject = principal.subject

    def queued_elsewhere() -> int:
        others = (c.session for c in registry if c.principal and c.principal.subject == subject)
        return sum(o.speech.window.queued for o in others if o.speech and o is not session)

    session.speech.shared_room = SharedRoom(limit_s, queued_elsewhere)
