"""`manage.py serve`: the gateway, and in the same process a worker, unless workers run apart."""

import argparse
import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from channels.layers import get_channel_layer
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor

from inference.messages import MEDIA_LAYER

if TYPE_CHECKING:
    from inference.worker import InferenceWorker
    from streaming.web.health import WorkerHealth

log = logging.getLogger("musetalk")


class Command(BaseCommand):
    help = "Serve pages and streams, with a worker in the same process."
    requires_migrations_checks = False  # said below in words of our own

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--host", default=settings.HOST, help="instead of HOST")
        parser.add_argument("--port", type=int, default=settings.PORT, help="instead of PORT")
        parser.add_argument(
            "--no-worker",
            action="store_true",
            help="workers run apart (manage.py runworker inference); needs CHANNEL_REDIS_URL",
        )
        parser.add_argument(
            "--no-prepare",
            action="store_true",
            help="avatars are prepared elsewhere (manage.py runworker inference --prepare)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        host, port, has_worker = options["host"], options["port"], not options["no_worker"]
        if not has_worker and not settings.CHANNEL_REDIS_URL:
            raise CommandError(
                "--no-worker needs CHANNEL_REDIS_URL: without Redis no worker can be reached."
            )
        _check_database()

        # Twisted's reactor is installed by these imports, so no other command should make them.
        from daphne.endpoints import build_endpoint_description_strings

        from avatars_app.preparation_runner import PreparationRunner
        from avatars_app.upload_admission import check_large_body
        from inference.worker import InferenceWorker
        from musetalk_site.asgi import application
        from musetalk_site.process_end import end_process
        from musetalk_site.server.daphne_server import StartFailed, StreamServer
        from musetalk_site.watchdog import Watchdog
        from streaming.gateway import registry
        from streaming.history import writer
        from streaming.web import health

        worker = (
            InferenceWorker(application, on_death=lambda reason: server.fail(reason))
            if has_worker
            else None
        )
        if worker is not None:
            health.use(partial(_health_of, worker))
        preparation_runner = None if options["no_prepare"] else PreparationRunner()

        watchdog = Watchdog()

        async def started() -> None:
            _say_where(host, port)
            _connect_to_redis()
            writer.writer.start()
            if preparation_runner is not None:
                preparation_runner.start()
            if worker is not None:
                await worker.start()
            else:
                log.info("no worker here: start some with `python manage.py runworker inference`")
            watchdog.start()  # not before: loading an engine may hold the loop up for long

        async def told() -> None:
            log.info("shutting down: closing connections")
            await registry.close_all()

        async def ended() -> None:
            if preparation_runner is not None:
                await preparation_runner.stop()
            if worker is not None:
                await worker.drain()
            await asyncio.to_thread(writer.writer.stop)
            watchdog.stop()
            log.info("ended")

        server = StreamServer(
            application,
            endpoints=build_endpoint_description_strings(host=host, port=port),
            started=started,
            told=told,
            ended=ended,
            max_body_bytes=settings.MAX_UPLOAD_MB * 1_000_000,
            check_large_body=check_large_body,
        )
        try:
            server.run()
        except StartFailed as error:
            raise CommandError(f"Cannot start: {error}") from None
        end_process()


def _health_of(worker: "InferenceWorker") -> "WorkerHealth | None":
    from streaming.web.health import WorkerHealth

    report = worker.report()
    if report is None:
        return None
    state = report.engine_state
    return WorkerHealth(report.engine, is_ready=state.is_healthy, message=state.message)


def _connect_to_redis() -> None:
    """Not with the first connection of a client: /health is to know an outage before that."""
    if settings.CHANNEL_REDIS_URL:
        from musetalk_site.redis_layers import RedisMediaLayer

        layer = get_channel_layer(MEDIA_LAYER)
        if isinstance(layer, RedisMediaLayer):
            layer.connect()


def _check_database() -> None:
    try:
        executor = MigrationExecutor(connection)
    except OperationalError as error:
        raise CommandError(f"The database cannot be reached: {error}") from None
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise CommandError("The database is not up to date: run `python manage.py migrate` first.")
    users = get_user_model()
    if not users.objects.filter(is_superuser=True).exists():
        log.info(
            "admin: nobody can log in yet; `python manage.py createsuperuser` makes an account"
        )
    connection.close()


def _say_where(host: str, port: int) -> None:
    shown = "localhost" if host in {"0.0.0.0", "127.0.0.1", "::", ""} else host  # noqa: S104
    address = f"{f'[{shown}]' if ':' in shown else shown}:{port}"
    log.info("serving on %s port %d", host, port)
    log.info("  page    http://%s/", address)
    log.info("  stream  ws://%s/musetalk/v1/ws/{user_id}", address)
    log.info("  health  http://%s/health", address)
    log.info("  API     http://%s/docs", address)
    log.info("  admin   http://%s/admin/", address)
