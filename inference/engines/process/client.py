"""The engine of another process, as the runtimes of this one see it.

Pictures stay here; what the engine reads of one is cut out and sent with the request. When the
engine process ends, what was requested fails, sessions keep their base video, and the connection is
made again as soon as another engine process listens: avatars are opened there again, and the next
request is answered as before.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from inference.assets.manifest import Manifest
from inference.engines.access import Answer, MouthRequest, MouthResult, traced
from inference.engines.base import EngineState, LoadedAvatar, RenderRefusal
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
    Speaking,
    State,
    Submit,
    Unavailable,
    Withdraw,
)
from inference.engines.process.stream import MessageStream
from inference.errors import AvatarInvalid, EngineError, EngineUnavailable
from inference.media import compositor
from inference.media.types import AudioContext, Patch, Picture, Rectangle
from inference.metrics import CallMetrics, DurationHistogram, SizeHistogram

log = logging.getLogger(__name__)

RECONNECT_EVERY_S = 0.1
MAX_UNSENT_BYTES = 32 * 1024 * 1024
"""What the engine process has not taken: more is not sent, as it would be too late."""

RESTARTING = "The engine is being restarted."
OPENING = "The engine is still opening the avatar."
OPEN_WITHIN_S = 5.0
"""How long a session waits for its avatar; then it begins without lips. MuseTalk takes a second."""


@dataclass(slots=True, eq=False)
class RemoteAvatar:
    """An avatar that is open in the engine process."""

    folder: Path
    version: str
    number: int
    regions: dict[str, NDArray[np.int32]] = field(default_factory=dict)
    """For each clip that is ready, what the engine reads of its pictures."""
    opened: "asyncio.Future[None] | None" = None
    """While it is being opened."""
    is_late: bool = False
    """The engine is still opening it, and nobody waits for that any longer."""

    def region(self, clip: str, index: int) -> Rectangle | None:
        """Return what the engine reads of a picture; None: nothing."""
        regions = self.regions.get(clip)
        if regions is None or index >= len(regions):
            return None
        rectangle = Rectangle(*(int(value) for value in regions[index]))
        return rectangle if rectangle.samples else None


@dataclass(slots=True, eq=False)
class _Waiting:
    """A request that was submitted."""

    request: MouthRequest
    answer: Answer
    trace: str
    """The context of its span; empty: it has none."""
    picture: Picture | None = None


class EngineProcessClient:
    """Implements `access.EngineAccess`. Lives on one event loop, from `connect` to `close`."""

    def __init__(self, address: Path, *, pool: Executor, version: str) -> None:
        """Prepare to connect.

        Args:
            address: Of the engine process's socket.
            pool: Where pictures are decoded and cut, and requests are answered.
            version: Of this software.
        """
        self._address = address
        self._pool = pool
        self._version = version
        self._stream: MessageStream[EngineMessage] | None = None
        """None while there is no engine process that is ready."""
        self._hello: asyncio.Future[None] | None = None
        self._lost = asyncio.Event()
        self._state = State(
            is_healthy=False,
            message=RESTARTING,
            capacity=None,
            lead_s=0.03,
            waiting=0,
            speaking_elsewhere=0,
        )
        self.calls = CallMetrics()
        """Those that this process was sent."""
        self._gone: str | None = None
        """Why there will be no engine any more."""
        self._avatars: dict[int, RemoteAvatar] = {}
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._number_of: dict[MouthRequest, int] = {}
        self._speaking = 0
        self._staying_connected: asyncio.Task[None] | None = None
        self.name = ""
        self.context = AudioContext(0, 0)

    async def connect(self) -> None:
        """Wait until the engine is loaded there, and stay connected from then on.

        Raises:
            EngineUnavailable: There will be none; says why.
        """
        try:
            await self._connect()
        except EngineUnavailable as error:
            self._gone = str(error)
            raise
        self._introduce()
        self._staying_connected = asyncio.create_task(self._stay_connected())

    async def close(self) -> None:
        """Disconnect."""
        if self._staying_connected is not None:
            self._staying_connected.cancel()
            await asyncio.gather(self._staying_connected, return_exceptions=True)
        if self._stream is not None:
            self._stream.close()

    async def _connect(self) -> None:
        while True:
            if await self._connect_once():
                return
            await asyncio.sleep(RECONNECT_EVERY_S)

    async def _connect_once(self) -> bool:
        """Whether there is an engine process that is ready."""
        loop = asyncio.get_running_loop()
        hello = self._hello = loop.create_future()
        self._lost = asyncio.Event()

        def end() -> None:
            self._lost.set()
            if not hello.done():
                hello.set_exception(ConnectionError("the engine process ended"))

        stream: MessageStream[EngineMessage] = MessageStream(
            msgspec.msgpack.Decoder(EngineMessage), on_message=self._receive, on_end=end
        )
        try:
            await loop.create_unix_connection(lambda: stream, str(self._address))
            await hello
        except OSError:
            stream.close()
            return False
        except BaseException:
            stream.close()
            raise
        self._stream = stream
        return True

    async def _stay_connected(self) -> None:
        while True:
            await self._lost.wait()
            self._fail_all()
            log.warning("the engine process ended: speech is shown without lips until it is back")
            try:
                await self._connect()
            except EngineUnavailable as error:
                self._gone = str(error)
                log.error("there is no engine any more: %s", error)
                return
            log.info("the engine process is back")
            self._introduce()

    def _introduce(self) -> None:
        """Tell an engine process that is new what this runtime uses."""
        for avatar in self._avatars.values():
            self._send(OpenAvatar(avatar.number, str(avatar.folder), avatar.version))
        if self._speaking:
            self._send(Speaking(self._speaking))

    def _fail_all(self) -> None:
        """Nothing that was requested will be answered."""
        self._stream = None
        self._state = msgspec.structs.replace(
            self._state, is_healthy=False, message=RESTARTING, waiting=0, speaking_elsewhere=0
        )
        for avatar in self._avatars.values():
            avatar.regions.clear()
            if avatar.opened is not None and not avatar.opened.done():
                avatar.opened.set_result(None)  # it is opened when the engine is back
            avatar.is_late = False
        waiting, self._waiting = self._waiting, {}
        self._number_of.clear()
        for each in waiting.values():
            self._answer(each.answer, EngineError(RESTARTING))

    def _send(self, message: msgspec.Struct) -> None:
        if self._stream is not None:
            self._stream.send(message)

    # `access.EngineAccess`.

    @property
    def lead_s(self) -> float:
        return self._state.lead_s

    @property
    def capacity(self) -> int | None:
        return self._state.capacity

    @property
    def waiting(self) -> int:
        return self._state.waiting

    @property
    def unanswered(self) -> int:
        """Requests of this runtime that were not answered."""
        return len(self._waiting)

    @property
    def speaking_elsewhere(self) -> int:
        return self._state.speaking_elsewhere

    def report_speaking(self, sessions: int) -> None:
        if sessions != self._speaking:
            self._speaking = sessions
            self._send(Speaking(sessions))

    def state(self) -> EngineState:
        if self._gone is not None:
            return EngineState(is_healthy=False, is_lost=True, message=self._gone)
        return EngineState(is_healthy=self._state.is_healthy, message=self._state.message)

    async def open_avatar(self, folder: Path, manifest: Manifest) -> LoadedAvatar:
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        avatar = RemoteAvatar(folder, manifest.version, next(self._numbers), opened=opened)
        self._avatars[avatar.number] = avatar
        if self._stream is None:
            opened.set_result(None)
            return avatar  # it is opened when the engine is back
        self._send(OpenAvatar(avatar.number, str(folder), avatar.version))
        try:
            await asyncio.wait({opened}, timeout=OPEN_WITHIN_S)
            if opened.done():
                opened.result()
                return avatar
        except BaseException:
            del self._avatars[avatar.number]
            raise
        log.warning(
            "the engine has not opened avatar %s within %g s: it is shown without lips until then",
            manifest.name,
            OPEN_WITHIN_S,
        )
        avatar.opened, avatar.is_late = None, True
        return avatar

    def close_avatar(self, avatar: LoadedAvatar) -> None:
        number = cast(RemoteAvatar, avatar).number
        if self._avatars.pop(number, None) is not None:
            self._send(CloseAvatar(number))

    def is_ready(self, avatar: LoadedAvatar, clip: str) -> bool:
        return clip in cast(RemoteAvatar, avatar).regions

    def submit(self, request: MouthRequest, answer: Answer) -> None:
        if self._stream is None or self._stream.unsent_bytes > MAX_UNSENT_BYTES:
            reason = RESTARTING if self._stream is None else "engine_late"
            self._answer(answer, EngineError(self._gone or reason))
            return
        if cast(RemoteAvatar, request.avatar).is_late:
            self._answer(answer, EngineError(OPENING))
            return
        number = next(self._numbers)
        self._number_of[request] = number
        trace, answer = traced("engine.request", request, answer)
        waiting = self._waiting[number] = _Waiting(request, answer, trace)
        region = cast(RemoteAvatar, request.avatar).region(request.clip, request.index)
        if region is None:
            self._submit(number, waiting, b"")
            return

        def done(future: "asyncio.Future[tuple[Picture, bytes]]") -> None:
            if number not in self._waiting:
                future.cancelled() or future.exception()
                return
            if (error := future.exception()) is not None:
                del self._waiting[number], self._number_of[request]
                failure = error if isinstance(error, Exception) else RuntimeError(repr(error))
                self._answer(answer, failure)
                return
            waiting.picture, planes = future.result()
            self._submit(number, waiting, planes)

        loop = asyncio.get_running_loop()
        loop.run_in_executor(self._pool, _cut, request.read_picture, region).add_done_callback(done)

    def _answer(self, answer: Answer, result: MouthResult | Exception) -> None:
        self._pool.submit(answer, result)

    def _submit(self, number: int, waiting: _Waiting, planes: bytes) -> None:
        request = waiting.request
        self._send(
            Submit(
                number,
                cast(RemoteAvatar, request.avatar).number,
                request.clip,
                request.index,
                request.strength,
                request.deadline_s,
                request.window.pcm.tobytes(),
                planes,
                waiting.trace,
            )
        )

    def withdraw(self, request: MouthRequest) -> None:
        number = self._number_of.pop(request, None)
        if number is not None and self._waiting.pop(number, None) is not None:
            self._send(Withdraw(number))

    # What the engine process sends.

    def _receive(self, message: EngineMessage) -> None:
        match message:
            case Made() | Refused() | Failed():
                self._take_result(message)
            case State():
                self._state = message
                if self._hello is not None and not self._hello.done():
                    self._hello.set_result(None)
            case CallsMade(sizes, mouths, durations, total_s):
                self.calls.add(
                    CallMetrics(SizeHistogram(sizes, mouths), DurationHistogram(durations, total_s))
                )
            case ClipReady(number, clip, regions):
                if (avatar := self._avatars.get(number)) is not None:
                    avatar.regions[clip] = np.frombuffer(regions, "<i4").reshape(-1, 4)
            case AvatarOpened(number):
                self._settle(number, None)
            case AvatarRefused(number, reason):
                self._settle(number, AvatarInvalid(reason))
            case Hello():
                self._greet(message)
            case Unavailable(reason):
                self._decline(reason)

    def _greet(self, hello: Hello) -> None:
        if hello.version != self._version:
            self._decline(
                f"the engine process is of version {hello.version}, this one of "
                f"{self._version}: restart the server"
            )
            return
        self.name = hello.name
        self.context = AudioContext(hello.context_before, hello.context_after)

    def _decline(self, reason: str) -> None:
        if self._hello is not None and not self._hello.done():
            self._hello.set_exception(EngineUnavailable(reason))

    def _settle(self, number: int, error: AvatarInvalid | None) -> None:
        avatar = self._avatars.get(number)
        if avatar is not None:
            avatar.is_late = False
        if avatar is None or avatar.opened is None or avatar.opened.done():
            if error is not None:
                log.error("an avatar that is shown cannot be opened: %s", error)
            return
        if error is None:
            avatar.opened.set_result(None)
        else:
            avatar.opened.set_exception(error)

    def _take_result(self, message: Made | Refused | Failed) -> None:
        waiting = self._waiting.pop(message.request, None)
        if waiting is None:
            return  # withdrawn
        del self._number_of[waiting.request]
        match message:
            case Failed(_, reason):
                self._answer(waiting.answer, EngineError(reason))
            case Refused(_, reason):
                refusal = RenderRefusal(reason)
                self._answer(waiting.answer, MouthResult(refusal, waiting.picture))
            case Made(_, x, y, width, height, planes):
                place = Rectangle(x, y, width, height)
                made = Patch.from_bytes(place, planes) if planes else None
                self._answer(waiting.answer, MouthResult(made, waiting.picture))


def _cut(read_picture: Callable[[], Picture], region: Rectangle) -> tuple[Picture, bytes]:
    """Return a picture, and what the engine reads of it. Runs in a pool."""
    picture = read_picture()
    return picture, compositor.cut(picture, region).to_bytes()
