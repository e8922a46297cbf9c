"""`manage.py serve`: one process that does everything, from its start to its end."""

import asyncio
import json
import math
import re
import signal
import socket
import struct
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import websockets
from django.core.management import CommandError, call_command

from tests.e2e.conftest import Serve, Start
from tests.e2e.talking import Server, Stream

pytestmark = pytest.mark.slow

HUM = b"".join(
    struct.pack("<h", int(9_000 * math.sin(n / 16_000 * 2 * math.pi * 150))) for n in range(16_000)
)
"""One second of a deep hum, s16le at 16 kHz."""


def test_health_says_when_it_can_speak(server: Server) -> None:
    status, body = server.get("/health")
    health = json.loads(body)
    assert status == 200
    assert (health["status"], health["engine"], health["models_loaded"]) == (
        "ready",
        "viseme",
        True,
    )


def test_every_page_is_there(server: Server) -> None:
    pages = {}
    for path in ("/", "/sessions", "/docs", "/redoc", "/openapi.yaml", "/openapi.json"):
        status, body = server.get(path)
        assert status == 200, path
        pages[path] = body.decode()
    assert json.loads(pages["/openapi.json"])["openapi"].startswith("3.")
    assert server.get("/admin/")[0] == 200
    assert server.get("/nowhere")[0] == 404
    for path in ("/health/", "/sessions/", "/docs/", "/openapi.json/", "/livez/"):
        assert server.get(path)[0] == 200, path
    for path in ("/docs", "/redoc", "/"):
        for asset in re.findall(r'(?:src|href)="(/static/[^"]+)"', pages.get(path, "")):
            assert server.get(asset)[0] == 200, asset
        assert not re.findall(r'(?:src|href)="https?://', pages[path]), f"{path} needs others"


def test_the_log_says_where_to_look_and_which_engine_runs(server: Server) -> None:
    said = server.process.output
    for words in (f"http://localhost:{server.port}/", "/musetalk/v1/ws/", "createsuperuser"):
        assert words in said
    assert "engine: viseme" in said
    of_torch = [line for line in said.splitlines() if "torch" in line]
    assert all("[django.request]" in line for line in of_torch)  # a path that another test made up
    assert "weights missing" not in said, "who did not ask for MuseTalk needs no list of files"


async def test_idle_pictures_come_and_speech_is_shown(server: Server) -> None:
    async with server.stream() as stream:
        introduction = await stream.wait_for("INIT_SUCCESS")
        assert introduction["streaming_started"] is True
        first, *rest = await stream.frames(25)
        assert first["keyframe"] is True
        numbers = [frame["frame_timestamp"] for frame in (first, *rest)]
        assert numbers == list(range(numbers[0], numbers[0] + 1_000, 40))

        await stream.say(HUM)
        shown = []
        while len(shown) < 25:
            frame = await stream.wait_for("VIDEO_FRAME")
            if "audio_timestamp" in frame:
                shown.append(frame["audio_timestamp"])
        assert shown == list(range(0, 1_000, 40))
        await stream.send("CLOSE")
        messages, code = await stream.end()
        assert messages[-1]["data"]["reason"] == "client_request"
        assert code == 1000


async def test_a_slash_at_the_end_of_the_address_changes_nothing(server: Server) -> None:
    address = f"{server.address}/musetalk/v1/ws/me/"
    async with websockets.connect(address, max_size=None) as socket:
        stream = Stream(socket)
        await stream.send("INIT", user_id="me")
        await stream.wait_for("INIT_SUCCESS")


async def test_it_ends_cleanly_while_streams_run(serve: Serve) -> None:
    server = serve()
    async with server.stream("old") as old, server.stream("speaking") as speaking:
        await old.frames(30)
        await speaking.frames(1)
        await speaking.say(HUM)
        await speaking.frames(3)
        async with server.stream("young") as young:  # its socket is a moment old
            server.process.send(signal.SIGTERM)
            for stream in (old, speaking, young):
                messages, code = await asyncio.wait_for(stream.end(), 10)
                assert code == 4012
                assert messages[-1]["type"] == "CLOSE_ACK"
                assert messages[-1]["data"]["reason"] == "server_shutdown"
    assert await asyncio.to_thread(server.process.wait) == 0
    assert "Traceback" not in server.process.output, server.process.output


def test_a_request_for_a_foreign_host_costs_one_line_and_ctrl_c_ends_cleanly(serve: Serve) -> None:
    server = serve(ALLOWED_HOSTS="127.0.0.1")
    asked = urllib.request.Request(f"{server.origin}/", headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked, timeout=10)
    with refused.value:
        assert refused.value.code == 400
    server.process.wait_for("evil.example")
    assert server.process.end(signal.SIGINT) == 0
    assert server.process.output.count("Invalid HTTP_HOST header: 'evil.example'") == 1
    assert "[warning] Invalid HTTP_HOST header" in server.process.output
    assert "Traceback" not in server.process.output


def test_a_port_in_use_is_said_in_one_sentence(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = ("manage.py", "serve", "--host", "127.0.0.1", "--port", port)
        for process in [start(*command, PROCESSES=count) for count in ("1", "2")]:
            assert process.wait(30) == 1
            assert f"Cannot start: Port {port} is taken by another program" in process.output
            assert "Address already in use" in process.output
            assert "Traceback" not in process.output


def test_an_old_database_is_said_in_one_sentence(start: Start, tmp_path: Path) -> None:
    process = start("manage.py", "serve", DATABASE_URL=f"sqlite:///{tmp_path}/empty.sqlite3")
    assert process.wait(30) == 1
    assert process.output.endswith("run `.venv/bin/python manage.py migrate` first.\n")


def test_a_database_out_of_reach_is_said_in_one_sentence(start: Start, tmp_path: Path) -> None:
    process = start("manage.py", "serve", DATABASE_URL=f"sqlite:///{tmp_path}")
    assert process.wait(30) == 1
    assert "The database cannot be reached: " in process.output
    assert "Traceback" not in process.output


@pytest.mark.parametrize("command", [("serve", "--no-worker"), ("runworker", "inference")])
def test_without_redis_there_is_no_working_apart(command: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match="CHANNEL_REDIS_URL"):
        call_command(*command)


@pytest.mark.lasting
def test_a_command_measures_how_much_a_running_server_carries(server: Server, start: Start) -> None:
    measuring = start(
        *("manage.py", "load_test", "--kind", "idle", "--counts", "2", "--seconds", "1"),
        *("--server", server.address),
    )
    measuring.wait(90)
    [rung] = re.findall(r"^ +2 +(\d\d\.\d+) .*held", measuring.output, re.MULTILINE)
    assert float(rung) > 10, measuring.output
    assert "idle sessions held" in measuring.output
