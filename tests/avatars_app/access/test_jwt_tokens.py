"""Tokens that are good, and all the ways in which they are not."""

import time
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.core.checks import run_checks

from avatars_app.access import jwt_tokens
from avatars_app.access.jwt_tokens import issue_token, read_token
from avatars_app.access.principal import AccessDenied, CredentialUnchecked, Principal, Source

SECRET = "a secret of thirty-two bytes or more"


def claims(**more: Any) -> dict[str, Any]:
    return {"sub": "ann", "exp": int(time.time()) + 60, **more}


@pytest.fixture
def shared_secret(settings):
    settings.AUTH_SECRET, settings.AUTH_PUBLIC_KEY, settings.AUTH_JWKS_URL = SECRET, "", ""
    settings.AUTH_AUDIENCE = settings.AUTH_ISSUER = ""


@pytest.fixture
def rsa_key(settings, tmp_path):
    settings.AUTH_SECRET, settings.AUTH_JWKS_URL = "", ""
    settings.AUTH_AUDIENCE = settings.AUTH_ISSUER = ""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    settings.AUTH_PUBLIC_KEY = tmp_path / "key.pem"
    settings.AUTH_PUBLIC_KEY.write_bytes(_pem(key.public_key()))
    return key


def _pem(key) -> bytes:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def signed(payload: dict[str, Any], key: Any = SECRET, algorithm: str = "HS256") -> str:
    return jwt.encode(payload, key, algorithm=algorithm)


def test_a_token_names_its_bearer(shared_secret):
    token = signed(claims(role="operator", avatars=["ann", "eve"], session_exp=5))
    assert read_token(token) == Principal(
        "ann", "operator", frozenset({"ann", "eve"}), 5, is_by_token=True
    )


def test_without_avatars_it_is_for_its_own_only(shared_secret):
    assert read_token(signed(claims())).avatars == frozenset({"ann"})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"exp": 1}, "expired"),
        ({"exp": None}, "not valid"),
        ({"sub": None}, "not valid"),
        ({"role": "king"}, "role"),
        ({"avatars": "ann"}, "avatars"),
        ({"sub": ""}, "sub"),
        ({"session_exp": "soon"}, "session_exp"),
        ({"nbf": 2**40}, "not valid"),
    ],
)
def test_claims_that_are_not_accepted(shared_secret, wrong, words):
    payload = {key: value for key, value in claims(**wrong).items() if value is not None}
    with pytest.raises(AccessDenied, match=words):
        read_token(signed(payload))


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é.é.é", "a" * 10_000])
def test_nonsense_is_no_token(shared_secret, token):
    with pytest.raises(AccessDenied):
        read_token(token)


def test_a_forged_token(shared_secret):
    with pytest.raises(AccessDenied, match="not valid"):
        read_token(signed(claims(), "another secret of thirty-two bytes"))


def test_none_is_no_algorithm(shared_secret, rsa_key):
    with pytest.raises(AccessDenied, match="not valid"):
        read_token(jwt.encode(claims(), None, algorithm="none"))


def test_audience_and_issuer(shared_secret, settings):
    settings.AUTH_AUDIENCE, settings.AUTH_ISSUER = "avatars", "https://id.example.org"
    good = claims(aud="avatars", iss="https://id.example.org")
    assert read_token(signed(good)).subject == "ann"
    for wrong in ({"aud": "mail"}, {"iss": "https://evil.example.org"}, {"aud": None}):
        payload = {k: v for k, v in {**good, **wrong}.items() if v is not None}
        with pytest.raises(AccessDenied):
            read_token(signed(payload))


def test_a_public_key_is_never_a_shared_secret(rsa_key, settings):
    assert read_token(signed(claims(), rsa_key, "RS256")).subject == "ann"
    pem = settings.AUTH_PUBLIC_KEY.read_bytes()
    # The library refuses to sign so; an attacker does not use it.
    import base64
    import hashlib
    import hmac
    import json

    def part(value: Any) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    body = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(claims())
    mac = base64.urlsafe_b64encode(hmac.digest(pem, body, hashlib.sha256)).rstrip(b"=")
    with pytest.raises(AccessDenied, match="not valid"):
        read_token((body + b"." + mac).decode())


