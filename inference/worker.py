"""The worker at the edge of the channel layers: claims come in, the host does the rest.

Theory of operation
-------------------
Channels makes one consumer instance for the channel ``inference``, dispatches its messages one at a
time, and destroys the instance when it raises. So `InferenceConsumer` holds no session: it turns a
layer message into a typed one and hands it to the host, which never blocks and never raises. Its
own channel name, on the media layer, is this worker's private channel.

`InferenceWorker` is the same in `serve`, inside daphne's loop, and in `runworker`, in a loop of its
own: it loads the engine, and only then listens for claims, so no claim is taken by a worker that
could not serve it yet. When Redis goes away it listens again as soon as Redis is back.
"""

import asyncio
import logging
import os
import platform
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from channels.consumer import AsyncConsumer
from channels.layers import BaseChannelLayer, get_channel_layer
from channels.worker import Worker
from django.conf import settings

from inference import malloc, tracing
from inference.assets.clips import DEFAULT_CACHE_BYTES, LEAST_CACHE_BYTES, PictureCache
from inference.assets.library import AvatarLibrary
from inference.core_turns import CoreTurns
from inference.cores import available_cores
from inference.engines.access import EngineAccess
from inference.engines.base import Engine
from inference.engines.engine_selection import choose_engine, devices_for
from inference.engines.opening import RuntimeEngine
from inference.engines.process.launcher import engine_process_command
from inference.errors import EngineLost, EngineStopped, MessageInvalid
from inference.local_link import link
from inference.loop_calls import call_in_loop
from inference.media.profile import DEFAULT_PROFILE, VideoProfile
from inference.messages import (
    CLAIM_LAYER,
    INFERENCE_CHANNEL,
    MEDIA_LAYER,
    WORKERS_GROUP,
    LayerMessage,
    SessionStart,
    WorkerAnnouncement,
    from_layer,
)
from inference.runtime.calibration import (
    LOOP_SHARE,
    CalibrationFile,
    measure_frame_s,
    warm_up,
)
from inference.runtime.clock import MonotonicClock
from inference.runtime.host import Host
from inference.runtime.host_report import HostReport
from inference.runtime.learned_places import LearnedPlaces
from inference.runtime.speech_spans import SpeechSpans
from inference.runtime.worker_outbox import HandOver

log = logging.getLogger(__name__)

RETRY_AFTER_S = 1.0
STOP_CLAIMS_WITHIN_S = 0.5
REPORT_EVERY_S = 10.0
ANNOUNCE_EVERY_S = 2.0
ANNOUNCE_WITHIN_S = 0.5
GIVE_MEMORY_BACK_EVERY_S = 60.0

_BEGIN = "worker.begin"
"""Makes the consumer, and with it the private channel, before there is a claim."""
_HOST_IN_SCOPE = "inference.runtime.host"
_TAKE_IN_SCOPE = "inference.take"
"""What takes the messages of sessions: the host, maybe behind something that looks at them."""

Application = Callable[[Any, Any, Any], Awaitable[None]]


class InferenceConsumer(AsyncConsumer):
    """Passes a worker's layer messages to its host; see the module."""

    channel_layer_alias = MEDIA_LAYER

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.host: Host = scope[_HOST_IN_SCOPE]
        self.take: Callable[[LayerMessage], None] = scope[_TAKE_IN_SCOPE]
        try:
            await super().__call__(scope, receive, send)
        finally:
            link.leave(self.channel_name)
            self.host.channel = ""
            # The private channel is read no more: its sessions must be claimed again.
            self.host.abandon(self.channel_name)

    async def dispatch(self, message: dict[str, Any]) -> None:
        # Not the stock one, which hops through a shared thread to look after database connections.
        self.host.channel = self.channel_name
        self.host.has_channel.set()
        if message.get("type") == _BEGIN:
            return
        try:
            typed = from_layer(message)
        except MessageInvalid as error:
            log.warning("ignored: %s", error)
            return
        if isinstance(typed, SessionStart):
            link.listen(self.channel_name, self.take, self.host.reserve_place)
            self.host.claim(typed, worker_channel=self.channel_name)
        else:
            self.take(typed)


class ClaimListener(Worker):
    """Channels' worker, reading claims only, and not giving up when Redis does."""

    async def handle(self) -> None:
        # The stock one, cancelled, leaves its listeners running: they would take claims
        # that are not served any more.
        async with asyncio.TaskGroup() as listeners:
            for channel in self.channels:
                scope = {"type": "channel", "channel": channel}
                begin: asyncio.Queue[dict[str, Any]]
                begin = self.get_or_create_application_instance(channel, scope)  # type: ignore[no-untyped-call]
                begin.put_nowait({"type": _BEGIN})
                listeners.create_task(self.listener(channel))

    async def listener(self, channel: str) -> None:
        while True:
            try:
                await super().listener(channel)
            except (OSError, ConnectionError, TimeoutError) as error:
                await self._wait_after(error)
            except Exception as error:
                if type(error).__module__.partition(".")[0] not in {"redis", "valkey"}:
                    raise
                await self._wait_after(error)

    @staticmethod
    async def _wait_after(error: Exception) -> None:
        log.warning("claims cannot be read, trying again in %.0f s: %s", RETRY_AFTER_S, error)
        await asyncio.sleep(RETRY_AFTER_S)


