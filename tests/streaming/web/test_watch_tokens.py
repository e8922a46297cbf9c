"""`POST /sessions/{session_id}/watch_tokens`: for the owner of a session that may be watched."""

import time
import uuid
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.test import Client
from django.utils import timezone

from streaming.gateway.resume_tokens import SignedTokens
from streaming.gateway.watch_tokens import SignedWatchTokens
from streaming.models import GatewayProcess, SessionRecord

SECRET = "a secret of thirty-two bytes or more"
SESSION_ID = "6f1c2e1a-5b0e-4c53-9d0b-0b3b7d7d7f10"
ELSEWHERE: dict[str, Any] = {"REMOTE_ADDR": "203.0.113.9"}


@pytest.fixture(autouse=True)
def auth(settings, db):
    settings.AUTH = True
    settings.AUTH_SECRET = SECRET


def record(*, session_id=SESSION_ID, subject="ann", **other) -> SessionRecord:
    now = timezone.now()
    heartbeat_at = other.pop("heartbeat_at", now)
    process = GatewayProcess.objects.create(name="p", started_at=now, heartbeat_at=heartbeat_at)
    fields = {"watchable_since": now - timedelta(hours=2), "started_at": now, **other}
    return SessionRecord.objects.create(
        session_id=session_id,
        user_id="ann",
        subject=subject,
        process=process,
        recorded_at=now,
        last_message_at=now,
        **fields,
    )


def ask(sub: str | None = "ann", session_id: str = SESSION_ID, **claims: Any) -> Any:
    headers: dict[str, Any] = {}
    if sub is not None:
        payload = {"sub": sub, "exp": int(time.time()) + 60, **claims}
        credential = jwt.encode(payload, SECRET, algorithm="HS256")
        headers = {"HTTP_AUTHORIZATION": f"Bearer {credential}"}
    return Client().post(f"/sessions/{session_id}/watch_tokens", **headers, **ELSEWHERE)


@pytest.mark.parametrize("spelling", [SESSION_ID, SESSION_ID.upper(), SESSION_ID.replace("-", "")])
def test_the_owner_gets_a_token_that_admits_to_the_session(spelling):
    kept = record(session_id=spelling)
    answer = ask()
    assert answer.status_code == 201, answer.content
    said = answer.json()
    assert (said["session_id"], said["user_id"], said["expires_in_s"]) == (spelling, "ann", 3_600)
    tokens = SignedWatchTokens(SignedTokens("ann\nann", kept.watchable_since.timestamp()))
    assert tokens.admits(said["token"], spelling)
    later = SignedWatchTokens(SignedTokens("ann\nann", timezone.now().timestamp()))
    assert not later.admits(said["token"], spelling), "a later session of the same id"


@pytest.mark.parametrize(
    "other",
    [
        {"subject": "eve"},
        {"subject": ""},
        {"watchable_since": None},
        {"ended_at": timezone.now()},
        {"session_id": str(uuid.uuid4())},
        {"heartbeat_at": timezone.now() - timedelta(minutes=2)},
    ],
)
def test_there_is_none_for_other_sessions(other):
    record(**other)
    answer = ask()
    assert answer.status_code == 404
    assert "allow_watchers" in answer.json()["detail"]


def test_who_does_not_say_who_it_is_gets_none():
    record()
    assert ask(None).status_code == 401
    assert ask(exp=1).status_code == 401


def test_with_auth_off_there_is_no_such_page(settings):
    settings.AUTH = False
    record(subject="")
    answer = ask(None)
    assert answer.status_code == 404
    assert "AUTH" in answer.json()["detail"]


def test_what_is_no_session_id_is_no_page():
    assert ask(session_id="nonsense").status_code == 404
