"""A TCP proxy that can stop forwarding without closing anything, as a broken network does."""

import asyncio
import contextlib
import threading
from typing import Self


class SilentProxy:
    """Forwards connections to ``port`` of this machine, on a thread of its own.

    `cut` closes the connections that exist. `silence` makes them forward nothing, for ever, and
    stay open. With ``new_as_well`` those that are made later are accepted and silent too, until
    `heal`.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._generation = 0
        self._is_silent = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        serving = asyncio.run_coroutine_threadsafe(self._serve(), self._loop)
        self.port = serving.result(5)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def silence(self, *, new_as_well: bool) -> None:
        self._generation += 1
        self._is_silent = new_as_well

    def heal(self) -> None:
        """New connections are forwarded; those that were silenced stay silent."""
        self._is_silent = False

    def cut(self) -> None:
        """Close the connections that exist, without a farewell of what they carry."""
        for task in list(self._tasks):
            self._loop.call_soon_threadsafe(task.cancel)

    async def _serve(self) -> int:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._forward(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        generation = -1 if self._is_silent else self._generation
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65_536):
                if generation == self._generation:
                    sink.write(data)
                    await sink.drain()
            if generation == self._generation:
                sink.close()

        with contextlib.suppress(OSError):
            try:
                await asyncio.gather(pump(reader, back), pump(there, writer))
            finally:
                writer.close()
                back.close()
