"""One serving process, put together: the composition root of `manage.py serve`.

The server, the sessions and their history, a worker and the preparation of avatars are made here
and know each other only by what they are given. Among several processes of a machine the first one
also does what is done once a machine.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from channels.layers import BaseChannelLayer, get_channel_layer
from django.conf import settings
from django.core.management.base import CommandError

from inference import process_settings
from inference.cores import available_cores
from inference.loop_calls import call_in_loop
from inference.messages import MEDIA_LAYER
from musetalk_site.processes.app_options import AppOptions, Descriptors

if TYPE_CHECKING:
    from inference.worker import Application, InferenceWorker
    from musetalk_site.processes.app_process import AppProcess
    from musetalk_site.redis.leases import RedisLeases
    from musetalk_site.telemetry.families import Snapshot
    from streaming.web.health import WorkerHealth

log = logging.getLogger("musetalk")

END_WITHIN_S = 3.0
"""How long goodbyes and the last lines of the history may take together."""
END_AT_LEAST_S = 0.5
"""Of that, for the history alone."""


def serve(options: AppOptions, *, on_listening: Callable[[], None] = lambda: None) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        options: What this process does.
        on_listening: Called once it listens.

    Raises:
        CommandError: It could not start.
    """
    from musetalk_site.process_end import end_process
    from musetalk_site.server.daphne_server import StartFailed

    try:
        _App(options, on_listening).server.run()
    except StartFailed as error:
        raise CommandError(f"Cannot start: {error}") from None
    end_process()


