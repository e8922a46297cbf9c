"""The nets from load to fault to load: who works with them, works inside of this.

Several threads work at the same time: the stream's calls (`DeviceLifecycle.live`), which sessions
wait for, and the preparation of clips (`DeviceLifecycle.beside`), for which nobody does. What the
device raises becomes the engine's errors here. After a fault the nets are let go, and the next live
call that comes when it is time (`recovery`) loads them again; preparation only waits for that.
"""

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from inference.engines.base import EngineState
from inference.engines.musetalk.recovery import Recovery
from inference.errors import EngineError, EngineOutOfMemory, EngineUnavailable

if TYPE_CHECKING:
    from inference.engines.musetalk.loaded import LoadedModel

log = logging.getLogger(__name__)


class DeviceLifecycle:
    """See the module. ``load`` makes the nets; EngineUnavailable or RuntimeError if it cannot."""

    def __init__(self, load: "Callable[[], LoadedModel]") -> None:
        self._load = load
        self._recovery = Recovery()
        self._lock = threading.Lock()
        self.loaded: LoadedModel | None = None

    def begin(self) -> "LoadedModel":
        """Load for the first time; errors as they come."""
        self.loaded = self._load()
        return self.loaded

    @property
    def trouble(self) -> EngineState | None:
        """How it is after a fault; None if it is healthy."""
        return None if self._recovery.is_healthy else self._recovery.state()

    @contextmanager
    def live(self) -> "Iterator[LoadedModel]":
        """For work that a session waits for; the EngineError's class says what to expect."""
        nets = self._alive()
        with self._as_engine_errors(nets), nets.live():
            yield nets

    @contextmanager
    def beside(self) -> "Iterator[LoadedModel]":
        """For work that nobody waits for; it never loads, and gives way on the device."""
        nets = self.loaded
        if nets is None:
            raise EngineError(self._recovery.state().message)
        with self._as_engine_errors(nets), nets.beside():
            yield nets

    def _alive(self) -> "LoadedModel":
        with self._lock:
            if self.loaded is not None:
                return self.loaded
            if self._recovery.is_healthy:
                raise EngineError("the engine is not loaded")
            if not self._recovery.may_try(time.monotonic()):
                raise EngineError(self._recovery.state().message)
            gc.collect()  # what is left of the former ones would need the device's memory twice
            try:
                nets = self.loaded = self._load()
            except (EngineUnavailable, RuntimeError) as error:
                self.fail(error)
                raise EngineError(self._recovery.state().message) from None
            self._recovery = Recovery()
            log.info("musetalk is back")
            return nets

    @contextmanager
    def _as_engine_errors(self, nets: "LoadedModel") -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            from inference.engines.musetalk.devices import is_out_of_memory

            if is_out_of_memory(error):
                reason = "the device's memory is too small for one picture"
                raise EngineOutOfMemory(reason) from error
            # Else another thread met the fault before, and others may be loaded already.
            if self.loaded is nets:
                self.fail(error)
            raise EngineError(self._recovery.state().message) from None

    def fail(self, error: BaseException) -> None:
        """Let go of the nets after a failure of the device."""
        self._recovery.failed(error, time.monotonic())
        self.loaded = None
        log.error("musetalk: %s", self._recovery.state().message, exc_info=error)
        error.__traceback__ = None  # its frames hold the nets
