"""What holders may do, and how often."""

import time
from ipaddress import ip_network
from typing import Any

import pytest
from django.test import Client

from avatars_app.access import holder_limits
from avatars_app.access.api_keys import make_key
from avatars_app.access.holder_limits import (
    connection_charges,
    limited_address,
    session_limits,
    upload_charges,
)
from avatars_app.access.principal import Principal
from avatars_app.access.rates import Charge, RateCounter
from avatars_app.models import ApiKey, Avatar
from musetalk_site.redis.rates import RedisRates

ELSEWHERE: dict[str, Any] = {"REMOTE_ADDR": "203.0.113.9"}
ANN = Principal("ann")


@pytest.fixture(autouse=True)
def counter(monkeypatch):
    monkeypatch.setattr(holder_limits, "_spend", RateCounter().spend)


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("127.0.0.1", None),
        ("::1", None),
        ("10.1.2.3", None),
        (None, None),
        ("unix", None),
    ],
)
def test_what_an_address_counts_as(settings, address, counted):
    settings.TRUSTED_PROXIES = [ip_network("10.0.0.0/8")]
    assert limited_address(address) == counted


def test_subjects_have_limits_and_addresses_only_if_set(settings):
    assert session_limits("203.0.113.9", None) == {}
    assert session_limits("203.0.113.9", ANN) == {"subject:ann": 100}
    settings.MAX_SESSIONS_PER_ADDRESS = 3
    assert session_limits("203.0.113.9", None) == {"address:203.0.113.9": 3}
    assert session_limits("127.0.0.1", None) == {}
    settings.MAX_SESSIONS_PER_SUBJECT = 0
    assert session_limits("203.0.113.9", ANN) == {"address:203.0.113.9": 3}
    settings.MAX_CONNECTIONS_PER_ADDRESS = 7
    assert connection_charges("203.0.113.9", ANN) == [
        Charge("connections", "address:203.0.113.9", 7, 60),
        Charge("connections", "subject:ann", 120, 60),
    ]
    assert upload_charges(None, ANN) == [Charge("uploads", "subject:ann", 60, 3_600)]


def check_counting(spend):
    ann, bob = (Charge("connections", f"subject:{name}", 2, 60) for name in ("ann", "bob"))
    assert [spend([ann]) for _ in range(2)] == [None, None]
    refusal = spend([ann, bob])
    assert refusal is not None
    assert refusal.charge == ann
    assert 0 < refusal.wait_s <= 60
    assert [spend([bob]) for _ in range(2)] == [None, None], "nothing after a refusal is counted"
    assert spend([Charge("uploads", "subject:ann", 2, 60)]) is None, "each kind by itself"


def test_uses_are_counted():
    check_counting(RateCounter().spend)


def test_a_window_ends():
    counter = RateCounter()
    charge = Charge("connections", "subject:ann", 1, 1)
    assert counter.spend([charge]) is None
    refusal = counter.spend([charge])
    assert refusal is not None
    time.sleep(refusal.wait_s + 0.05)
    assert counter.spend([charge]) is None


@pytest.mark.slow
def test_uses_are_counted_in_redis_for_all_machines(redis_url):
    one, other = RedisRates(redis_url), RedisRates(redis_url)
    turns = iter([one, other] * 10)
    check_counting(lambda charges: next(turns).spend(charges))


def test_without_redis_nothing_is_counted():
    away = RedisRates("redis://127.0.0.1:1/0")
    charge = Charge("connections", "subject:ann", 1, 60)
    assert [away.spend([charge]) for _ in range(3)] == [None] * 3


@pytest.fixture
def key(settings, db):
    settings.AUTH = True
    key, prefix, digest = make_key()
    ApiKey.objects.create(name="x", prefix=prefix, digest=digest, role="operator")
    return {"HTTP_AUTHORIZATION": f"Bearer {key}", **ELSEWHERE}, f"key:{prefix}"


def test_one_upload_too_many(settings, key):
    settings.MAX_UPLOADS_PER_SUBJECT = 2
    headers, _ = key
    answers = [Client().post("/prepare_avatar/ann", **headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [400, 400, 429]
    assert 3_500 < int(answers[-1]["Retry-After"]) <= 3_600
    assert answers[-1]["Content-Type"] == "application/problem+json"
    assert Client().get("/prepare_avatar/ann", **headers).status_code == 404


def test_one_preparation_too_many(settings, key, tmp_path):
    from django.core.files.uploadedfile import SimpleUploadedFile

    settings.AVATARS_DIR = tmp_path
    settings.MAX_PREPARATIONS_PER_SUBJECT = 1
    headers, subject = key

    def send(user_id):
        film = SimpleUploadedFile("ann.mp4", b"\x00\x00\x00\x18ftypmp42" + b"\0" * 64, "video/mp4")
        return Client().post(f"/prepare_avatar/{user_id}", {"video": film}, **headers)

    assert send("ann").status_code == 202
    assert Avatar.objects.get().requested_by == subject
    refused = send("bob")
    assert (refused.status_code, refused["Retry-After"]) == (429, "30")
    assert "may wait or run: 1" in refused.json()["detail"]
    Avatar.objects.update(status=Avatar.Status.READY)
    assert send("bob").status_code == 202