class _App:
    """The parts of a serving process, and the order in which they start and end."""

    def __init__(self, options: AppOptions, on_listening: Callable[[], None]) -> None:
        process_settings.for_streams()
        # Twisted's reactor is installed by these imports, so no other command should make them.
        with process_settings.importing():
            from avatars_app.preparation.runner import PreparationRunner
            from avatars_app.uploads.admission import check_large_body
            from avatars_app.webhooks.sender import WebhookSender
            from musetalk_site.asgi import application
            from musetalk_site.server.daphne_server import StreamServer
            from musetalk_site.telemetry.spans import Spans
            from musetalk_site.watchdog import Watchdog
            from streaming.gateway.registry import registry
            from streaming.gateway.revocation import RevocationWatch
            from streaming.gateway.workers import WorkerListener
            from streaming.history.writer import writer

        self._spans = Spans(settings.TRACES_URL, settings.VERSION)
        self._options = options
        self._on_listening = on_listening
        self._registry = registry
        self._writer = writer
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end_s = 0.0
        """When it should be over, by the loop's clock."""
        self._watchdog = Watchdog()
        self._revocations = RevocationWatch(registry)
        self._worker_listener = WorkerListener(_media_layer())
        self._preparation_runner = (
            PreparationRunner(lambda: self._worker is not None and self._worker.is_behind)
            if options.prepares
            else None
        )
        self._webhooks = WebhookSender() if options.is_first else None
        self._worker = self._make_worker(application) if options.has_worker else None
        self._app_process = self._make_app_process(options.descriptors)
        self._leases: RedisLeases | None = None
        self._publish_numbers()
        self._share_limits()
        self.server = StreamServer(
            application,
            endpoints=self._endpoints(),
            listening=_listening_socket(options.descriptors),
            hand_over=None if self._app_process is None else self._app_process.hand_over,
            on_started=self._start,
            on_closing=self._say_goodbye,
            on_ended=self._end,
            drain_s=settings.DRAIN_S,
            on_draining=self._drain,
            max_body_bytes=settings.MAX_UPLOAD_MB * 1_000_000,
            check_large_body=check_large_body,
        )

    def _endpoints(self) -> list[str]:
        from daphne.endpoints import build_endpoint_description_strings

        if self._options.descriptors is not None:
            return []
        endpoints: list[str] = build_endpoint_description_strings(
            host=self._options.host, port=self._options.port
        )
        return endpoints

    def _make_worker(self, application: "Application") -> "InferenceWorker":
        from inference.worker import InferenceWorker
        from streaming.web import health

        worker = InferenceWorker(
            application,
            cores=max(1, available_cores() // self._options.processes),
            share=1 / self._options.processes,
            on_death=lambda reason: self.server.fail(reason),
            engine_addresses=self._options.engine_addresses,
        )
        health.use(partial(_health_of, worker))
        self._writer.places = partial(_places_of, worker)
        return worker

    def _make_app_process(self, descriptors: Descriptors | None) -> "AppProcess | None":
        from musetalk_site.processes.app_process import AppProcess

        if descriptors is None:
            return None
        return AppProcess(
            descriptors.control,
            registry=self._registry,
            writer=self._writer,
            is_ready=lambda: self._worker is None or self._worker.report() is not None,
            adopt=lambda *connection: self.server.adopt(*connection),
            streams=lambda: self.server.streams,
            on_end=lambda: self.server.stop(),
        )

    def _publish_numbers(self) -> None:
        from musetalk_site.telemetry import collection
        from musetalk_site.telemetry.process import snapshot

        worker, runner = self._worker, self._preparation_runner

        def numbers() -> "Snapshot":
            return snapshot(
                self._registry,
                None if worker is None else worker.report(),
                None if runner is None else runner.stages,
                tasks=self._tasks(),
            )

        collection.use(
            lambda: numbers() if self._loop is None else call_in_loop(self._loop, numbers, ()),
            list if self._app_process is None else self._app_process.numbers_of_others,
        )

    def _tasks(self) -> int:
        """How many tasks the event loop has; 0 before it runs."""
        return 0 if self._loop is None else len(asyncio.all_tasks(self._loop))

    def _share_limits(self) -> None:
        """Count what holders do and have for all processes together."""
        from avatars_app.access import holder_limits

        if settings.CHANNEL_REDIS_URL:
            from musetalk_site.redis.leases import RedisLeases
            from musetalk_site.redis.rates import RedisRates

            holder_limits.use(RedisRates(settings.CHANNEL_REDIS_URL).spend)
            self._leases = self._registry.leases = RedisLeases(settings.CHANNEL_REDIS_URL)
            self._registry.has_other_machines = True
        elif self._app_process is not None:
            holder_limits.use(self._app_process.spend)

    async def _start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_listening()
        self._spans.start()
        if self._app_process is not None:
            self._app_process.start()
            self._registry.peers = self._registry.subject_speech.peers = self._app_process
        _connect_to_redis()
        if self._leases is not None:
            self._leases.start()
        if settings.CHANNEL_REDIS_URL and self._worker is None:
            self._worker_listener.start()
        self._writer.start()
        self._revocations.start()
        if self._webhooks is not None:
            self._webhooks.start()
        if self._preparation_runner is not None:
            self._preparation_runner.start()
        if self._worker is not None:
            await self._worker.start()
        elif self._app_process is None:
            log.info(
                "no worker here: start some with `.venv/bin/python manage.py runworker inference`"
            )
        process_settings.when_loaded()
        self._watchdog.start()  # not before: loading an engine may hold the loop up for long

    async def _drain(self, in_s: float) -> None:
        log.info("%d connections may continue for %g s", len(self._registry), in_s)
        await self._registry.drain(in_s)

    async def _say_goodbye(self) -> None:
        self._end_s = asyncio.get_running_loop().time() + END_WITHIN_S
        self._revocations.stop()
        log.info("shutting down: closing connections")
        await self._registry.close_all()
        await self._worker_listener.stop()  # it may wait for Redis, which no client should

    async def _end(self) -> None:
        left_s = max(END_AT_LEAST_S, self._end_s - asyncio.get_running_loop().time())
        ends = [asyncio.to_thread(self._writer.stop, left_s)]
        if self._preparation_runner is not None:
            ends.append(self._preparation_runner.stop())
        if self._worker is not None:
            ends.append(self._worker.drain())
        if self._webhooks is not None:
            ends.append(self._webhooks.stop())
        if self._leases is not None:
            ends.append(self._leases.stop())
        await asyncio.gather(*ends)  # beside each other: the database may keep several waiting
        if self._app_process is not None:
            self._registry.peers = self._registry.subject_speech.peers = None
            await self._app_process.stop()
        await asyncio.to_thread(self._spans.stop)
        self._watchdog.stop()
        log.info("ended")


def _listening_socket(descriptors: Descriptors | None) -> socket.socket | None:
    if descriptors is None:
        return None
    for descriptor in (descriptors.listening, descriptors.control):
        os.set_inheritable(descriptor, False)  # preparations have no use for them
    shared = socket.socket(fileno=descriptors.listening)
    shared.setblocking(False)
    return shared


def _health_of(worker: "InferenceWorker") -> "WorkerHealth | None":
    from streaming.web.health import WorkerHealth

    report = worker.report()
    if report is None:
        return None
    state = report.engine_state
    return WorkerHealth(
        report.engine,
        is_ready=state.is_healthy,
        message=state.message,
        is_late=report.is_late,
        is_full=report.is_full,
        sessions=report.sessions,
        speaking=report.speaking,
    )


def _places_of(worker: "InferenceWorker") -> tuple[int | None, int]:
    report = worker.report()
    if report is None:
        return None, 0
    return report.places, report.speaking


def _media_layer() -> BaseChannelLayer:
    layer = get_channel_layer(MEDIA_LAYER)
    assert layer is not None, "the settings define it"
    return layer


def _connect_to_redis() -> None:
    """Not with the first connection of a client: /health is to know an outage before that."""
    if settings.CHANNEL_REDIS_URL:
        from musetalk_site.redis.layers import RedisMediaLayer

        layer = _media_layer()
        if isinstance(layer, RedisMediaLayer):
            layer.connect()
