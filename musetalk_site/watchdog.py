"""A thread that ends a process whose event loop no longer runs.

A process that hangs looks alive to whatever supervises it. Once its loop has not run for
`LIMIT_S`, the watchdog writes the stacks of all threads to standard error and ends the process with
`EXIT_STATUS`, so that another is started.
"""

import asyncio
import faulthandler
import os
import sys
import threading

LIMIT_S = 10.0
BEAT_S = 1.0
CHECKS = 10
"""How many checks in a row must find the loop standing still.

They are counted, not timed: a process that was stopped as a whole, a container that was paused,
finds at most one when it continues.
"""

EXIT_STATUS = os.EX_SOFTWARE


class Watchdog:
    """Watches the running event loop, from `start` to `stop`."""

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        """``limit_s``: how long the loop may stand still."""
        self._limit_s = limit_s
        self._beats = 0
        self._is_over = threading.Event()
        self._beating: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Watch the running loop from now on."""
        self._loop = asyncio.get_running_loop()
        self._beat()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stop, because the loop is about to end and may stand still. Called in the loop."""
        self._is_over.set()
        if self._beating is not None:
            self._beating.cancel()

    def _beat(self) -> None:
        self._beats += 1
        self._beating = self._loop.call_later(min(BEAT_S, self._limit_s / CHECKS), self._beat)

    def _watch(self) -> None:
        seen, missed = 0, 0
        while not self._is_over.wait(self._limit_s / CHECKS):
            missed = missed + 1 if self._beats == seen else 0
            seen = self._beats
            if missed >= CHECKS:
                self._end_process()

    def _end_process(self) -> None:
        # Not by logging: a thread that hangs may hold its locks.
        os.write(
            sys.stderr.fileno(),
            f"watchdog: the event loop has not run for {self._limit_s:g} s; the process ends "
            f"with status {EXIT_STATUS}. The stacks of all threads:\n".encode(),
        )
        faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
        os._exit(EXIT_STATUS)
