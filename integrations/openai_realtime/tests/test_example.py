"""The example, against a service of the tests' own that speaks the Realtime API's events."""

import asyncio
import base64
import json
import os
import sys
from pathlib import Path

from avatar_server import ROOT, AvatarServer
from websockets.asyncio.server import ServerConnection, serve

from .test_bridge import sound

FOLDER = Path(__file__).resolve().parent.parent


class RealtimeService:
    """Answers each request by a second of sound."""

    def __init__(self) -> None:
        self.received: list[dict[str, object]] = []
        self.key = ""

    async def __call__(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.key = connection.request.headers["Authorization"]
        count = 0
        async for text in connection:
            event = json.loads(text)
            self.received.append(event)
            if event["type"] != "response.create":
                continue
            count += 1
            item = {"item_id": f"item_{count}", "content_index": 0}
            delta = base64.b64encode(sound(0, 1_000)).decode()
            for answer in (
                {"type": "response.created", "response": {"id": f"resp_{count}"}},
                {"type": "response.output_audio.delta", "delta": delta, **item},
                {"type": "response.output_audio.done", **item},
                {"type": "response.output_audio_transcript.done", "transcript": "Hello.", **item},
                {"type": "response.done", "response": {"id": f"resp_{count}"}},
            ):
                await connection.send(json.dumps(answer))


async def test_a_line_is_answered_and_another_one_interrupts(avatar_server: AvatarServer) -> None:
    service = RealtimeService()
    async with serve(service, "127.0.0.1", 0) as running:
        port = next(iter(running.sockets)).getsockname()[1]
        paths = f"{FOLDER / 'src'}:{ROOT / 'clients' / 'python' / 'src'}"
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(FOLDER / "examples" / "terminal.py"),
            avatar_server.address,
            "terminal",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={
                **os.environ,
                "PYTHONPATH": paths,
                "REALTIME_URL": f"ws://127.0.0.1:{port}",
                "OPENAI_API_KEY": "secret",
            },
        )
        assert process.stdin is not None
        assert process.stdout is not None
        async with asyncio.timeout(60):
            assert b"watch-token=" in await process.stdout.readline()
            process.stdin.write(b"Good morning\n")
            assert await process.stdout.readline() == b"avatar: Hello.\n"
            await asyncio.sleep(0.6)
            process.stdin.write(b"Stop\n")
            assert await process.stdout.readline() == b"avatar: Hello.\n"
            process.stdin.close()
            assert await process.wait() == 0
    assert service.key == "Bearer secret"
    kinds = [event["type"] for event in service.received]
    assert kinds.count("response.create") == 2
    (truncation,) = [e for e in service.received if e["type"] == "conversation.item.truncate"]
    assert truncation["item_id"] == "item_1"
