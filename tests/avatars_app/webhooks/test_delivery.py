"""One request, to a real HTTPS server."""

import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from avatars_app.webhooks import delivery
from avatars_app.webhooks.delivery import NotDelivered, Target, body_of, deliver, headers_of
from tests.certificates import Certificate
from tests.webhook_receiver import Receiver, receiving

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = uuid.UUID(int=7)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Certificate:
    return Certificate.make(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def receiver(certificate: Certificate, monkeypatch) -> Iterator[Receiver]:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.chain))
    with receiving(certificate) as server:
        yield server


def send(url: str, *, allow_private: bool = True) -> int:
    body = body_of("session.ended", datetime(2026, 1, 2, tzinfo=UTC), {"user_id": "añn"})
    headers = headers_of(ID, body, SECRET, datetime.now(UTC))
    return deliver(Target(url, SECRET, allow_private), body, headers)


def test_the_receiver_can_verify_what_it_is_sent(receiver):
    assert send(receiver.url) == 204
    [(path, headers, body)] = receiver.came
    assert path == "/hook?a=b"
    assert headers["webhook-id"] == f"msg_{ID.hex}"
    assert Webhook(SECRET).verify(body, headers) == {
        "type": "session.ended",
        "timestamp": "2026-01-02T00:00:00Z",
        "data": {"user_id": "añn"},
    }
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body.replace("ended", "other"), headers)


def test_the_signature_is_the_standard_s():
    """The example of the specification."""
    headers = headers_of(uuid.UUID(int=0), "{}", SECRET, datetime.fromtimestamp(1_614_265_330, UTC))
    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["webhook-signature"].startswith("v1,")
    old = datetime.now(UTC) - timedelta(minutes=6)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify("{}", headers_of(ID, "{}", SECRET, old))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(receiver, status):
    receiver.status = status
    with pytest.raises(NotDelivered, match="not followed"):
        send(receiver.url)
    assert len(receiver.came) == 1


@pytest.mark.parametrize("status", [400, 410, 500])
def test_other_answers_are_failures(receiver, status):
    receiver.status = status
    with pytest.raises(NotDelivered, match=str(status)):
        send(receiver.url)


def test_this_machine_is_no_target_unless_a_setting_says_so(receiver):
    with pytest.raises(NotDelivered, match="WEBHOOK_PRIVATE_TARGETS"):
        send(receiver.url, allow_private=False)
    assert receiver.came == []


def test_a_receiver_that_never_ends_its_answer(receiver, monkeypatch):
    monkeypatch.setattr(delivery, "WITHIN_S", 0.5)
    receiver.delay_s = 5
    began_s = time.monotonic()
    with pytest.raises(NotDelivered, match=r"no answer within 0\.5 s"):
        send(receiver.url)
    assert time.monotonic() - began_s < 3


def test_a_certificate_that_nobody_trusts(receiver, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(NotDelivered, match="certificate verify failed"):
        send(receiver.url)
    assert receiver.came == []


def test_nothing_goes_over_plain_http():
    with pytest.raises(NotDelivered, match="https"):
        send("http://localhost:1/")


def test_a_name_that_changes_is_connected_where_it_was_judged(receiver, monkeypatch):
    monkeypatch.setattr(delivery, "resolve", lambda host, port, **kwargs: ["127.0.0.1"])
    port = receiver.server_port
    with pytest.raises(NotDelivered, match="Hostname mismatch"):  # TLS asks for the name
        send(f"https://elsewhere.invalid:{port}/")
    assert send(f"https://localhost:{port}/") == 204


def test_the_body_is_json():
    body = json.loads(body_of("avatar.ready", datetime.now(UTC), {"user_id": "ann"}))
    assert body["data"] == {"user_id": "ann"}
