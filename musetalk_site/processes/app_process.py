"""An app process's end of the control socket.

It reports the load once a second, hands streams over to be placed, adopts those that were placed
here, and lets the registry of sessions and the history of this process work together with those of
the other processes.
"""

import asyncio
import contextlib
import itertools
import logging
import os
import socket
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import msgspec

from avatars_app.access.rates import Charge, Refusal
from musetalk_site.processes.control import ControlSocket, PeerGone
from musetalk_site.processes.messages import (
    AdoptConnection,
    Answer,
    AnswerOfOther,
    Asked,
    AskOthers,
    Beat,
    ChargesSpent,
    ConnectionAnswered,
    OthersDone,
    OwnSession,
    PlaceConnection,
    ProcessEnded,
    Question,
    ReleaseSession,
    SessionOwned,
    SpeechWaits,
    SpeechWaitsElsewhere,
    SpendCharges,
    SupersedeSession,
    SupervisorMessage,
    in_messages,
)
from musetalk_site.telemetry import collection
from streaming.gateway.registry import Registry
from streaming.gateway.stills import next_idr
from streaming.history.writer import HistoryWriter
from streaming.protocol.errors import HolderFull, SessionIdTaken

log = logging.getLogger(__name__)

BEAT_EVERY_S = 1.0
ANSWER_WITHIN_S = 2.0
"""A supervisor that does not answer for so long is not waited for."""


@dataclass(slots=True)
class _Asking:
    """A thread that waits for the other processes."""

    answers: list[bytes] = field(default_factory=list)
    is_done: threading.Event = field(default_factory=threading.Event)


