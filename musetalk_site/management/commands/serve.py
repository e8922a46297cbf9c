"""`manage.py serve`: pages and streams, with workers in the same processes unless they run apart.

With one process everything happens in this one. With more, this one becomes their supervisor.
"""

import argparse
import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import CommandError
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor

from avatars_app.permissions import is_for_this_machine_alone
from inference.cores import available_cores
from inference.engines.engine_selection import devices_for, may_be_musetalk
from inference.engines.process.launcher import EngineLauncher, engine_process_command
from musetalk_site.configuration.environment import VARIABLES
from musetalk_site.configuration.start_checks import CheckedCommand
from musetalk_site.listening import cannot_listen
from musetalk_site.processes.app_options import AppOptions
from musetalk_site.processes.fork_server import ForkServer
from musetalk_site.processes.supervisor import Supervisor, SupervisorFailed
from streaming.protocol.address import STREAM_PATH

log = logging.getLogger("musetalk")

BACKLOG = 1_024
"""Connections that may wait to be accepted."""


class Command(CheckedCommand):
    help = "Serve pages and streams, with workers in the same processes."
    requires_migrations_checks = False  # said below in words of our own

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--host", default=settings.HOST, help="instead of HOST")
        parser.add_argument("--port", type=_port, default=settings.PORT, help="instead of PORT")
        parser.add_argument(
            "--processes",
            type=_as_setting("PROCESSES"),
            default=settings.PROCESSES,
            help="instead of PROCESSES",
        )
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

    # `server.app` is imported where a process serves: it installs Twisted's reactor, one of each.
    def handle(self, *args: Any, **options: Any) -> None:
        app = AppOptions(
            host=options["host"],
            port=options["port"],
            has_worker=not options["no_worker"],
            prepares=not options["no_prepare"],
        )
        if not app.has_worker and not settings.CHANNEL_REDIS_URL:
            raise CommandError(
                "--no-worker needs CHANNEL_REDIS_URL: without Redis no worker can be reached."
            )
        _check_database()
        count = _process_count(options["processes"])
        if count == 1:
            from musetalk_site.server.app import serve

            serve(app, on_listening=lambda: _say_where(app.host, app.port))
        else:
            _serve_by_processes(app, count)


def _as_setting(name: str) -> Callable[[str], Any]:
    """Return what reads an option that stands for a setting, and refuses what that refuses."""

    def read(text: str) -> Any:
        try:
            return VARIABLES[name].read(text)
        except ValueError as refused:
            raise argparse.ArgumentTypeError(f"it is {text!r}, but must be {refused}") from None

    return read


def _port(text: str) -> int:
    """Read a port; 0 takes any that is free."""
    port: int = 0 if text == "0" else _as_setting("PORT")(text)
    return port


def _process_count(wanted: int | None) -> int:
    """How many app processes to run; ``wanted``: None for one a core.

    A process keeps about one core busy, because of the interpreter's lock.
    """
    if sys.platform != "linux":
        if wanted is not None and wanted > 1:
            raise CommandError("PROCESSES above 1 needs Linux; elsewhere set it to 1 or auto.")
        return 1
    return available_cores() if wanted is None else wanted


def _serve_by_processes(app: AppOptions, count: int) -> None:
    """Run ``count`` app processes that share a listening socket, and perhaps engine processes."""
    with _listening_socket(app.host, app.port) as shared:
        _say_where(app.host, app.port)

        def be_app_process(number: int, control: int, engines: Sequence[str]) -> None:
            from musetalk_site.server.app import serve

            serve(
                app.as_process(
                    number,
                    count=count,
                    control=control,
                    listening=shared.fileno(),
                    engine_addresses=[Path(address) for address in engines],
                )
            )

        forks = ForkServer(be_app_process)
        has_engines = app.has_worker and may_be_musetalk(settings.ENGINE, settings.MODEL_PATH)
        devices = devices_for(settings.DEVICES) if has_engines else ()
        asyncio.run(_supervise(count, forks, devices))
    log.info("ended")


def _listening_socket(host: str, port: int) -> socket.socket:
    try:
        family, *_ = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise CommandError(f"Cannot start: {cannot_listen(host, port, error)}") from None


async def _supervise(count: int, forks: ForkServer, devices: Sequence[str]) -> None:
    manage = settings.BASE_DIR / "manage.py"
    launchers = [EngineLauncher(engine_process_command(manage, device)) for device in devices]
    for launcher in launchers:
        launcher.start()
    engines = [str(launcher.address) for launcher in launchers]
    try:
        await Supervisor(count, forks, engines=engines, drain_s=settings.DRAIN_S).run()
    except SupervisorFailed as error:
        raise CommandError(f"Ended: {error}") from None
    finally:
        await asyncio.gather(*(launcher.stop() for launcher in launchers))


def _check_database() -> None:
    try:
        executor = MigrationExecutor(connection)
    except OperationalError as error:
        raise CommandError(f"The database cannot be reached: {error}") from None
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise CommandError(
            "The database is not up to date: run `.venv/bin/python manage.py migrate` first."
        )
    users = get_user_model()
    if not users.objects.filter(is_superuser=True).exists():
        log.info(
            "admin: nobody can log in yet; `.venv/bin/python manage.py createsuperuser` makes an "
            "account"
        )
    connection.close()


def _say_where(host: str, port: int) -> None:
    shown = "localhost" if host in {"0.0.0.0", "127.0.0.1", "::", ""} else host  # noqa: S104
    address = f"{f'[{shown}]' if ':' in shown else shown}:{port}"
    log.info("serving on %s port %d", host, port)
    if not settings.AUTH and not is_for_this_machine_alone(host):
        log.warning("AUTH is off: every client that reaches this server may open streams")
    log.info("  page    http://%s/", address)
    log.info("  stream  ws://%s%s", address, STREAM_PATH)
    log.info("  health  http://%s/health", address)
    log.info("  API     http://%s/docs", address)
    log.info("  admin   http://%s/admin/", address)
