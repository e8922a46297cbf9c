"""`manage.py runworker inference`: a worker in a process of its own.

It replaces Channels' command of the same name, which has no place to load an engine, dies when
Redis goes away, and ignores SIGTERM. This one takes claims when its engine is loaded, and at the
end ends its sessions, so that another worker takes them at once.
"""

import argparse
import asyncio
import logging
import signal
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import CommandError

from inference import process_settings
from inference.errors import EngineUnavailable
from inference.messages import INFERENCE_CHANNEL
from musetalk_site import event_loop
from musetalk_site.configuration.start_checks import CheckedCommand
from musetalk_site.interrupts import interrupts

if TYPE_CHECKING:
    from inference.worker import Application

log = logging.getLogger("musetalk")


class Command(CheckedCommand):
    help = "Run the engine and serve the sessions that gateways claim."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "channels",
            nargs="+",
            choices=[INFERENCE_CHANNEL],
            help=f"the shared channel to take claims from: {INFERENCE_CHANNEL}",
        )
        parser.add_argument(
            "--prepare",
            action="store_true",
            help="also prepare avatars; needs the same AVATARS_DIR as the server",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.CHANNEL_REDIS_URL:
            raise CommandError(
                "A worker of its own needs CHANNEL_REDIS_URL; without Redis "
                "`.venv/bin/python manage.py serve` works alone."
            )
        process_settings.for_streams()
        with process_settings.importing():
            from musetalk_site.asgi import application
            from musetalk_site.process_end import end_process

        try:
            event_loop.run(_work_until_stopped(application, prepares=options["prepare"]))
        except EngineUnavailable as error:
            raise CommandError(f"Cannot start: {error}") from None
        end_process()


async def _work_until_stopped(application: "Application", *, prepares: bool) -> None:
    from avatars_app.preparation.runner import PreparationRunner
    from inference.worker import InferenceWorker
    from musetalk_site.telemetry.spans import Spans
    from musetalk_site.watchdog import Watchdog

    watchdog = Watchdog()
    spans = Spans(settings.TRACES_URL, settings.VERSION)
    spans.start()
    stop = asyncio.Event()
    faults: list[str] = []

    def die(reason: str) -> None:
        faults.append(reason)
        stop.set()

    worker = InferenceWorker(application, on_death=die, ends_with_engine=True)
    preparation_runner = PreparationRunner(lambda: worker.is_behind) if prepares else None
    for number in (*interrupts(), signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if preparation_runner is not None:
        preparation_runner.start()
    starting = asyncio.create_task(worker.start())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        starting.result()
        process_settings.when_loaded()
        watchdog.start()  # not before: loading an engine may hold the loop up for long
    await stopping
    log.info("ending: sessions are given back")
    await worker.drain()
    if preparation_runner is not None:
        await preparation_runner.stop()
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await asyncio.to_thread(spans.stop)
    watchdog.stop()
    if faults:
        raise CommandError(f"Ended by a fault: {faults[0]}")
    log.info("ended")