class AppProcess:
    """Implements `streaming.gateway.registry.Peers`; lives on one event loop."""

    def __init__(
        self,
        control: int,
        *,
        registry: Registry,
        writer: HistoryWriter,
        is_ready: Callable[[], bool],
        adopt: Callable[[int, bytes, Callable[[], None]], None],
        streams: Callable[[], int],
        on_end: Callable[[], None],
    ) -> None:
        """Take over the control socket.

        Args:
            control: Its descriptor.
            registry: The sessions of this process.
            writer: The history of this process.
            is_ready: Whether sessions can be served.
            adopt: Serves a connection, given its descriptor, what was read from it, and what is to
                be called once the client has an answer.
            streams: How many streams are open here, counting each from its adoption on.
            on_end: Called when the supervisor is gone.
        """
        self._registry = registry
        self._writer = writer
        self._is_ready = is_ready
        self._adopt = adopt
        self._streams = streams
        self._adopted = 0
        self._control: ControlSocket[SupervisorMessage] = ControlSocket(
            socket.socket(fileno=control),
            msgspec.msgpack.Decoder(SupervisorMessage),
            on_message=self._receive,
            on_end=on_end,
        )
        self._requests = itertools.count(1)
        self._owning: dict[int, asyncio.Future[SessionOwned]] = {}
        self._spending: dict[int, Future[Refusal | None]] = {}
        self._asking: dict[int, _Asking] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Report from now on, and take part."""
        self._loop = asyncio.get_running_loop()
        self._control.start()
        self._spawn(self._beat())

    async def stop(self) -> None:
        """Take no more part."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._control.close()

    def hand_over(self, descriptor: int, head: bytes, session: str | None) -> bool:
        """Have a stream placed.

        Args:
            descriptor: Of its connection, which this process must then close without a word.
            head: What was read from it.
            session: The key of the session that it names.

        Returns:
            Whether that was possible; otherwise it must be served here.
        """
        try:
            self._control.send(PlaceConnection(head, session), descriptor)
        except (PeerGone, ValueError):
            return False
        return True

    # `streaming.gateway.registry.Peers`.

    async def own_session(self, session: str, owner: str, limits: Mapping[str, int]) -> None:
        """Let this process have the session, if it may; see `Peers`."""
        request = self._new_request()
        answer = self._owning[request] = self._loop.create_future()
        try:
            self._control.send(OwnSession(request, session, owner, dict(limits)))
            owned = await asyncio.wait_for(answer, ANSWER_WITHIN_S)
        except (PeerGone, TimeoutError) as error:
            log.warning("the supervisor was not asked for a session: %r", error)
            return
        finally:
            del self._owning[request]
        if owned.full is not None:
            raise HolderFull(owned.full, limits[owned.full])
        if not owned.is_granted:
            raise SessionIdTaken

    def spend(self, charges: Sequence[Charge]) -> Refusal | None:
        """Count what a client wants to do, for all processes; waits, in any other thread."""
        request = self._new_request()
        answer: Future[Refusal | None] = Future()
        self._spending[request] = answer

        def ask() -> None:
            try:
                self._control.send(SpendCharges(request, list(charges)))
            except PeerGone:
                answer.set_result(None)

        self._loop.call_soon_threadsafe(ask)
        try:
            return answer.result(ANSWER_WITHIN_S)
        except TimeoutError:
            log.warning("the supervisor did not count %s: it is allowed", charges[0].what)
            return None
        finally:
            del self._spending[request]

    def speech_waits(self, samples: Mapping[str, int]) -> None:
        """Tell the other processes how much speech waits here, of some subjects."""
        with contextlib.suppress(PeerGone):
            for some in in_messages(samples):
                self._control.send(SpeechWaits(some))

    def release_session(self, session: str) -> None:
        """Release a session that is no longer here."""
        with contextlib.suppress(PeerGone):  # so are its owners, then
            self._control.send(ReleaseSession(session))

    def refresh(self) -> None:
        """Have the other processes write down their sessions; waits for that, in any thread."""
        self._ask("refresh")

    def numbers_of_others(self) -> list[bytes]:
        """Return what the other processes count, as `collection.packed` there.

        This waits, in any thread.
        """
        return self._ask("numbers")

    def still(self, session: str) -> bytes | None:
        """Return the next IDR of a session of another process; waits, in any thread."""
        return next(iter(self._ask("still", session)), None)

    def _ask(self, what: Question, about: str = "") -> list[bytes]:
        """Ask all other processes, and wait for their answers in the calling thread."""
        asking = _Asking()
        request = self._new_request()
        self._asking[request] = asking

        def ask() -> None:
            try:
                self._control.send(AskOthers(request, what, about))
            except PeerGone:
                asking.is_done.set()

        self._loop.call_soon_threadsafe(ask)
        asking.is_done.wait(ANSWER_WITHIN_S + 0.5)
        self._asking.pop(request, None)
        return asking.answers

    # From the supervisor.

    def _receive(self, message: SupervisorMessage, descriptor: int | None) -> None:
        match message:
            case AdoptConnection(head, transfer) if descriptor is not None:
                self._adopted += 1
                self._adopt(descriptor, head, lambda: self._answered(transfer))
            case SessionOwned(request):
                answer = self._owning.get(request)
                if answer is not None and not answer.done():
                    answer.set_result(message)
            case ChargesSpent(request, refusal):
                if spending := self._spending.get(request):
                    spending.set_result(refusal)
            case SpeechWaitsElsewhere(samples):
                self._registry.subject_speech.update_elsewhere(samples)
            case SupersedeSession(session):
                self._spawn(self._registry.supersede(session))
            case Asked(request, what, about):
                self._spawn(self._answer(request, what, about))
            case AnswerOfOther(request, content):
                if asking := self._asking.get(request):
                    asking.answers.append(content)
            case ProcessEnded(pid):
                self._writer.process_ended(pid)
            case OthersDone(request):
                if asking := self._asking.get(request):
                    asking.is_done.set()
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _answered(self, transfer: int) -> None:
        with contextlib.suppress(PeerGone):
            self._control.send(ConnectionAnswered(transfer))

    async def _answer(self, request: int, what: Question, about: str) -> None:
        if what == "refresh":
            await asyncio.to_thread(self._writer.refresh)
            answer = Answer(request)
        elif what == "still":
            answer = Answer(request, await next_idr(self._registry, about) or b"")
        else:
            answer = Answer(request, collection.packed())
        try:
            self._control.send(answer)
        except PeerGone:
            return
        except ValueError as error:
            log.warning("a question of another process: %s", error)
            self._control.send(Answer(request))

    async def _beat(self) -> None:
        while True:
            links = [connection.session.link for connection in self._registry]
            with contextlib.suppress(PeerGone):
                self._control.send(
                    Beat(
                        streams=self._streams(),
                        speaking=sum(link is not None and link.queued_ms > 0 for link in links),
                        adopted=self._adopted,
                        is_ready=self._is_ready() and self._registry.takes_sessions,
                    )
                )
            self._registry.subject_speech.report()
            await asyncio.sleep(BEAT_EVERY_S)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _new_request(self) -> int:
        return next(self._requests)
