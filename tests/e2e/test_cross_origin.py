"""What real Chromium lets a page of another origin do, and a page behind an HTTPS proxy."""

import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from benchmarks.studio_page import find_chromium
from tests.e2e import https_proxy
from tests.e2e.conftest import Serve
from tests.e2e.talking import Server
from tests.test_readme import blocks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_chromium() is None, reason="needs Chromium: install Debian's package chromium"
    ),
]

FETCH = """async ([address, method]) => {
    try {
        const answer = await fetch(address, {method});
        return [answer.status, (await answer.text()).slice(0, 1)];
    } catch (error) {
        return error.name;
    }
}"""
SUBMIT = """address => {
    const form = document.createElement("form");
    Object.assign(form, {method: "POST", action: address, enctype: "multipart/form-data"});
    form.append(Object.assign(document.createElement("input"), {name: "video", value: "x"}));
    document.body.append(form);
    form.submit();
}"""


class EmptyPage(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title><body>")

    def log_message(self, *_: object) -> None:
        """To nobody."""


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(ignore_https_errors=True)
    context.set_default_timeout(15_000)
    yield context
    context.close()


@pytest.fixture
def elsewhere(context: BrowserContext) -> Iterator[Page]:
    """A page of another origin."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), EmptyPage) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = context.new_page()
        page.goto(f"http://localhost:{server.server_port}/")
        yield page
        server.shutdown()


def origin_of(page: Page) -> str:
    return page.url.rstrip("/")


def ask(page: Page, address: str, method: str = "GET") -> object:
    return page.evaluate(FETCH, [address, method])


def test_any_page_reads_and_none_changes_anything(server: Server, elsewhere: Page) -> None:
    address = f"http://localhost:{server.port}"
    assert ask(elsewhere, f"{address}/health") == [200, "{"]
    assert ask(elsewhere, f"{address}/prepare_avatar/ann", "DELETE") == [403, "{"]
    assert ask(elsewhere, f"{address}/admin/login/") == "TypeError"
    with elsewhere.expect_navigation() as answered:
        elsewhere.evaluate(SUBMIT, f"{address}/prepare_avatar/ann")
    assert answered.value.status == 403


@pytest.mark.lasting
def test_a_page_that_is_named_may_do_what_this_machine_may(serve: Serve, elsewhere: Page) -> None:
    server = serve(CORS_ORIGINS=origin_of(elsewhere))
    address = f"http://localhost:{server.port}"
    assert ask(elsewhere, f"{address}/health") == [200, "{"]
    assert ask(elsewhere, f"{address}/prepare_avatar/nobody", "DELETE") == [404, "{"]


def test_a_page_that_is_not_named_reads_nothing(share: Serve, elsewhere: Page) -> None:
    server = share(CORS_ORIGINS="https://app.example")
    for path in ("/health", "/sessions", "/avatars"):
        assert ask(elsewhere, f"http://localhost:{server.port}{path}") == "TypeError"


@pytest.mark.parametrize(
    ("origins", "is_shown"), [("*", True), ("null", True), ("https://app.example", False)]
)
def test_the_readme_s_page_opened_from_disk(
    share: Serve, context: BrowserContext, tmp_path: Path, origins: str, is_shown: bool
) -> None:
    """Browsers say of such a page that its origin is null."""
    server = share(CORS_ORIGINS=origins)
    (html,) = blocks("html")
    file = tmp_path / "page.html"
    file.write_text(html.replace("localhost:8000", f"localhost:{server.port}"))
    page = context.new_page()
    page.goto(file.as_uri())
    element = page.locator("talking-avatar")
    if is_shown:
        expect(element).to_have_attribute("data-status", "live")
    else:
        server.process.wait_for("refused a stream to a page of 'null'")
        expect(element).not_to_have_attribute("data-status", "live")


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_the_studio_behind_a_proxy(serve: Serve, context: BrowserContext, tmp_path: Path) -> None:
    server = serve(TRUSTED_PROXIES="127.0.0.1", CORS_ORIGINS="https://app.example")
    certificate = https_proxy.Certificate.make(tmp_path)
    proxy = https_proxy.nginx(tmp_path / "nginx", certificate, server.port)
    try:
        page = context.new_page()
        with page.expect_websocket() as opened:
            page.goto(f"{proxy.origin}/")
        assert opened.value.url.startswith(f"wss://localhost:{proxy.port}/musetalk/v1/ws/")
        expect(page.locator("#status")).to_contain_text("Live", timeout=15_000)
        page.goto(f"{proxy.origin}/docs")
        expect(page.locator("body")).to_contain_text("/prepare_avatar/{user_id}", timeout=15_000)
    finally:
        proxy.stop()
