"""The engine process's side: answers the requests of all runtimes, in common batches.

Each connection is one runtime. Requests of all of them go to one `InProcessEngine`, so that a batch
holds what is most urgent on the whole machine, of any process. An avatar is opened once, for all
runtimes that use it, and stays as long as one does.

A request brings what the engine reads of its picture, and no more. The rest of the picture that the
engine is given is undefined.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from inference.assets import manifest as manifests
from inference.assets.manifest import Manifest
from inference.engines.access import MouthRequest, MouthResult, failure_reason
from inference.engines.base import LoadedAvatar, RenderRefusal
from inference.engines.in_process import InProcessEngine
from inference.engines.learned_lead import LearnedLead
from inference.engines.process.messages import (
    AvatarOpened,
    AvatarRefused,
    CallsMade,
    ClipReady,
    CloseAvatar,
    EngineMessage,
    Failed,
    Hello,
    Made,
    OpenAvatar,
    Refused,
    RuntimeMessage,
    Speaking,
    State,
    Submit,
    Withdraw,
)
from inference.engines.process.stream import MessageStream, accepting
from inference.errors import AvatarError, AvatarInvalid
from inference.media import compositor
from inference.media.types import AudioWindow, Patch, Picture, Rectangle
from inference.metrics import CallMetrics

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.1
"""How often the engine's state and clips that are not ready are looked at."""
HAND_OVER_S = 0.002
"""A mouth is on its way to the runtime for so long, at least."""
MAX_UNSENT_BYTES = 64 * 1024 * 1024
"""A runtime that has not taken so much does not read."""


@dataclass(slots=True, eq=False)
class _Avatar:
    """An avatar that runtimes use."""

    folder: Path
    manifest: Manifest
    loaded: LoadedAvatar
    ready: set[str] = field(default_factory=set)
    """Clips that are known to be ready."""


@dataclass(slots=True, eq=False)
class _Runtime:
    """A connection."""

    stream: MessageStream[RuntimeMessage]
    avatars: dict[int, _Avatar | None] = field(default_factory=dict)
    """By the runtime's number; None while it is being opened."""
    requests: dict[int, MouthRequest] = field(default_factory=dict)
    speaking: int = 0
    state: State | None = None
    """The last that was sent."""


