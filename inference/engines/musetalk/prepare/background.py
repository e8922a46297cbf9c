"""Preparing clips beside the stream: in one thread, at low priority, those in use first.

A GPU takes seconds for a clip, so there all that is missing is queued when an avatar is opened. A
CPU takes a quarter of an hour, so there a clip is only *offered*, and queued when a session is to
see it speak. What fails for want of memory, or with the device, is tried again after a while. A
clip that another process prepares is looked at again until it is there.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from inference.engines.musetalk.execution.thread_priority import lower_thread_priority
from inference.engines.musetalk.prepare.avatar import FaceClip
from inference.errors import EngineError, EngineStopped

log = logging.getLogger(__name__)

RETRY_AFTER_S = 15.0
MOST_TRIES = 4
LOOK_AGAIN_AFTER_S = 0.5
"""What another process prepares takes seconds on a GPU, and minutes on a CPU."""
TELL_EVERY_PERCENT = 10


class PreparedElsewhere(Exception):
    """Another process prepares the clip at this moment."""


Progress = Callable[[int, int], None]
"""Called with how many pictures are done, and of how many: before the first, and after each one.
What it raises ends the preparation."""


@dataclass(slots=True, eq=False)
class MuseTalkAvatar:
    """An avatar in memory; pictures of clips that are not prepared are shown as they are."""

    name: str
    clips: dict[str, FaceClip]
    offered: dict[str, "Task"] = field(default_factory=dict)
    """Clips that are prepared when a session shows them speaking."""
    failures: dict[str, str] = field(default_factory=dict)
    """Clips that cannot be prepared, and why."""


@dataclass(slots=True, eq=False)
class Task:
    """One clip of an avatar to prepare."""

    avatar: MuseTalkAvatar
    clip: str
    prepare: Callable[[Progress], FaceClip]
    tries: int = 0

    def __str__(self) -> str:
        return f"{self.clip} of {self.avatar.name}"


class BackgroundPreparation:
    """A queue of clips and one daemon thread that lives while there are any."""

    def __init__(self) -> None:
        self._queue: deque[Task] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._at_work: tuple[Task, int, int] | None = None
        self._is_closing = False
        self._news = threading.Event()
        """More is wanted: look again, even if the engine needed time."""

    def submit(self, tasks: list[Task]) -> None:
        """Queue them, in order."""
        with self._lock:
            self._queue.extend(tasks)
            self._work()

    def prioritize(self, avatar: MuseTalkAvatar, clip: str) -> str:
        """Prepare this clip next, also if it was only offered: it is wanted.

        Answers how it stands, for people.
        """

        def is_wanted(task: Task) -> bool:
            return task.avatar is avatar and task.clip == clip

        with self._lock:
            if self._at_work is not None and is_wanted(self._at_work[0]):
                _, done, count = self._at_work
                return f"{clip} is being prepared: {done} of {count} pictures"
            if task := next(filter(is_wanted, self._queue), None):
                self._queue.remove(task)
                self._queue.appendleft(task)
                return f"{clip} waits to be prepared"
            if task := avatar.offered.pop(clip, None):
                self._queue.appendleft(task)
                self._work()
                return f"{clip} waits to be prepared"
            return avatar.failures.get(clip, f"{clip} is not prepared for MuseTalk")

    @property
    def status(self) -> str:
        """What is being done, for people; empty if nothing is."""
        with self._lock:
            if self._at_work is None:
                return ""
            task, done, count = self._at_work
            text = f"Preparing {task}"
            if count:
                text += f": {done} of {count} pictures"
            if waiting := len(self._queue):
                text += f", {waiting} {'clip waits' if waiting == 1 else 'clips wait'}"
            return f"{text}."

    def close(self, timeout_s: float) -> None:
        """Drop what is queued, and end the thread after the picture in progress.

        Args:
            timeout_s: How long to wait for it.
        """
        with self._lock:
            self._is_closing = True
            self._queue.clear()
        self._news.set()
        self.join(timeout_s)

    def join(self, timeout_s: float | None = None) -> None:
        """Wait until nothing is queued any more."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    def _work(self) -> None:
        self._news.set()
        if self._is_closing:
            self._queue.clear()
        elif self._thread is None and self._queue:
            self._thread = threading.Thread(
                target=self._run, name="musetalk-preparation", daemon=True
            )
            self._thread.start()

    def _run(self) -> None:
        lower_thread_priority()
        while True:
            with self._lock:
                if not self._queue:
                    self._thread = None
                    return
                task = self._queue.popleft()
                self._at_work = task, 0, 0
            self._news.clear()
            pause_s = self._try(task)
            with self._lock:
                self._at_work = None
            if pause_s:
                self._news.wait(pause_s)

    def _try(self, task: Task) -> float:
        """Prepare one clip; how long to wait before the next, s."""

        def note(done: int, count: int) -> None:
            with self._lock:
                if self._is_closing:
                    raise EngineStopped("the engine was closed")
                self._at_work = task, done, count
            percent, before = (100 * n // count for n in (done, max(done - 1, 0)))
            if percent // TELL_EVERY_PERCENT > before // TELL_EVERY_PERCENT:
                log.info("preparing %s: %d of %d pictures", task, done, count)

        task.tries += 1
        try:
            task.avatar.clips[task.clip] = task.prepare(note)
        except EngineStopped:
            log.info("%s is prepared after the next start", task)
        except PreparedElsewhere:
            task.tries -= 1
            with self._lock:
                if not self._is_closing:
                    self._queue.append(task)
            return LOOK_AGAIN_AFTER_S
        except Exception as error:
            if isinstance(error, EngineError) and task.tries < MOST_TRIES:
                log.warning("%s is not prepared yet: %s", task, error)
                with self._lock:
                    self._queue.append(task)
                return RETRY_AFTER_S
            log.exception("%s was not prepared", task)
            reason = str(error) or type(error).__name__
            task.avatar.failures[task.clip] = f"{task.clip} could not be prepared: {reason}"
        return 0.0
