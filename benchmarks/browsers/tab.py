"""What all browsers are asked for: a page to open, to click in, and to evaluate in."""

import threading
import time
from contextlib import AbstractContextManager
from typing import Any, Protocol

ANSWER_S = 30.0
POLL_S = 0.05

# What Playwright does: an expression that is a function is called. JSON carries both ways.
CALL = """async (argument) => {{
  const found = ({expression});
  const value = await (typeof found === "function" ? found(JSON.parse(argument)) : found);
  return JSON.stringify(value) ?? "null";
}}"""


class BrowserFailed(Exception):
    """The browser did not do the command, with what it says about it."""


class Tab(Protocol):
    """What a page offers; Playwright's `Page` does too. Times in ms."""

    def goto(self, url: str) -> object: ...
    def evaluate(self, expression: str, arg: Any = None) -> Any: ...
    def wait_for_function(self, expression: str, *, timeout: float | None = None) -> object: ...
    def wait_for_timeout(self, timeout: float) -> None: ...
    def click(self, selector: str) -> None: ...


class Browser(Protocol):
    """``name`` and ``version`` for reports; each tab has storage and cache of its own."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    def tab(self) -> AbstractContextManager[Tab]: ...


class PollingTab:
    """What a tab can do by evaluating repeatedly."""

    def evaluate(self, expression: str, arg: Any = None) -> Any:
        raise NotImplementedError

    def wait_for_function(self, expression: str, *, timeout: float | None = None) -> None:
        """TimeoutError if it never comes true."""
        until_s = time.monotonic() + (ANSWER_S if timeout is None else timeout / 1_000)
        while not self.evaluate(expression):
            if time.monotonic() > until_s:
                raise TimeoutError(f"never came true: {expression}")
            self.wait_for_timeout(POLL_S * 1_000)

    def wait_for_timeout(self, timeout: float) -> None:
        threading.Event().wait(timeout / 1_000)
