"""Starts the engine process, and again after it ended.

The listening socket belongs to the launcher and is inherited by each engine process, so its address
stays the same, and runtimes that connect while none is ready wait in its queue. An engine that
cannot run here, or a process that ends `DEATHS` times within `DEATHS_WITHIN_S`, is not started
again: from then on the launcher itself answers each connection with the reason.

The other end of a second inherited socket stays with the launcher. An engine process serves after a
byte has come on that socket, and answers with one as soon as it does. From then on a second process
stands by: it has imported what it needs and read the networks, at low priority, and takes the
place of one that ended within about a second. A process whose launcher was killed sees the socket
closed, and ends.
"""

import asyncio
import contextlib
import logging
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from inference.engines.process.messages import RuntimeMessage, Unavailable
from inference.engines.process.stream import MessageStream, accepting
from inference.restarts import DEATHS, DEATHS_WITHIN_S, RestartLimit, describe_status

log = logging.getLogger(__name__)

RESTART_AFTER_S = 0.2
STANDBY_AFTER_S = 2.0
"""When a process has served for so long, a second one is started, to take its place: importing
torch and the networks' libraries and reading weights takes longer than all the rest."""
END_WITHIN_S = 1.0
"""How long the process may take to end; it holds nothing that could be lost."""
MAX_REASON_BYTES = 4_096
SERVE = b"\n"
"""What an engine process is sent when it is to serve."""
SERVES = b"\n"
"""What it answers when it does; otherwise it says why it cannot, in words."""
UNAVAILABLE_STATUS = 3
"""The exit status of an engine process that cannot run here, and has said why."""

Command = Callable[[int, int], Sequence[str]]
"""The command line of an engine process that inherits a listening socket and a launcher's socket,
given their descriptors."""


@dataclass(slots=True, eq=False)
class _Child:
    """An engine process, and our end of its socket."""

    process: asyncio.subprocess.Process
    ours: socket.socket
    serves: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it does."""
    _said: bytearray = field(default_factory=bytearray)
    _listening: "asyncio.Task[None] | None" = None

    def listen(self) -> None:
        """Receive what it says, from now on."""
        self.ours.setblocking(False)
        self._listening = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        with contextlib.suppress(OSError):
            loop = asyncio.get_running_loop()
            while said := await loop.sock_recv(self.ours, MAX_REASON_BYTES):
                if said == SERVES:
                    self.serves.set()
                elif len(self._said) < MAX_REASON_BYTES:
                    self._said += said

    def go(self) -> None:
        """Have it serve: until then it has only prepared for that."""
        with contextlib.suppress(OSError):  # it ended already
            self.ours.sendall(SERVE)

    async def end(self) -> str:
        """End it if it still runs; what it said on the socket."""
        with contextlib.suppress(ProcessLookupError):
            if self.process.returncode is None:
                self.process.terminate()
                try:
                    await asyncio.wait_for(self.process.wait(), END_WITHIN_S)
                except TimeoutError:
                    self.process.kill()
                    await self.process.wait()
        if self._listening is not None:
            await asyncio.wait({self._listening}, timeout=END_WITHIN_S)
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        self.ours.close()
        return self._said.decode(errors="replace")


class EngineLauncher:
    """Keeps an engine process running. Lives on one event loop, from `start` to `stop`."""

    def __init__(self, command: Command) -> None:
        """Open the socket; nothing is started yet.

        Args:
            command: The command line of an engine process.
        """
        self._command = command
        self._folder = tempfile.TemporaryDirectory(prefix="avatar-engine-")  # of mode 0700
        self.address = Path(self._folder.name) / "engine"
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(str(self.address))
        self._listening.listen(256)
        self._child: _Child | None = None
        self._restarts = RestartLimit()
        self._life: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Of the engine process that runs now."""
        return None if self._child is None else self._child.process.pid

    def start(self) -> None:
        """Start the process."""
        self._life = asyncio.get_running_loop().create_task(self._keep_alive())

    async def stop(self) -> None:
        """End the process, and close the socket."""
        if self._life is not None:
            self._life.cancel()
            await asyncio.gather(self._life, return_exceptions=True)
        self._listening.close()
        self._folder.cleanup()

    async def _keep_alive(self) -> None:
        child: _Child | None = None
        try:
            reason = None
            while reason is None:
                child = self._child = child or await self._spawn()
                child.go()
                standing_by = asyncio.get_running_loop().create_task(self._spawn_standby(child))
                try:
                    reason = await self._wait(child)
                finally:
                    child = await _taken(standing_by)
                if child is None:
                    await asyncio.sleep(RESTART_AFTER_S)
        except OSError as error:
            reason = f"it could not be started: {error}"
        finally:
            if child is not None:
                await child.end()
        log.error("there is no engine process: %s", reason)
        await self._decline_all(reason)

    async def _spawn(self) -> "_Child":
        ours, theirs = socket.socketpair()
        inherited = (self._listening.fileno(), theirs.fileno())
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command(*inherited),
                pass_fds=inherited,
                start_new_session=True,  # Ctrl-C reaches the launcher only
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        child = _Child(process, ours)
        child.listen()
        return child

    async def _spawn_standby(self, child: "_Child") -> "_Child":
        """Start the process that takes the place of ``child``, once that one serves."""
        await child.serves.wait()
        await asyncio.sleep(STANDBY_AFTER_S)
        return await self._spawn()

    async def _wait(self, child: "_Child") -> str | None:
        """Wait for its end; why no other is to be started, or None."""
        try:
            status = await child.process.wait()
        finally:
            self._child = None
            said = await child.end()
        if status == UNAVAILABLE_STATUS:
            return said
        how = describe_status(status)
        log.error("the engine process ended (%s); starting another", how)
        if not self._restarts.count_death(time.monotonic()):
            return None
        return (
            f"it ended {DEATHS} times within {DEATHS_WITHIN_S:.0f} s, the last time with {how}; "
            "what it said stands in the log"
        )

    async def _decline_all(self, reason: str) -> None:
        """Answer each connection with the reason why there is no engine."""
        async with accepting(self._listening, lambda: _declining(reason)):
            await asyncio.Event().wait()


def engine_process_command(manage: Path, device: str) -> Command:
    """Command lines of ``manage.py run_engine``.

    Args:
        manage: The path of manage.py.
        device: What the engine runs on, as one of DEVICE.
    """

    def command(listening: int, launcher: int) -> list[str]:
        sockets = f"{listening},{launcher}"
        return [
            *(sys.executable, str(manage), "run_engine"),
            *("--device", device, "--sockets", sockets),
        ]

    return command


def _declining(reason: str) -> MessageStream[RuntimeMessage]:
    def tell() -> None:
        stream.send(Unavailable(reason))

    stream: MessageStream[RuntimeMessage] = MessageStream(
        msgspec.msgpack.Decoder(RuntimeMessage),
        on_message=lambda _: None,
        on_end=lambda: None,
        on_begin=tell,
    )
    return stream


async def _taken(standing_by: "asyncio.Task[_Child]") -> "_Child | None":
    """Return the process that stands by, if it was started."""
    standing_by.cancel()
    with contextlib.suppress(asyncio.CancelledError, OSError):
        return await standing_by
    return None