class EngineServer:
    """Serves one engine to runtimes. Lives on one event loop."""

    def __init__(
        self,
        engine: InProcessEngine,
        *,
        version: str,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take an engine that is loaded.

        Args:
            engine: The engine.
            version: Of this software.
            now_s: The clock of deadlines, which is one for all processes of a machine.
        """
        self._now_s = now_s
        self._engine = engine
        self._version = version
        self._runtimes: set[_Runtime] = set()
        self._opened: dict[tuple[str, str], _Avatar] = {}
        """By folder and version."""
        self._reported = CallMetrics()
        """The calls that a runtime was sent."""
        self._lead = LearnedLead()
        self._told_extra_s = 0.0
        self._opening = asyncio.Lock()
        """Held while one is opened: two runtimes that need the same one must not open it twice."""
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """Requests that wait for a call."""
        return self._engine.waiting

    @property
    def speaking(self) -> int:
        """Sessions that hold a place, of all runtimes."""
        return sum(runtime.speaking for runtime in self._runtimes)

    @property
    def avatars(self) -> int:
        """How many avatars are open."""
        return len(self._opened)

    def close(self) -> None:
        """Disconnect all runtimes."""
        for runtime in list(self._runtimes):
            runtime.stream.close()

    async def run(self, listening: socket.socket) -> None:
        """Serve until cancelled.

        Args:
            listening: A Unix socket that listens.
        """
        async with accepting(listening, self._connect):
            while True:
                await asyncio.sleep(LOOK_EVERY_S)
                self._look()

    def _connect(self) -> MessageStream[RuntimeMessage]:
        stream: MessageStream[RuntimeMessage] = MessageStream(
            msgspec.msgpack.Decoder(RuntimeMessage),
            on_begin=lambda: self._begin(runtime),
            on_message=lambda message: self._receive(runtime, message),
            on_end=lambda: self._end(runtime),
        )
        runtime = _Runtime(stream)
        return stream

    def _begin(self, runtime: _Runtime) -> None:
        self._runtimes.add(runtime)
        context = self._engine.context
        runtime.stream.send(Hello(self._version, self._engine.name, context.before, context.after))
        self._send_state(runtime)

    def _end(self, runtime: _Runtime) -> None:
        self._runtimes.discard(runtime)
        for request in runtime.requests.values():
            self._engine.withdraw(request)
        runtime.requests.clear()
        self._engine.report_speaking(self.speaking)
        runtime.avatars.clear()
        self._forget_unused()
        self._look()

    # The state, and clips that become ready.

    @property
    def _extra_s(self) -> float:
        """How much earlier than reckoned mouths are to be begun.

        A device that carries not even one session is no better with more time.
        """
        return 0.0 if self._engine.capacity == 0 else self._lead.extra_s

    def _look(self) -> None:
        for avatar in self._opened.values():
            for clip in avatar.manifest.clip_names():
                if clip not in avatar.ready and self._engine.is_ready(avatar.loaded, clip):
                    avatar.ready.add(clip)
                    self._announce(avatar, clip)
        for runtime in self._runtimes:
            self._send_state(runtime)
        self._report_calls()
        if self._extra_s != self._told_extra_s:
            self._told_extra_s = self._extra_s
            log.info(
                "mouths are begun %.0f ms earlier than reckoned, as some came late",
                self._told_extra_s * 1_000,
            )

    def _report_calls(self) -> None:
        """Send the new calls to one runtime: the sum over all of them counts each call once."""
        calls = self._engine.calls.since(self._reported)
        reader = next(iter(self._runtimes), None)
        if reader is None or not calls.sizes.total:
            return
        self._reported = self._engine.calls.copy()
        reader.stream.send(
            CallsMade(
                calls.sizes.counts,
                calls.sizes.total,
                calls.durations.counts,
                calls.durations.total_s,
            )
        )

    def _send_state(self, runtime: _Runtime) -> None:
        """Send the state, if it is another than before."""
        known = self._engine.state()
        state = State(
            is_healthy=known.is_healthy,
            message=known.message,
            capacity=self._engine.capacity,
            lead_s=self._engine.lead_s + self._extra_s,
            waiting=self._engine.waiting,
            speaking_elsewhere=self.speaking - runtime.speaking,
        )
        if state != runtime.state:
            runtime.state = state
            runtime.stream.send(state)

    def _announce(self, avatar: _Avatar, clip: str) -> None:
        for runtime in self._runtimes:
            for number, used in runtime.avatars.items():
                if used is avatar:
                    self._send_ready(runtime, number, avatar, clip)

    def _send_ready(self, runtime: _Runtime, number: int, avatar: _Avatar, clip: str) -> None:
        frames = next(entry.frames for entry in avatar.manifest.clips if entry.name == clip)
        regions = np.zeros((frames, 4), "<i4")
        for index in range(frames):
            region = self._engine.engine.region(avatar.loaded, clip, index)
            if region is not None:
                regions[index] = region
        runtime.stream.send(ClipReady(number, clip, regions.tobytes()))

    # What runtimes send.

    def _receive(self, runtime: _Runtime, message: RuntimeMessage) -> None:
        match message:
            case Submit():
                self._submit(runtime, message)
            case Withdraw(number):
                request = runtime.requests.pop(number, None)
                if request is not None:
                    self._engine.withdraw(request)
                    if (now_s := self._now_s()) >= request.deadline_s:
                        self._lead.mouth_ended(is_late=True, now_s=now_s)
            case Speaking(sessions):
                runtime.speaking = sessions
                self._engine.report_speaking(self.speaking)
                for other in self._runtimes:
                    self._send_state(other)
            case OpenAvatar(number):
                runtime.avatars[number] = None
                task = asyncio.get_running_loop().create_task(self._open(runtime, message))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case CloseAvatar(number):
                runtime.avatars.pop(number, None)
                self._forget_unused()

    async def _open(self, runtime: _Runtime, message: OpenAvatar) -> None:
        number = message.avatar
        try:
            avatar = await self._opened_avatar(Path(message.folder), message.version)
        except Exception as error:
            if isinstance(error, AvatarError):
                reason = str(error)
            else:
                log.exception("avatar %s could not be opened", message.folder)
                reason = repr(error)
            runtime.avatars.pop(number, None)
            runtime.stream.send(AvatarRefused(number, reason))
            return
        if number not in runtime.avatars:  # it was closed, or the runtime ended
            self._forget_unused()
            return
        runtime.avatars[number] = avatar
        runtime.stream.send(AvatarOpened(number))
        for clip in sorted(avatar.ready):
            self._send_ready(runtime, number, avatar, clip)

    async def _opened_avatar(self, folder: Path, version: str) -> _Avatar:
        key = (str(folder), version)
        async with self._opening:
            if key not in self._opened:
                manifest = await asyncio.to_thread(_read_version, folder, version)
                loaded = await self._engine.open_avatar(folder, manifest)
                await asyncio.to_thread(_read_version, folder, version)  # nor replaced in between
                avatar = self._opened[key] = _Avatar(folder, manifest, loaded)
                avatar.ready |= {
                    clip for clip in manifest.clip_names() if self._engine.is_ready(loaded, clip)
                }
            return self._opened[key]

    def _forget_unused(self) -> None:
        used = {avatar for runtime in self._runtimes for avatar in runtime.avatars.values()}
        self._opened = {key: avatar for key, avatar in self._opened.items() if avatar in used}

    def _submit(self, runtime: _Runtime, message: Submit) -> None:
        number = message.request
        avatar = runtime.avatars.get(message.avatar)
        if avatar is None:
            runtime.stream.send(Failed(number, "the avatar is not open"))
            return
        region = None
        if message.region:
            region = self._engine.engine.region(avatar.loaded, message.clip, message.index)
        request = runtime.requests[number] = MouthRequest(
            avatar=avatar.loaded,
            clip=message.clip,
            index=message.index,
            read_picture=partial(_picture, avatar.manifest, region, message.region),
            window=AudioWindow(np.frombuffer(message.window, "<i2"), frames=1),
            strength=message.strength,
            deadline_s=message.deadline_s,
            trace=message.trace,
        )
        loop = asyncio.get_running_loop()

        def answer(result: MouthResult | Exception) -> None:
            answered = _message_of(number, result)
            if isinstance(answered, Made) and self._has_unseen(avatar, message):
                answered = Made(number)
            loop.call_soon_threadsafe(self._answer, runtime, number, answered)

        self._engine.submit(request, answer)

    def _has_unseen(self, avatar: _Avatar, message: Submit) -> bool:
        """Whether the engine reads of a picture what it was not sent.

        The clip has become ready since, and the runtime did not know of it.
        """
        if message.region:
            return False
        return self._engine.engine.region(avatar.loaded, message.clip, message.index) is not None

    def _answer(self, runtime: _Runtime, number: int, message: EngineMessage) -> None:
        request = runtime.requests.pop(number, None)
        if request is None:
            return  # withdrawn while it was made
        now_s = self._now_s()
        is_late = now_s + HAND_OVER_S > request.deadline_s
        self._lead.mouth_ended(is_late=is_late, now_s=now_s)
        if runtime.stream.unsent_bytes > MAX_UNSENT_BYTES:
            log.warning("a runtime does not read: disconnecting it")
            runtime.stream.close()
            return
        runtime.stream.send(message)


def _read_version(folder: Path, version: str) -> Manifest:
    """Return a folder's manifest; AvatarInvalid if the folder was replaced by another version."""
    manifest = manifests.read(folder)
    if manifest.version != version:
        raise AvatarInvalid(f"{folder} was replaced: {manifest.version}, and not {version}")
    return manifest


def _message_of(number: int, result: MouthResult | Exception) -> EngineMessage:
    """What a runtime is sent. Runs in the engine's pool, as it copies pixels."""
    if isinstance(result, Exception):
        return Failed(number, failure_reason(result))
    if isinstance(result.made, RenderRefusal):
        return Refused(number, result.made.reason)
    if result.made is None:
        return Made(number)
    return Made(number, *result.made.rectangle, planes=result.made.to_bytes())


def _picture(manifest: Manifest, region: Rectangle | None, planes: bytes) -> Picture:
    """Return a picture of which the engine may read ``region``."""
    profile = manifest.profile
    picture = np.empty((profile.height * 3 // 2, profile.width), np.uint8)
    if region is not None:
        compositor.paste_into(picture, Patch.from_bytes(region, planes))
    return picture
