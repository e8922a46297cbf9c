import pytest

from streaming.gateway.origins import OriginGuard


async def is_let_in(
    allowed: list[str], *headers: tuple[bytes, bytes], hosts: tuple[str, ...] = ("*",)
) -> bool:
    entered = []

    async def application(scope, receive, send):
        entered.append(scope)

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        assert message == {"type": "websocket.close"}

    await OriginGuard(application, allowed, hosts)({"headers": list(headers)}, receive, send)
    return bool(entered)


def page(origin: str, host: str = "avatar.example:8000") -> list[tuple[bytes, bytes]]:
    return [(b"host", host.encode("latin1")), (b"origin", origin.encode("latin1"))]


@pytest.mark.parametrize("allowed", [[], ["*"], ["https://app.example"]])
async def test_who_is_no_browser_is_let_in(allowed):
    assert await is_let_in(allowed, (b"host", b"avatar.example"))
    assert await is_let_in(allowed)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://avatar.example:8000", "avatar.example:8000"),
        ("HTTP://Avatar.Example:8000", "avatar.example:8000"),
        ("http://avatar.example", "avatar.example"),
        ("http://avatar.example", "avatar.example:80"),
        ("https://avatar.example", "avatar.example"),
        ("https://avatar.example", "avatar.example:443"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
async def test_a_page_of_this_host_is_let_in(origin, host):
    assert await is_let_in([], *page(origin, host))


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.example", "avatar.example"),
        ("http://avatar.example:8001", "avatar.example:8000"),
        ("http://avatar.example.evil.example", "avatar.example"),
        ("http://avatar.example@evil.example", "avatar.example"),
        ("https://avatar.example", "avatar.example:80"),
        ("null", "avatar.example"),
        ("", ""),
        ("http://", ""),
        ("http://avatar.example:x", "avatar.example"),
        ("http://[", "["),
        ("\xff", "\xff"),
    ],
)
async def test_other_pages_are_refused(origin, host):
    assert not await is_let_in([], *page(origin, host))
    assert not await is_let_in(["https://app.example"], *page(origin, host))
    assert await is_let_in(["*"], *page(origin, host))


async def test_allowed_origins_are_let_in():
    allowed = ["https://app.example/", "http://localhost:3000"]
    assert await is_let_in(allowed, *page("https://app.example"))
    assert await is_let_in(allowed, *page("HTTP://LOCALHOST:3000"))
    assert not await is_let_in(allowed, *page("http://app.example"))
    assert not await is_let_in(allowed, *page("https://app.example:8443"))


async def test_of_two_origins_both_must_be_allowed():
    both = [*page("https://app.example"), (b"origin", b"http://evil.example")]
    assert not await is_let_in(["https://app.example"], *both)


@pytest.mark.parametrize("origin", ["null", "file://"])
async def test_pages_without_a_host_follow_the_setting(origin):
    assert await is_let_in(["*"], *page(origin))
    assert await is_let_in([origin], *page(origin))
    assert not await is_let_in(["https://app.example"], *page(origin))


async def test_the_host_must_be_an_allowed_one():
    hosts = ("avatar.example", ".example.org")
    for host in ("avatar.example", "avatar.example:8107", "a.example.org"):
        assert await is_let_in(["*"], (b"host", host.encode()), hosts=hosts)
    rebound = "evil.example:8107"
    assert not await is_let_in([], *page(f"http://{rebound}", rebound), hosts=hosts)
    assert not await is_let_in(["*"], hosts=hosts)
