"""WebKitGTK's MiniBrowser, by WebDriver: https://www.w3.org/TR/webdriver2/"""

import json
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.browsers.program import is_open, program, sign_of_life
from benchmarks.browsers.tab import ANSWER_S, CALL, BrowserFailed, PollingTab
from benchmarks.server import free_port

SCREEN = "1400x1000x24"
PLACES = ("usr/lib/*/webkit2gtk-4.1/MiniBrowser", "usr/libexec/webkit2gtk-4.1/MiniBrowser")


class WebKitTab(PollingTab):
    def __init__(self, address: str) -> None:
        self._address = address

    def goto(self, url: str) -> None:
        self._tell("/url", url=url)

    def evaluate(self, expression: str, arg: Any = None) -> Any:
        script = (
            "const [argument, done] = arguments;"
            f"({CALL.format(expression=expression)})(argument)"
            ".then((value) => done({ value }), (error) => done({ error: String(error) }));"
        )
        answer = self._tell("/execute/async", script=script, args=[json.dumps(arg)])
        if "error" in answer:
            raise BrowserFailed(answer["error"])
        return json.loads(answer["value"])

    def click(self, selector: str) -> None:
        element = self._tell("/element", using="css selector", value=selector)
        self._tell(f"/element/{next(iter(element.values()))}/click")

    def _tell(self, path: str, **what: Any) -> Any:
        return tell(self._address + path, what)


class WebKit:
    """MiniBrowser, started for each tab: automation keeps nothing."""

    name = "WebKitGTK"

    def __init__(self, mini_browser: str, environment: dict[str, str]) -> None:
        self._options = {"binary": mini_browser, "args": ["--automation"]}
        self._environment = environment
        self.version = ""

    @contextmanager
    def tab(self) -> Iterator[WebKitTab]:
        port = free_port()
        with program(["WebKitWebDriver", f"--port={port}"], self._environment) as driver:
            sign_of_life(driver, lambda: is_open(port))
            wanted = {"alwaysMatch": {"webkitgtk:browserOptions": self._options}}
            address = f"http://127.0.0.1:{port}/session"
            session = tell(address, {"capabilities": wanted})
            self.version = session["capabilities"]["browserVersion"]
            yield WebKitTab(f"{address}/{session['sessionId']}")


def tell(address: str, what: dict[str, Any]) -> Any:
    """Send a command; returns its value. BrowserFailed, or TimeoutError if none comes."""
    request = urllib.request.Request(
        address, data=json.dumps(what).encode(), headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise BrowserFailed(f"{address}: {error.read().decode()}") from None


def find_webkit() -> str | None:
    """WebKitGTK's MiniBrowser, if its driver and a screen for it are there as well."""
    has_screen = "DISPLAY" in os.environ or shutil.which("Xvfb")
    if not shutil.which("WebKitWebDriver") or not has_screen:
        return None
    return next((str(path) for place in PLACES for path in Path("/").glob(place)), None)


@contextmanager
def webkit(mini_browser: str) -> Iterator[WebKit]:
    """WebKitGTK, on a screen that nobody sees if there is no other."""
    with ExitStack() as stack:
        home = stack.enter_context(TemporaryDirectory(ignore_cleanup_errors=True))
        environment = {**os.environ, "HOME": home}
        if "DISPLAY" not in environment:
            environment["DISPLAY"] = stack.enter_context(_screen(environment))
        yield WebKit(mini_browser, environment)


@contextmanager
def _screen(environment: dict[str, str]) -> Iterator[str]:
    """Yield an X server that draws into memory; yields its name."""
    read, write = os.pipe()
    arguments = ["Xvfb", "-displayfd", str(write), "-screen", "0", SCREEN]
    with program(arguments, environment, keeps=[write]), os.fdopen(read) as number:
        os.close(write)
        yield f":{number.readline().strip()}"
