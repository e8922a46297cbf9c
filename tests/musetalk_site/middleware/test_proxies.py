"""Clients as trusted proxies saw them, and nobody else's word for it."""

import logging
from ipaddress import ip_network
from typing import Any

import pytest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from avatars_app.permissions import is_local
from musetalk_site.middleware.proxies import TrustedProxies

STRANGER = "203.0.113.9"
OUTER, INNER = "10.0.0.2", "127.0.0.1"


async def seen(
    peer: str | None,
    headers: dict[str, str] | list[tuple[str, str]],
    *,
    trusted: tuple[str, ...] = (INNER, "10.0.0.0/8"),
    kind: str = "http",
) -> tuple[str | None, str]:
    """The client and the scheme that an application is shown."""
    scopes: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    lines = list(headers.items()) if isinstance(headers, dict) else headers
    scope = {
        "type": kind,
        "client": None if peer is None else [peer, 40_000],
        "scheme": "http" if kind == "http" else "ws",
        "headers": [(name.lower().encode(), value.encode("latin1")) for name, value in lines],
    }
    await TrustedProxies(application, map(ip_network, trusted))(scope, None, None)
    client = scopes[0]["client"]
    return client and client[0], scopes[0]["scheme"]


FORWARDED = {"X-Forwarded-For": STRANGER, "X-Forwarded-Proto": "https"}


async def test_a_trusted_proxy_is_believed():
    assert await seen(INNER, FORWARDED) == (STRANGER, "https")
    assert await seen(f"::ffff:{INNER}", FORWARDED) == (STRANGER, "https")
    assert await seen(INNER, FORWARDED, kind="websocket") == (STRANGER, "wss")
    assert await seen(INNER, {**FORWARDED, "X-Forwarded-Proto": "http"}) == (STRANGER, "http")
    assert await seen(INNER, {"X-Forwarded-For": STRANGER}) == (STRANGER, "http")


@pytest.mark.parametrize("peer", ["192.168.0.7", STRANGER, "::1"])
async def test_nobody_else_is(peer: str):
    lie = {"X-Forwarded-For": INNER, "X-Forwarded-Proto": "https"}
    assert await seen(peer, lie) == (peer, "http")
    assert await seen(INNER, lie, trusted=()) == (INNER, "http")


async def test_what_stands_before_the_last_stranger_may_be_made_up():
    for chain in (
        f"{INNER}, {STRANGER}",
        f"198.51.100.1, {STRANGER}, {OUTER}",
        f"{STRANGER},{OUTER},{INNER}",
        f"{INNER}, nonsense, {STRANGER}",
    ):
        assert (await seen(INNER, {"X-Forwarded-For": chain}))[0] == STRANGER
    lines = [("X-Forwarded-For", INNER), ("X-Forwarded-For", STRANGER)]
    assert (await seen(INNER, lines))[0] == STRANGER


@pytest.mark.parametrize("headers", [{}, {"X-Forwarded-For": ""}, {"X-Forwarded-For": "unknown"}])
async def test_a_client_that_the_proxy_does_not_name_has_no_address(headers: dict[str, str]):
    assert await seen(INNER, headers) == (None, "http")


@pytest.mark.parametrize(("trusted", "is_from_here"), [((), True), ((INNER,), False)])
@pytest.mark.parametrize("lie", [{}, {"X-Forwarded-For": INNER}])
async def test_behind_a_tunnel_that_adds_nothing_nobody_is_local_once_it_is_named(
    trusted: tuple[str, ...], is_from_here: bool, lie: dict[str, str]
):
    """As socat's or ssh's: from outside, asked for as if from here."""
    client, _ = await seen(INNER, lie, trusted=trusted)
    request = RequestFactory().post("/", REMOTE_ADDR=client or "", headers=lie)
    assert is_local(request) is (is_from_here and not lie)


async def test_a_client_among_the_proxies_is_the_first_of_them():
    assert await seen(INNER, {"X-Forwarded-For": OUTER}) == (OUTER, "http")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("203.0.113.9:5123", STRANGER),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        (f"::ffff:{STRANGER}", STRANGER),
    ],
)
async def test_the_ways_to_write_an_address(text: str, address: str):
    assert (await seen(INNER, {"X-Forwarded-For": text}))[0] == address


async def test_a_connection_without_an_address_is_left_alone():
    assert await seen(None, FORWARDED) == (None, "http")


@given(st.text(st.characters(max_codepoint=255)))
async def test_a_stranger_cannot_choose_who_they_are(made_up: str):
    headers = {"X-Forwarded-For": f"{made_up},{STRANGER}", "X-Forwarded-Proto": f"{made_up},http"}
    assert await seen(INNER, headers) == (STRANGER, "http")


async def test_a_proxy_that_was_forgotten_is_reported_of_once(caplog):
    proxy = TrustedProxies(_nothing, ())
    headers = [(b"x-forwarded-for", b"203.0.113.9")]
    with caplog.at_level(logging.WARNING):
        for peer in (INNER, INNER, "192.168.0.7", "8.8.8.8"):
            await proxy({"type": "http", "client": [peer, 1], "headers": headers}, None, None)
    assert [str(record.args[0]) for record in caplog.records] == [INNER, "192.168.0.7"]
    assert "TRUSTED_PROXIES" in caplog.text


async def test_work_on_the_channel_layer_passes():
    reached: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope)

    scope = {"type": "channel", "channel": "inference"}
    await TrustedProxies(application, [])(scope, None, None)
    assert reached == [scope]


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    """An application that does nothing."""
