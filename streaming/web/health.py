"""The state of the service, for `/health`.

The command that starts a worker in this process registers its state (`use`). A gateway whose
workers run apart hears them announce themselves over Redis; one that does not listen to that knows
what its sessions saw: the worker that took a session last.
"""

import time
from collections.abc import Callable
from typing import Literal

import msgspec
from channels.layers import get_channel_layer
from django.conf import settings

from inference.messages import CLAIM_LAYER, MEDIA_LAYER
from streaming.gateway.registry import registry
from streaming.gateway.workers import directory
from streaming.history import writer


class WorkerHealth(msgspec.Struct, frozen=True):
    """The state of the workers that this gateway can reach."""

    engine: str
    is_ready: bool
    message: str = ""
    """What hinders it, or what it does beside speaking; for people."""
    is_late: bool = False
    """Frames are so late that no session is admitted."""
    is_full: bool = False
    """All places to speak are taken."""
    sessions: int = 0
    speaking: int = 0
    """Sessions of it that speak now."""


class Health(msgspec.Struct, frozen=True):
    """As existing clients read it."""

    status: Literal["ready", "loading", "degraded"]
    message: str
    services: dict[str, bool]
    models_loaded: bool
    engine: str | None
    version: str
    workers: list[WorkerHealth]
    """Each that this process knows: its own one, or those that announce themselves."""


_embedded: Callable[[], WorkerHealth | None] | None = None


def use(source: Callable[[], WorkerHealth | None] | None) -> None:
    """Ask ``source`` for the worker of this process; it answers None while its engine loads.

    Called once, by the command that starts the worker, before the first connection.
    """
    global _embedded
    _embedded = source


def health() -> Health:
    """Can be called from any thread."""
    worker = _worker()
    links = [connection.session.link for connection in registry]
    waiting = sum(link is not None and link.is_waiting for link in links)
    if registry.is_closing:
        return _health("degraded", "The server shuts down.", worker)
    if not writer.writer.has_database:
        return _health("degraded", "The database cannot be reached: no session can begin.", worker)
    if reason := _outage_of_layers():
        return _health("degraded", f"Redis cannot be reached: {reason}.", worker)
    if worker is None:
        return _health("loading", "No inference worker is known yet.", None)
    if not worker.is_ready:
        return _health("degraded", worker.message or "Lip-sync is not ready.", worker)
    if waiting:
        return _health("degraded", f"Sessions that wait for a worker: {waiting}.", worker)
    can = "No more avatars can speak at once" if worker.is_full else "Avatars can speak"
    return _health("ready", f"{can}. {worker.message}".rstrip(), worker)


def readiness(*, wants_capacity: bool = False) -> str | None:
    """Why no streams should be sent to this process; None if they may be.

    Args:
        wants_capacity: A process where nobody more can speak counts as one that is not ready.
    """
    worker = _worker()
    if registry.is_closing:
        return "The server shuts down."
    if registry.is_draining:
        return "The server drains: it shuts down soon."
    if registry.drain_requested:
        return "An operator wants no new sessions here."
    if not writer.writer.has_database:
        return "The database cannot be reached."
    if reason := _outage_of_layers():
        return f"Redis cannot be reached: {reason}."
    if worker is None and _embedded is not None:
        return "The engine is being loaded."
    if worker is None and directory.is_listening:
        return "No inference worker is known."
    if worker is not None and worker.is_late:
        return "Frames are late."
    if wants_capacity and worker is not None and worker.is_full:
        return "All places to speak are taken."
    return None


def _health(
    status: Literal["ready", "loading", "degraded"], message: str, worker: WorkerHealth | None
) -> Health:
    is_ready = worker is not None and worker.is_ready
    return Health(
        status=status,
        message=message,
        services={
            "streaming": not registry.is_closing,
            "inference": is_ready,
            "database": writer.writer.has_database,
        },
        models_loaded=is_ready,
        engine=None if worker is None else worker.engine,
        version=settings.VERSION,
        workers=_workers(),
    )


def _outage_of_layers() -> str:
    """Why the channel layers are down; empty if they are up, or do not report it."""
    layers = (get_channel_layer(alias) for alias in (CLAIM_LAYER, MEDIA_LAYER))
    return next(filter(None, (getattr(layer, "outage", "") for layer in layers)), "")


def _workers() -> list[WorkerHealth]:
    """Return the workers that serve this process's sessions, as far as they are known."""
    if _embedded is not None:
        own = _embedded()
        return [] if own is None else [own]
    if directory.is_listening:
        present = directory.present(time.monotonic())
        return [
            WorkerHealth(
                worker.engine,
                is_ready=worker.is_ready,
                message=worker.message,
                is_late=worker.is_late,
                is_full=worker.is_full,
                sessions=worker.sessions,
                speaking=worker.speaking,
            )
            for worker in present
        ]
    last_seen = registry.last_worker()
    if last_seen is None:
        return []
    return [WorkerHealth(last_seen.engine, is_ready=last_seen.is_lipsync_ready)]


def _worker() -> WorkerHealth | None:
    """Return all of them as one: what any of them can do can be done; None: none is known."""
    workers = _workers()
    if _embedded is not None or not directory.is_listening:
        return next(iter(workers), None)
    if not workers:
        return None
    well = [worker for worker in workers if worker.is_ready]
    some = well or workers
    sessions = sum(worker.sessions for worker in workers)
    counts = f"Workers: {len(workers)}, sessions: {sessions}."
    messages = dict.fromkeys(worker.message for worker in some if worker.message)
    return WorkerHealth(
        some[0].engine,
        is_ready=bool(well),
        message=" ".join([*messages, counts]),
        is_late=all(worker.is_late for worker in some),
        is_full=all(worker.is_full for worker in some),
        sessions=sessions,
        speaking=sum(worker.speaking for worker in workers),
    )
