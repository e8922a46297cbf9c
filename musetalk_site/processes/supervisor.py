"""The process that starts the others, restarts them, and decides where streams go.

Theory of operation
-------------------
N app processes share the listening socket, and each has a control socket of its own. The fork
server starts them at the supervisor's word. The supervisor runs no Django code, serves nothing and
holds no session, so there is little that could stop it.

Any process may accept any connection. One that reads a stream's request sends the connection's
descriptor here with what it has read, and `Placement` says which process adopts it. Everything else
is answered where it came in. Until the request was answered the connection is kept here, too, for
the case that the process dies with it (`Transfers`).

A process that dies is replaced at once; if it dies `DEATHS` times within `DEATHS_WITHIN_S`, the
supervisor gives up. At the end every process gets SIGTERM, and `END_WITHIN_S` beyond the
time that its streams may continue (`DRAIN_S`); after a second signal, or an interrupt, it gets
SIGINT, which ends it at once. A supervisor that is killed takes its processes with it: they end
when their control socket does.
"""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from avatars_app.access.rates import RateCounter
from inference.restarts import DEATHS, DEATHS_WITHIN_S, RestartLimit, describe_status
from musetalk_site.interrupts import interrupts
from musetalk_site.processes.control import ControlSocket, PeerGone, control_pair
from musetalk_site.processes.fork_server import AppChild, ForkFailed, ForkServer
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
    ProcessMessage,
    ReleaseSession,
    SessionOwned,
    SpeechWaits,
    SpeechWaitsElsewhere,
    SpendCharges,
    SupersedeSession,
    in_messages,
)
from musetalk_site.processes.placement import Placement
from musetalk_site.processes.speech import SpeechLedger
from musetalk_site.processes.transfers import Transfer, Transfers
from musetalk_site.telemetry import collection
from musetalk_site.telemetry.families import restarts

log = logging.getLogger(__name__)

END_WITHIN_S = 10.0
RESTART_AFTER_S = 0.1
FORK_AGAIN_AFTER_S = 2.0
"""A system that has no memory for a process, or too many, may have had enough of them by then."""
ANSWERS_WITHIN_S = 2.0


class SupervisorFailed(Exception):
    """Processes die repeatedly; the message says which, and how."""


@dataclass(slots=True, eq=False)
class _Process:
    """An app process that runs."""

    number: int
    child: AppChild
    control: ControlSocket[ProcessMessage]
    was_ready: bool = False
    """Whether it has served."""


@dataclass(slots=True, eq=False)
class _Question:
    """A process waits for the answers of the others."""

    number: int
    asker: int
    request: int
    missing: set[int]
    timeout: asyncio.TimerHandle


