"""Preparing clips beside the stream, in a thread of its own, those in use first."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from inference.engines.musetalk.avatar import MuseTalkAvatar

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One clip to prepare; ``prepare`` does it and adds it to the avatar."""

    avatar: MuseTalkAvatar
    clip: str
    prepare: Callable[[], None]


class BackgroundPreparation:
    """A queue of clips and one daemon thread that lives while there are any."""

    def __init__(self) -> None:
        self._tasks: deque[Task] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, tasks: list[Task]) -> None:
        """Queue them, in order."""
        with self._lock:
            self._tasks.extend(tasks)
            if self._thread is None and self._tasks:
                self._thread = threading.Thread(
                    target=self._run, name="musetalk-preparation", daemon=True
                )
                self._thread.start()

    def hurry(self, avatar: MuseTalkAvatar, clip: str) -> None:
        """This clip is being shown: prepare it next."""
        with self._lock:
            for task in self._tasks:
                if task.avatar is avatar and task.clip == clip:
                    self._tasks.remove(task)
                    self._tasks.appendleft(task)
                    return

    def join(self, timeout_s: float | None = None) -> None:
        """Wait until nothing is left to prepare."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._tasks:
                    self._thread = None
                    return
                task = self._tasks.popleft()
            try:
                task.prepare()
            except Exception:
                log.exception("avatar %s: clip %s was not prepared", task.avatar.name, task.clip)