def test_each_key_has_its_own_algorithm(settings, tmp_path):
    settings.AUTH_SECRET, settings.AUTH_JWKS_URL = "", ""
    settings.AUTH_AUDIENCE = settings.AUTH_ISSUER = ""
    key = ec.generate_private_key(ec.SECP256R1())
    settings.AUTH_PUBLIC_KEY = tmp_path / "ec.pem"
    settings.AUTH_PUBLIC_KEY.write_bytes(_pem(key.public_key()))
    assert read_token(signed(claims(), key, "ES256")).subject == "ann"
    other = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(AccessDenied, match="not valid"):
        read_token(signed(claims(), other, "ES256"))


def _jwk(key: rsa.RSAPrivateKey, kid: str) -> dict[str, Any]:
    entry: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return entry | {"kid": kid, "alg": "RS256", "use": "sig"}


def test_tokens_for_other_services_are_warned_of(settings):
    def said() -> list[str | None]:
        found = run_checks(tags=["security"], include_deployment_checks=True)
        return [each.id for each in found if each.id == "avatars.W003"]

    settings.AUTH, settings.AUTH_AUDIENCE = True, ""
    settings.AUTH_JWKS_URL = "https://id.example.org/keys"
    assert said() == ["avatars.W003"]
    settings.AUTH_AUDIENCE = "avatar"
    assert said() == []
    settings.AUTH_AUDIENCE, settings.AUTH_JWKS_URL = "", ""
    assert said() == []


def test_a_key_set(settings, monkeypatch, rsa_key):
    settings.AUTH_PUBLIC_KEY, settings.AUTH_JWKS_URL = "", "https://id.example.org/keys"
    entry = _jwk(rsa_key, "1")
    monkeypatch.setattr(jwt.PyJWKClient, "fetch_data", lambda self: {"keys": [entry]})
    jwt_tokens._jwks.cache_clear()
    token = jwt.encode(claims(), rsa_key, algorithm="RS256", headers={"kid": "1"})
    assert read_token(token).subject == "ann"
    unknown = jwt.encode(claims(), rsa_key, algorithm="RS256", headers={"kid": "2"})
    with pytest.raises(AccessDenied, match="not valid"):
        read_token(unknown)
    with pytest.raises(AccessDenied, match="not valid"):
        read_token(signed(claims()))


def test_a_key_that_its_provider_withdrew(settings, monkeypatch, rsa_key):
    settings.AUTH_PUBLIC_KEY, settings.AUTH_JWKS_URL = "", "https://id.example.org/keys"
    entries = [_jwk(rsa_key, "old"), _jwk(rsa_key, "new")]
    monkeypatch.setattr(jwt.PyJWKClient, "fetch_data", lambda self: {"keys": entries})
    monkeypatch.setattr(jwt_tokens, "JWKS_KEPT_S", 0.05)
    jwt_tokens._jwks.cache_clear()
    token = jwt.encode(claims(), rsa_key, algorithm="RS256", headers={"kid": "old"})
    assert read_token(token).subject == "ann"
    del entries[0]
    time.sleep(0.1)
    with pytest.raises(AccessDenied, match="not valid"):
        read_token(token)
    jwt_tokens._jwks.cache_clear()


def test_a_provider_that_cannot_be_reached(settings, monkeypatch, rsa_key):
    settings.AUTH_PUBLIC_KEY, settings.AUTH_JWKS_URL = "", "https://gone.example.org/keys"

    def away(self):
        raise jwt.PyJWKClientConnectionError("no route")

    monkeypatch.setattr(jwt.PyJWKClient, "fetch_data", away)
    jwt_tokens._jwks.cache_clear()
    with pytest.raises(CredentialUnchecked, match="cannot be fetched"):
        read_token(jwt.encode(claims(), rsa_key, algorithm="RS256", headers={"kid": "1"}))


def test_tokens_of_our_own(settings):
    settings.AUTH_SECRET = settings.AUTH_PUBLIC_KEY = settings.AUTH_JWKS_URL = ""
    principal = Principal("key:1/ann", "viewer", frozenset({"ann"}), source=Source("key", 7))
    read = read_token(issue_token(principal, lifetime_s=60))
    assert read == replace(principal, is_by_token=True)
    everybody = Principal("user:1", "operator", None)
    assert read_token(issue_token(everybody, lifetime_s=60)).avatars is None
    with pytest.raises(AccessDenied, match="accepts no tokens of others"):
        read_token(signed(claims()))


def test_a_provider_cannot_make_tokens_of_ours(shared_secret):
    for audience in ("talking-avatar/stream", None):
        payload = claims(iss="talking-avatar", any_avatar=True, source=["user", 1])
        if audience:
            payload["aud"] = audience
        with pytest.raises(AccessDenied, match="not valid"):
            read_token(signed(payload))
