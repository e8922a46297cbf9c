"""A client of few lines: JSON in, JSON out, nothing of the project's own code."""

import base64
import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import websockets

from tests.processes import Process, free_port

SETTINGS = {
    "DJANGO_SETTINGS_MODULE": "musetalk_site.settings",
    "ENGINE": "viseme",
    "PROCESSES": "1",
}
"""Of every process, unless a test says otherwise."""

ONE_AND_TWO_PROCESSES = ["1", pytest.param("2", marks=pytest.mark.lasting)]
"""Values of `PROCESSES` for what must hold over processes, too."""

CLOSE_TIMEOUT_S = 0.5
"""A client that has not read all frames cannot read the server's farewell."""

Message = dict[str, Any]


class Stream:
    """One session on an open WebSocket."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket
        self.session_id = str(uuid.uuid4())
        self.last_frame = -1

    async def send(self, type: str, **data: object) -> None:
        message = {"type": type, "session_id": self.session_id, "data": data}
        await self.socket.send(json.dumps(message))

    async def next(self) -> Message:
        message: Message = json.loads(await self.socket.recv())
        if message["type"] == "VIDEO_FRAME":
            self.last_frame = message["data"]["frame_timestamp"] // 40
        return message

    async def wait_for(self, type: str) -> Message:
        """The data of the next message of this type."""
        while (message := await self.next())["type"] != type:
            is_late = message["data"].get("details") == {"reason": "engine_late"}  # a busy machine
            assert message["type"] != "ERROR" or is_late, message
        return message["data"]

    async def frames(self, count: int) -> list[Message]:
        return [await self.wait_for("VIDEO_FRAME") for _ in range(count)]

    async def say(self, pcm: bytes) -> None:
        for at in range(0, len(pcm), 1_280):
            chunk = base64.b64encode(pcm[at : at + 1_280]).decode()
            await self.send(
                "GENERATE",
                audio_chunk={
                    "format": "pcm_s16le",
                    "sample_rate": 16_000,
                    "channels": 1,
                    "duration_ms": 40,
                    "data": chunk,
                },
            )

    async def end(self) -> tuple[list[Message], int | None]:
        """All that still comes, and the close code."""
        messages = []
        try:
            while True:
                messages.append(await self.next())
        except websockets.ConnectionClosed as closed:
            return messages, closed.rcvd.code if closed.rcvd else None


class Server:
    """A server process that listens on a port of this machine."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self.port = port
        self.origin = f"http://127.0.0.1:{port}"
        """Of its pages."""
        self.address = f"ws://127.0.0.1:{port}"
        """Of its streams, as clients have it."""

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(self.origin + path, timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def wait_until_it_answers(self, timeout_s: float = 30.0) -> None:
        end_s = time.monotonic() + timeout_s
        while True:
            try:
                self.get("/health")
                return
            except OSError:
                assert time.monotonic() < end_s, self.process.output
                assert self.process.is_running, self.process.output
                time.sleep(0.02)

    def wait_until_it_takes_sessions(self) -> None:
        """Wait until all its processes do."""
        count = self.process.env.get("PROCESSES", "1")
        said = "takes sessions" if count == "1" else f"{count} processes are ready"
        self.process.wait_for(said, 60)

    @asynccontextmanager
    async def stream(
        self, user_id: str = "someone", session_id: str | None = None
    ) -> AsyncIterator[Stream]:
        """An open WebSocket with INIT sent."""
        uri = f"{self.address}/musetalk/v1/ws/{user_id}"
        async with websockets.connect(uri, max_size=None, close_timeout=CLOSE_TIMEOUT_S) as socket:
            stream = Stream(socket)
            stream.session_id = session_id or stream.session_id
            await stream.send("INIT", user_id=user_id)
            yield stream


def start_server(start: Callable[..., Process], *arguments: str, **variables: str) -> Server:
    """Start `manage.py serve` on a free port, without waiting for it."""
    port = free_port()
    command = ("manage.py", "serve", "--host", "127.0.0.1", "--port", str(port), *arguments)
    return Server(start(*command, **variables), port)
