"""`manage.py run_engine`: the engine process, which `serve` and `runworker` start.

It loads MuseTalk, and then serves it to all runtimes of the machine. Started before it is needed,
it imports and reads what it can without the device, at low priority, and stands by. It holds
nothing that could be lost, so signals end it at once, and it ends by itself with the process that
started it. An engine whose device is lost for good ends it, too: a new process opens the device.
"""

import argparse
import asyncio
import logging
import os
import select
import shutil
import socket
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from inference import malloc, process_settings
from inference.engines.engine_selection import import_networks, musetalk_engine
from inference.engines.in_process import InProcessEngine
from inference.engines.musetalk.execution.thread_priority import (
    lower_thread_priority,
    raise_priority,
)
from inference.engines.process.launcher import SERVES, UNAVAILABLE_STATUS
from inference.engines.process.server import EngineServer
from inference.errors import EngineUnavailable
from musetalk_site import event_loop
from musetalk_site.telemetry.spans import Spans

if TYPE_CHECKING:
    from inference.engines.musetalk.engine import MuseTalkEngine

log = logging.getLogger("musetalk")

AVATAR_THREADS = 2
TIMES_FILE = "times.json"
"""Beside the listening socket, and so of all engine processes of one device."""
CHECK_EVERY_S = 0.5
GIVE_MEMORY_BACK_EVERY_S = 60.0


class Command(BaseCommand):
    help = "Run the engine process; `serve` and `runworker` start it by themselves."
    requires_system_checks = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--sockets", help=argparse.SUPPRESS)
        parser.add_argument("--device", default=settings.DEVICES[0], help=argparse.SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["sockets"] is None:
            raise CommandError("`serve` and `runworker` start the engine process by themselves.")
        listening, launcher = (
            socket.socket(fileno=int(descriptor)) for descriptor in options["sockets"].split(",")
        )
        for inherited in (listening, launcher):
            inherited.set_inheritable(False)
        process_settings.for_networks()
        folder = Path(listening.getsockname()).parent
        engine: Future[MuseTalkEngine] = Future()
        preparing = threading.Thread(
            target=_prepare,
            args=(engine, options["device"], folder / TIMES_FILE),
            kwargs={"stands_by": not _is_sent(launcher)},
        )
        preparing.start()
        if not launcher.recv(1):
            _end_without_launcher(folder)
        threading.Thread(target=_end_with, args=(launcher, folder), daemon=True).start()
        raise_priority()
        preparing.join()
        try:
            engine.result().load()
        except EngineUnavailable as error:
            launcher.sendall(str(error).encode())
            _end(UNAVAILABLE_STATUS)
        event_loop.run(_serve(engine.result(), listening, launcher))


def _is_sent(launcher: socket.socket) -> bool:
    """Whether the launcher has said already that this process is to serve."""
    readable, _, _ = select.select([launcher], [], [], 0)
    return bool(readable)


def _prepare(
    engine: "Future[MuseTalkEngine]", device: str, times_file: Path, *, stands_by: bool
) -> None:
    """Import what the engine needs; a process that stands by also reads the networks.

    In a thread of its own, since only that can have a low priority for a while.
    """
    if stands_by:
        lower_thread_priority()
    try:
        import_networks()
        made = _make_engine(device, times_file)
        if stands_by:
            made.read_ahead()
            log.info("an engine process stands by")
        engine.set_result(made)
    except BaseException as error:  # noqa: BLE001  raised where the result is asked for
        engine.set_exception(error)


def _make_engine(device: str, times_file: Path) -> "MuseTalkEngine":
    return musetalk_engine(
        engine=settings.ENGINE,
        device=device,
        use_float16=settings.USE_FLOAT16,
        model_path=settings.MODEL_PATH,
        options={
            "decoder": settings.MUSETALK_DECODER,
            "look_ahead_ms": settings.MUSETALK_LOOK_AHEAD_MS,
            "memory_gb": settings.MUSETALK_MEMORY_GB,
            "storage": settings.AVATARS_DIR,
            "times_file": times_file,
        },
    )


async def _serve(
    engine: "MuseTalkEngine", listening: socket.socket, launcher: socket.socket
) -> None:
    process_settings.when_loaded()
    listening.setblocking(False)
    access = InProcessEngine(
        engine,
        pool=ThreadPoolExecutor(engine.concurrency, "engine"),
        avatar_pool=ThreadPoolExecutor(AVATAR_THREADS, "avatars"),
        now_s=time.monotonic,
    )
    Spans(settings.TRACES_URL, settings.VERSION).start()  # it ends with those who are answered
    server = EngineServer(access, version=settings.VERSION)
    serving = asyncio.create_task(server.run(listening))
    launcher.sendall(SERVES)
    log.info("the engine process takes requests")
    next_trim_s = time.monotonic() + GIVE_MEMORY_BACK_EVERY_S
    while not serving.done():
        await asyncio.wait({serving}, timeout=CHECK_EVERY_S)
        if engine.state().is_lost:
            log.error("the engine is lost: %s", engine.state().message)
            _end(os.EX_SOFTWARE)
        if time.monotonic() >= next_trim_s:
            await asyncio.to_thread(malloc.trim)
            next_trim_s = time.monotonic() + GIVE_MEMORY_BACK_EVERY_S
    serving.result()


def _end_with(launcher: socket.socket, folder: Path) -> None:
    """End when the process at the other end does."""
    launcher.recv(1)
    _end_without_launcher(folder)


def _end_without_launcher(folder: Path) -> NoReturn:
    """End, and remove the launcher's folder: a launcher that was killed could not."""
    shutil.rmtree(folder, ignore_errors=True)
    _end(0)


def _end(status: int) -> NoReturn:
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