class InferenceWorker:
    """A host with its engine, joined to the layers. Lives on one event loop."""

    def __init__(
        self,
        application: Application,
        *,
        cores: int | None = None,
        share: float = 1.0,
        on_death: Callable[[str], None] | None = None,
        ends_with_engine: bool = False,
        engine_addresses: Sequence[Path] = (),
    ) -> None:
        """Prepare to start.

        Args:
            application: The site's ASGI application, whose ``channel`` part is fed.
            cores: How many cores this worker may keep busy; None: all that there are.
            share: Its part of the memory that pictures may take.
            on_death: Called with the reason if a task that must run for ever ends by a fault: a
                process without its worker had better end than pretend.
            ends_with_engine: That an engine is lost for good is such a fault; a process that is a
                gateway as well continues with the base videos.
            engine_addresses: Of the engine processes that the supervisor keeps; none: this worker
                starts them if it needs them.
        """
        self._application = application
        self._cores = cores or available_cores()
        self._turns = CoreTurns(self._cores)
        self._share = share
        self._on_death = on_death
        self._ends_with_engine = ends_with_engine
        self._tasks: list[asyncio.Task[None]] = []
        self._pools: list[ThreadPoolExecutor] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._host: Host | None = None
        self._reported: HostReport | None = None
        """The last report: what is known of a loop that stands still."""
        self._engine: RuntimeEngine | None = None
        self._engine_addresses = engine_addresses
        self._clock = MonotonicClock()

    @property
    def name(self) -> str:
        return f"{platform.node()}:{os.getpid()}"

    def report(self) -> HostReport | None:
        """Return what the host does, in any thread; None until the engine is loaded."""
        host, loop = self._host, self._loop
        if host is None or loop is None:
            return None
        self._reported = call_in_loop(loop, host.report, self._reported)
        return self._reported

    @property
    def is_behind(self) -> bool:
        """Whether its frames are late: then the machine has no time for anything else."""
        report = self.report()
        return report is not None and report.is_behind

    async def start(self) -> None:
        """Load the engine, then take claims; EngineUnavailable if it cannot run here."""
        self._loop = asyncio.get_running_loop()
        media_pool = self._make_pool(self._cores, "media")
        try:
            engine = await self._open_engine(media_pool)
        except EngineStopped:
            return  # `drain` was called while it loaded
        places = await self._places(engine)
        await self._warm_up()
        tracer = tracing.tracer()
        spans = None if tracer is None else SpeechSpans(tracer, self.name)
        hand_over = link.send if spans is None else spans.handing_over(link.send)
        host = self._host = self._make_host(engine, media_pool, places, hand_over)
        take = host.submit if spans is None else spans.receiving(host.submit)
        self._spawn(host.run(), "host")
        listener = self._make_listener(host, take)
        self._spawn(listener.arun(), "claims")  # type: ignore[no-untyped-call]  # asgiref has none
        self._spawn(self._report(host), "report")
        self._spawn(self._give_memory_back(), "memory")
        if settings.CHANNEL_REDIS_URL:
            self._spawn(self._keep_announcing(host), "announcements")
        log.info("worker %s takes sessions", self.name)

    async def drain(self) -> None:
        """Take no more claims, give the sessions back, and stop."""
        # First: a claim read from now on would stay unanswered, and be sent again seconds later.
        if claims := [task for task in self._tasks if task.get_name() == "claims"]:
            claims[0].cancel()
            await asyncio.wait(claims, timeout=STOP_CLAIMS_WITHIN_S)
        if self._host is not None:
            if settings.CHANNEL_REDIS_URL:
                await self._announce(self._host, is_leaving=True)
            await self._host.drain()
        if self._engine is not None:
            await self._engine.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=True)

    async def _open_engine(self, media_pool: Executor) -> EngineAccess:
        choice = choose_engine(
            engine=settings.ENGINE,
            model_path=settings.MODEL_PATH,
            cores=self._cores,
            has_emphasis=settings.EMPHASIS,
        )
        self._engine = RuntimeEngine(
            make_pool=self._make_pool,
            media_pool=media_pool,
            now_s=self._clock.now_s,
            cores=self._cores,
            turns=self._turns,
            version=settings.VERSION,
            commands=[
                engine_process_command(settings.BASE_DIR / "manage.py", device)
                for device in devices_for(settings.DEVICES)
            ],
            addresses=self._engine_addresses,
            has_emphasis=settings.EMPHASIS,
        )
        return await self._engine.open(choice, is_required=settings.ENGINE == "musetalk")

    async def _places(self, engine: EngineAccess) -> int | LearnedPlaces | None:
        """How many sessions can speak at once; None if the engine itself learns it."""
        if settings.SPEAKING_PLACES is not None:
            return max(1, round(settings.SPEAKING_PLACES * self._share))
        local = None if self._engine is None else self._engine.local
        if engine.capacity is not None or local is None:
            return None
        file = CalibrationFile(settings.BASE_DIR / "var" / "calibration.json", settings.VERSION)
        frame_s = file.read()
        if frame_s is None:
            frame_s = await asyncio.to_thread(measure_frame_s, *self._trial(local))
            if frame_s is None:
                return None
            file.write(frame_s)
        places = LearnedPlaces(frame_s * (1 + LOOP_SHARE), available_cores() * self._share)
        log.info("places to speak: %d (%.1f ms a frame)", places.places, places.frame_ms)
        return places

    async def _warm_up(self) -> None:
        """Only an engine of this process: another one warms up by itself."""
        if self._engine is not None and self._engine.local is not None:
            await asyncio.to_thread(warm_up, *self._trial(self._engine.local))

    def _trial(self, engine: Engine) -> tuple[Engine, AvatarLibrary, str, VideoProfile]:
        """Return what speaking frames are tried with."""
        return engine, self._library(), settings.DEFAULT_AVATAR or "presenter", DEFAULT_PROFILE

    @staticmethod
    def _library() -> AvatarLibrary:
        return AvatarLibrary(settings.AVATARS_DIR, settings.SHIPPED_AVATARS_DIR)

    def _make_host(
        self,
        engine: EngineAccess,
        media_pool: Executor,
        places: int | LearnedPlaces | None,
        hand_over: HandOver,
    ) -> Host:
        layer = _layer(MEDIA_LAYER)

        async def deliver(channel: str, message: LayerMessage) -> None:
            await layer.send(channel, message.to_layer())

        return Host(
            engine=engine,
            library=self._library(),
            clock=self._clock,
            deliver=deliver,
            media_pool=media_pool,
            turns=self._turns,
            name=self.name,
            cache=PictureCache(max(int(DEFAULT_CACHE_BYTES * self._share), LEAST_CACHE_BYTES)),
            end_of_speech_ms=settings.END_OF_SPEECH_MS,
            hand_over=hand_over,
            speech_share=settings.SPEECH_SHARE,
            places=places,
        )

    def _make_listener(self, host: Host, take: Callable[[LayerMessage], None]) -> ClaimListener:
        in_scope = {_HOST_IN_SCOPE: host, _TAKE_IN_SCOPE: take}

        async def with_host(scope: Any, receive: Any, send: Any) -> None:
            await self._application({**scope, **in_scope}, receive, send)

        return ClaimListener(with_host, [INFERENCE_CHANNEL], _layer(CLAIM_LAYER))

    def _make_pool(self, threads: int, name: str) -> ThreadPoolExecutor:
        pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._pools.append(pool)
        return pool

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._notice_death)
        self._tasks.append(task)

    def _notice_death(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()):
            log.critical("the worker's task %r died", task.get_name(), exc_info=error)
            if self._on_death is not None:
                self._on_death(f"the worker's {task.get_name()} died: {error!r}")

    async def _give_memory_back(self) -> None:
        while True:
            await asyncio.sleep(GIVE_MEMORY_BACK_EVERY_S)
            await asyncio.to_thread(malloc.trim)

    async def _keep_announcing(self, host: Host) -> None:
        """Let gateways elsewhere know of this worker before it has a session of theirs."""
        with suppress(TimeoutError):
            await asyncio.wait_for(host.has_channel.wait(), ANNOUNCE_EVERY_S)
        while True:
            await self._announce(host)
            await asyncio.sleep(ANNOUNCE_EVERY_S)

    async def _announce(self, host: Host, *, is_leaving: bool = False) -> None:
        report = host.report()
        announcement = WorkerAnnouncement(
            worker=self.name,
            engine=report.engine,
            is_ready=report.engine_state.is_healthy,
            message=report.engine_state.message,
            is_late=report.is_late,
            is_full=report.is_full,
            sessions=report.sessions,
            speaking=report.speaking,
            channel=host.channel,
            is_leaving=is_leaving,
        )
        try:
            async with asyncio.timeout(ANNOUNCE_WITHIN_S):
                await _layer(MEDIA_LAYER).group_send(WORKERS_GROUP, announcement.to_layer())
        except Exception as error:  # noqa: BLE001 - a layer raises what its client library does
            log.debug("the worker was not announced: %r", error)  # the layer logs its outages

    async def _report(self, host: Host) -> None:
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            report = host.report()
            if report.sessions or report.engine_state.message:
                log.info("%s", report)
            if report.engine_state.is_lost and self._ends_with_engine:
                raise EngineLost(report.engine_state.message)


def _layer(alias: str) -> BaseChannelLayer:
    layer = get_channel_layer(alias)
    assert layer is not None, f"the settings define the layer {alias!r}"
    return layer