class Supervisor:
    """Runs the app processes of a machine until a signal ends it."""

    def __init__(
        self, count: int, forks: ForkServer, *, engines: Sequence[str] = (), drain_s: float = 0.0
    ) -> None:
        """Prepare to run.

        Args:
            count: How many processes.
            forks: Starts them.
            engines: The addresses of engine processes.
            drain_s: For how long their streams may continue after a signal.
        """
        self._count = count
        self._forks = forks
        self._engines = engines
        self._drain_s = drain_s
        self._placement = Placement()
        self._transfers = Transfers()
        self._rates = RateCounter()
        self._speech = SpeechLedger()
        self._processes: dict[int, _Process] = {}
        self._restarts: defaultdict[int, RestartLimit] = defaultdict(RestartLimit)
        self._deaths = 0
        self._failure: str | None = None
        self._end = asyncio.Event()
        self._drains = True
        """Whether streams may continue after a signal; a second one, or Ctrl-C, ends them."""
        self._lives: set[asyncio.Task[None]] = set()
        self._questions: dict[int, _Question] = {}
        self._next_question = 0
        self._is_ready = False

    async def run(self) -> None:
        """Run the processes until an interrupt, SIGTERM or `stop`.

        Raises:
            SupervisorFailed: They die repeatedly.
        """
        loop = asyncio.get_running_loop()
        for number in interrupts():
            loop.add_signal_handler(number, self.stop_at_once)
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        self._forks.start()
        log.info("starting %d processes", self._count)
        self._lives = {loop.create_task(self._keep_alive(n)) for n in range(self._count)}
        await self._end.wait()
        self._terminate_all()
        within_s = self._drain_s + END_WITHIN_S
        _, left = await asyncio.wait(self._lives, timeout=within_s)
        for process in self._processes.values():
            log.warning("process %d did not end in %.0f s: killed", process.number, within_s)
            process.child.signal(signal.SIGKILL)
        for life in left:
            life.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)
        self._transfers.close()
        self._forks.close()
        if self._failure is not None:
            raise SupervisorFailed(self._failure)

    def stop(self) -> None:
        """End all processes, and `run`; twice: without letting them drain."""
        if self._end.is_set():
            self.stop_at_once()
        self._end.set()

    def stop_at_once(self) -> None:
        """End all processes, and `run`, without letting them drain; once is enough."""
        if not self._drains:
            return
        self._drains = False
        if self._end.is_set():  # otherwise `run` does
            self._terminate_all()
        self._end.set()

    def _terminate_all(self) -> None:
        """Send each process the signal to drain, or to end at once.

        One that has not served yet has nothing to drain, and may not handle an interrupt yet.
        """
        for process in self._processes.values():
            drains = self._drains or not process.was_ready
            process.child.signal(signal.SIGTERM if drains else signal.SIGINT)

    async def _keep_alive(self, number: int) -> None:
        """Run one process, repeatedly, until the end."""
        while not self._end.is_set():
            try:
                status, was_ready = await self._run_once(number)
            except ForkFailed as error:
                log.error("process %d could not be started: %s; trying again", number, error)
                await self._pause(FORK_AGAIN_AFTER_S)
                continue
            except Exception as error:
                log.exception("process %d could not be started", number)
                self._fail(f"process {number} could not be started: {error}")
                return
            if self._end.is_set():
                return
            log.error("process %d ended (%s); starting another", number, describe_status(status))
            self._count_death(number, status, was_ready=was_ready)
            await self._pause(RESTART_AFTER_S)

    async def _pause(self, seconds: float) -> None:
        """Wait so long, or until the end."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._end.wait(), seconds)

    async def _run_once(self, number: int) -> tuple[int, bool]:
        """Run one process; returns its exit status, and whether it has served."""
        process = await self._start(number)
        child = process.child
        try:
            status = await child.wait()
        except asyncio.CancelledError:
            child.signal(signal.SIGKILL)
            await child.wait()
            raise
        finally:
            self._remove(process)
        if status != 0:  # it had no time to close its history
            for other in self._processes.values():
                if self._send(other, ProcessEnded(child.pid)):
                    break
        return status, process.was_ready

    async def _start(self, number: int) -> _Process:
        ours, theirs = control_pair()
        try:
            child = await self._forks.fork(number, theirs, self._engines)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        process = _Process(
            number,
            child,
            ControlSocket(
                ours,
                msgspec.msgpack.Decoder(ProcessMessage),
                on_message=lambda message, descriptor: self._receive(process, message, descriptor),
                on_end=lambda: None,  # its exit status follows
            ),
        )
        self._processes[number] = process
        self._placement.process_started(number)
        process.control.start()
        if self._end.is_set():  # while it was started
            child.signal(signal.SIGTERM)
        self._send_speech(self._speech.subjects(), [process])
        return process

    def _remove(self, process: _Process) -> None:
        process.control.receive_rest()  # among it connections that were to be placed
        process.control.close()
        del self._processes[process.number]
        self._placement.process_ended(process.number)
        self._transfers.process_ended(process.number)
        self._give_waiting()
        self._send_speech(self._speech.process_ended(process.number), self._processes.values())
        for question in list(self._questions.values()):
            self._answered(question, process.number)

    def _count_death(self, number: int, status: int, *, was_ready: bool) -> None:
        self._deaths += 1
        if self._restarts[number].count_death(time.monotonic(), was_ready=was_ready):
            when = f"within {DEATHS_WITHIN_S:.0f} s" if was_ready else "before it was ready"
            self._fail(
                f"process {number} ended {DEATHS} times {when}, the last time with "
                f"{describe_status(status)}; what it said stands above."
            )

    def _fail(self, reason: str) -> None:
        self._failure = self._failure or reason
        self.stop()

    # What the processes send.

    def _receive(self, sender: _Process, message: ProcessMessage, descriptor: int | None) -> None:
        try:
            match message:
                case Beat():
                    self._beat(sender, message)
                case PlaceConnection() if descriptor is not None:
                    self._give(
                        self._transfers.begin(
                            descriptor, message, asker=sender.number, now_s=time.monotonic()
                        )
                    )
                case ConnectionAnswered(transfer):
                    self._transfers.end(transfer)
                case OwnSession():
                    self._own(sender, message)
                case ReleaseSession(session):
                    self._placement.release(session, sender.number)
                case AskOthers():
                    self._ask_others(sender, message)
                case SpendCharges(request, charges):
                    self._send(sender, ChargesSpent(request, self._rates.spend(charges)))
                case SpeechWaits(samples):
                    self._speech.reported(sender.number, samples)
                    others = [p for p in self._processes.values() if p is not sender]
                    self._send_speech(list(samples), others)
                case Answer(request, content) if request in self._questions:
                    self._answered(self._questions[request], sender.number, content)
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _beat(self, sender: _Process, beat: Beat) -> None:
        self._placement.reported(
            sender.number,
            streams=beat.streams,
            speaking=beat.speaking,
            adopted=beat.adopted,
            is_ready=beat.is_ready,
        )
        sender.was_ready |= beat.is_ready
        self._give_waiting()
        is_complete = len(self._processes) == self._count
        if not self._is_ready and is_complete:
            self._is_ready = all(load.is_ready for load in self._placement.loads.values())
            if self._is_ready:
                log.info("%d processes are ready", self._count)

    def _give_waiting(self) -> None:
        for transfer in self._transfers.waiting(time.monotonic()):
            self._give(transfer)

    def _give(self, transfer: Transfer) -> None:
        """Send a connection to the process that is to have it; without one, it waits."""
        chosen = self._placement.place(transfer.request.session, asked=transfer.asker)
        adopt = AdoptConnection(transfer.request.head, transfer.number)
        for number in (chosen, transfer.asker):
            process = self._processes.get(number)
            if process is not None and self._send(process, adopt, transfer.descriptor):
                self._placement.given(number)
                transfer.process, transfer.tries = number, transfer.tries + 1
                return

    def _own(self, sender: _Process, message: OwnSession) -> None:
        owned = self._placement.own(message.session, message.user_id, sender.number, message.limits)
        if owned.older is not None and owned.older in self._processes:
            self._send(self._processes[owned.older], SupersedeSession(message.session))
        self._send(sender, SessionOwned(message.request, owned.is_granted, owned.full))

    def _send_speech(self, subjects: Sequence[str], to: Iterable[_Process]) -> None:
        """Send processes how much speech of these subjects waits in the others."""
        for process in to:
            for some in in_messages(self._speech.elsewhere(process.number, subjects)):
                self._send(process, SpeechWaitsElsewhere(some))

    def _ask_others(self, asker: _Process, message: AskOthers) -> None:
        number, self._next_question = self._next_question, self._next_question + 1
        others = {n for n in self._processes if n != asker.number}
        question = _Question(
            number,
            asker.number,
            message.request,
            others,
            asyncio.get_running_loop().call_later(
                ANSWERS_WITHIN_S, lambda: self._end_question(number)
            ),
        )
        self._questions[number] = question
        if message.what == "numbers":  # our own are among the others'
            own = collection.pack((restarts(self._deaths),))
            self._send(self._processes[asker.number], AnswerOfOther(message.request, own))
        for other in list(others):
            if not self._send(self._processes[other], Asked(number, message.what, message.about)):
                others.discard(other)
        if not others:
            self._end_question(number)

    def _answered(self, question: _Question, process: int, content: bytes = b"") -> None:
        if content and (asker := self._processes.get(question.asker)):
            self._send(asker, AnswerOfOther(question.request, content))
        question.missing.discard(process)
        if not question.missing:
            self._end_question(question.number)

    def _end_question(self, number: int) -> None:
        question = self._questions.pop(number, None)
        if question is None:
            return
        question.timeout.cancel()
        if asker := self._processes.get(question.asker):
            self._send(asker, OthersDone(question.request))

    def _send(
        self, process: _Process, message: msgspec.Struct, descriptor: int | None = None
    ) -> bool:
        """Whether it was sent, or queued."""
        try:
            process.control.send(message, descriptor)
        except PeerGone:
            return False  # its end is noticed by itself
        return True
