"""Firefox, by WebDriver BiDi: https://www.w3.org/TR/webdriver-bidi/"""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from websockets.sync.client import connect
from websockets.sync.connection import Connection

from benchmarks.browsers.program import program, sign_of_life
from benchmarks.browsers.tab import ANSWER_S, CALL, BrowserFailed, PollingTab


class FirefoxTab(PollingTab):
    def __init__(self, browser: "Firefox", context: str) -> None:
        self._browser = browser
        self._context = context

    def goto(self, url: str) -> None:
        self._browser.tell("browsingContext.navigate", context=self._context, url=url, wait="none")

    def evaluate(self, expression: str, arg: Any = None) -> Any:
        answer = self._browser.tell(
            "script.callFunction",
            target={"context": self._context},
            functionDeclaration=CALL.format(expression=expression),
            arguments=[{"type": "string", "value": json.dumps(arg)}],
            awaitPromise=True,
        )
        if answer["type"] == "exception":
            raise BrowserFailed(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    def click(self, selector: str) -> None:
        x, y = self.evaluate(
            """selector => {
              const element = document.querySelector(selector);
              element.scrollIntoView({ block: "center" });
              const { x, y, width, height } = element.getBoundingClientRect();
              return [Math.round(x + width / 2), Math.round(y + height / 2)];
            }""",
            selector,
        )
        steps = [
            {"type": "pointerMove", "x": x, "y": y},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        mouse = {"type": "pointer", "id": "mouse", "actions": steps}
        self._browser.tell("input.performActions", context=self._context, actions=[mouse])


class Firefox:
    """A headless Firefox, under way."""

    name = "Firefox"

    def __init__(self, socket: Connection) -> None:
        self._socket = socket
        self._asked = 0
        self.version: str = self.tell("session.new", capabilities={})["capabilities"][
            "browserVersion"
        ]

    def tell(self, method: str, **params: Any) -> Any:
        """Send a command; returns its result. BrowserFailed, or TimeoutError if none comes."""
        self._asked += 1
        self._socket.send(json.dumps({"id": self._asked, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(timeout=ANSWER_S))
            if answer.get("id") != self._asked:
                continue
            if answer["type"] == "error":
                raise BrowserFailed(f"{method}: {answer['message']}")
            return answer["result"]

    @contextmanager
    def tab(self) -> Iterator[FirefoxTab]:
        """Yield a tab with storage and cache of its own."""
        user = self.tell("browser.createUserContext")["userContext"]
        context = self.tell("browsingContext.create", type="tab", userContext=user)["context"]
        yield FirefoxTab(self, context)
        self.tell("browser.removeUserContext", userContext=user)


def find_firefox() -> str | None:
    """Return the Firefox of this machine; None if there is none."""
    return shutil.which("firefox-esr") or shutil.which("firefox")


@contextmanager
def firefox(executable: str, preferences: Mapping[str, object] | None = None) -> Iterator[Firefox]:
    """Yield a headless Firefox with an empty profile. ``preferences`` as in about:config."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        chosen = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});"
            for name, value in (preferences or {}).items()
        ]
        (Path(profile) / "user.js").write_text("\n".join(chosen))
        output = Path(profile) / "output"
        arguments = [executable, "--headless", "--no-remote", "--profile", profile]
        with (
            output.open("w") as says,
            program(
                [*arguments, "--remote-debugging-port", "0"],
                {**os.environ, "HOME": profile},
                says=says,
            ) as process,
        ):
            address = sign_of_life(
                process, lambda: re.search(r"ws://[^\s/]+", output.read_text(errors="replace"))
            )
            with connect(f"{address[0]}/session", max_size=None) as socket:
                yield Firefox(socket)
