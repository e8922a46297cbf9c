"""The Content-Security-Policy of every page, in Chromium: nothing breaks, and nothing gets in."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from benchmarks.studio_page import find_chromium
from tests.e2e.conftest import ADMINISTRATOR, Serve

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_chromium() is None, reason="needs Chromium: install Debian's package chromium"
    ),
]

WAIT_MS = 60_000

# What each page shows once its scripts have run.
PAGES = {
    "/": "#status:has-text('Live')",
    "/protocol": "article#INIT",
    "/docs": ".swagger-ui .opblock-tag, .swagger-ui .opblock",
    "/redoc": ".redoc-wrap h1",
    "/health": ".response-info",
    "/avatars": ".response-info",
    "/nowhere": "main.error h1",
    "/admin/": "#content h1",
    "/admin/streaming/sessionrecord/": "#changelist",
    "/admin/streaming/sessionrecord/usage/": "#content h1",
    "/admin/streaming/gatewayprocess/": "#changelist",
    "/admin/avatars_app/avatar/add/": "#avatar_form",
    "/admin/auth/user/add/": "#user_form",
}

WATCH = """
  globalThis.violations = [];
  document.addEventListener("securitypolicyviolation", event =>
    violations.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sample}`));
"""
INJECT = """() => {
  const script = document.createElement("script");
  script.textContent = "globalThis.ran = 'element'";
  document.body.append(script);
  const far = document.createElement("script");
  far.src = "data:text/javascript,globalThis.ran = 'address'";
  document.body.append(far);
  const image = document.createElement("div");
  image.innerHTML = "<img src='/nowhere' onerror='globalThis.ran = \\"handler\\"'>";
  document.body.append(image);
  return new Promise(resolve => setTimeout(() => resolve(globalThis.ran ?? "nothing"), 500));
}"""


@pytest.fixture(scope="module")
def address(share: Serve, administrated: str) -> str:
    """Of a server with an administrator."""
    return share(DATABASE_URL=administrated).origin


@pytest.fixture(scope="module")
def context(browser: Browser, address: str) -> Iterator[BrowserContext]:
    """A browser whose user is logged in to the admin."""
    context = browser.new_context(base_url=address)
    context.set_default_timeout(WAIT_MS)
    context.add_init_script(WATCH)
    page = context.new_page()
    page.goto("/admin/login/")
    page.fill("#id_username", ADMINISTRATOR[0])
    page.fill("#id_password", ADMINISTRATOR[1])
    page.click("input[type=submit]")
    expect(page.locator("#site-name")).to_be_visible()
    page.close()
    yield context
    context.close()


def violations(page: Page) -> list[str]:
    """What was blocked so far."""
    found: list[str] = page.evaluate("violations")
    return found


@pytest.mark.parametrize("path", PAGES)
def test_no_page_breaks_and_none_runs_what_was_written_into_it(
    context: BrowserContext, path: str
) -> None:
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(path, wait_until="domcontentloaded")
    expect(page.locator(PAGES[path]).first).to_be_visible(timeout=WAIT_MS)
    page.wait_for_timeout(500)
    assert violations(page) == []
    assert faults == []
    assert page.evaluate(INJECT) == "nothing"
    assert len(violations(page)) >= 3
    page.close()


def test_swagger_ui_calls_the_api(context: BrowserContext) -> None:
    page = context.new_page()
    page.goto("/docs")
    page.locator("#operations-health-health_retrieve").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    status = page.locator(".live-responses-table td.response-col_status:not(.col_header)")
    expect(status).to_have_text("200", timeout=WAIT_MS)
    assert violations(page) == []


def test_an_admin_page_with_a_calendar_works(context: BrowserContext) -> None:
    page = context.new_page()
    page.goto("/admin/auth/user/1/change/", wait_until="domcontentloaded")
    page.locator(".datetimeshortcuts a").first.click()
    assert violations(page) == []


def test_the_table_of_sessions_fits_its_window(context: BrowserContext) -> None:
    streaming, staff = context.new_page(), context.new_page()
    streaming.goto(f"/?avatar={'w' * 64}")
    expect(streaming.locator(PAGES["/"].split(":")[0])).to_have_text("Live", timeout=WAIT_MS)
    staff.set_viewport_size({"width": 1280, "height": 800})
    staff.goto("/admin/streaming/sessionrecord/")
    expect(staff.locator("#result_list tbody tr").first).to_be_visible()
    hidden = "table => table.scrollWidth - table.parentElement.clientWidth"
    assert staff.locator("#result_list").evaluate(hidden) <= 0
    for page in (streaming, staff):
        page.close()
