"""Probes and numbers of real servers."""

import asyncio
import contextlib
import json
import re
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.server import app_processes
from tests.e2e.conftest import Serve
from tests.e2e.talking import Server

ROOT = Path(__file__).resolve().parents[2]


def numbers(server: Server) -> dict[str, float]:
    """Every sample of a scrape, by its name and labels."""
    status, text = server.get("/metrics")
    assert status == 200, text
    return {
        sample.name + json.dumps(sample.labels, sort_keys=True): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


@pytest.mark.lasting
async def test_the_numbers_of_all_processes(serve: Serve) -> None:
    server = serve(PROCESSES="2")
    server.wait_until_it_takes_sessions()
    async with server.stream("ann") as ann, server.stream("bob") as bob:
        await asyncio.gather(ann.frames(10), bob.frames(10))
        await ann.say(b"\x20\x01\xe0\xfe" * 8_000)
        async with asyncio.timeout(60):
            while "audio_timestamp" not in await ann.wait_for("VIDEO_FRAME"):
                pass
        for _ in range(3):  # from whichever process answers
            found = await asyncio.to_thread(numbers, server)
            sessions = {name: n for name, n in found.items() if "avatar_sessions{" in name}
            for state in ("speaking", "idle", "waiting", "detached"):
                assert any(f'"state": "{state}"' in name for name in sessions), sessions
            assert sum(n for name, n in sessions.items() if '"engine": "viseme"' in name) == 2
            assert found['talking_avatar_session_starts_total{"outcome": "started"}'] == 2
            received, sent = (
                found[f'talking_avatar_websocket_bytes_total{{"direction": "{direction}"}}']
                for direction in ("in", "out")
            )
            assert sent > found["talking_avatar_video_bytes_total{}"] > 0 < received
            assert found["talking_avatar_process_restarts_total{}"] == 0
            assert found["talking_avatar_connections_total{}"] == 2
            assert found["talking_avatar_frames_sent_total{}"] >= 20
            assert found["talking_avatar_engine_healthy" + '{"engine": "viseme"}'] == 2
            assert found["talking_avatar_speech_seconds_total{}"] == 1
        await ann.send("INTERRUPT")
        await ann.wait_for("INTERRUPTED")
        found = await asyncio.to_thread(numbers, server)
    for name in ("audio_to_frame_seconds", "interrupt_seconds"):
        assert found[f"talking_avatar_{name}_count{{}}"] == 1, name
        assert 0 <= found[f"talking_avatar_{name}_sum{{}}"] < 5, name
    assert found["talking_avatar_encode_seconds_count{}"] >= 1
    calls = found["talking_avatar_engine_call_seconds_count{}"]
    assert calls == found["talking_avatar_engine_batch_mouths_count{}"] >= 1
    assert found["talking_avatar_engine_batch_mouths_sum{}"] >= calls
    names = [name for name in found if name.startswith("talking_avatar_process_cpu_seconds")]
    assert len(names) == 2
    await _one_that_was_replaced_is_counted(server)


async def _one_that_was_replaced_is_counted(server: Server) -> None:
    app_processes(server.process.pid)[0].kill()
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(OSError):  # the one that answers may be the one that died
                found = await asyncio.to_thread(numbers, server)
                if found["talking_avatar_process_restarts_total{}"] == 1:
                    break
            await asyncio.sleep(0.2)


async def test_errors_and_ends_are_counted(server: Server) -> None:
    errors = 'talking_avatar_errors_total{"code": "INVALID_MESSAGE"}'
    ends = 'talking_avatar_sessions_ended_total{"cause": "client_request"}'
    before = await asyncio.to_thread(numbers, server)
    async with server.stream("ann") as ann:
        await ann.frames(2)
        await ann.send("NONSENSE")
        while (await ann.next())["type"] != "ERROR":
            pass
        await ann.send("CLOSE")
        await ann.end()
    found = await asyncio.to_thread(numbers, server)
    for name in (errors, ends):
        assert found[name] == before.get(name, 0) + 1, name


async def test_the_log_in_json_joins_what_happened_to_a_session(serve: Serve) -> None:
    server = serve(LOG_FORMAT="json")
    async with server.stream("ann") as ann:
        await ann.frames(2)
        session = ann.session_id
        await ann.send("NONSENSE")
        while (await ann.next())["type"] != "ERROR":
            pass
        await ann.send("CLOSE")
        await ann.end()
    assert await asyncio.to_thread(server.process.end) == 0
    lines = [json.loads(line) for line in server.process.output.splitlines()]
    of_session = [line for line in lines if line.get("session") == session]
    assert {line["user"] for line in of_session} == {"ann"}
    assert {line["address"] for line in of_session} == {"127.0.0.1"}
    assert len({line["request"] for line in of_session if "request" in line}) == 1
    assert all("request" in line for line in of_session if line["logger"].startswith("streaming"))
    [sent] = [line for line in of_session if line.get("code") == "INVALID_MESSAGE"]
    assert (sent["avatar"], sent["engine"]) == ("presenter", "viseme")
    [closed] = [line for line in of_session if "close_code" in line]
    assert (closed["close_code"], closed["cause"]) == (1000, "client_request")


def ask(server: Server, path: str, **headers: str) -> int:
    request = urllib.request.Request(server.origin + path, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("options", "headers", "status"),
    [
        ({"METRICS_TOKEN": "secret"}, {}, 401),
        ({"METRICS_TOKEN": "secret"}, {"Authorization": "Bearer wrong"}, 401),
        ({"METRICS_TOKEN": "secret"}, {"Authorization": "Bearer secret"}, 200),
        ({}, {}, 200),
        ({}, {"X-Forwarded-For": "10.0.0.1"}, 401),
        ({"METRICS": False}, {}, 404),
    ],
)
def test_who_may_read_the_numbers(
    client: Client,
    settings,
    options: dict[str, object],
    headers: dict[str, str],
    status: int,
) -> None:
    for name, value in options.items():
        setattr(settings, name, value)
    assert client.get("/metrics", headers=headers).status_code == status


async def test_probes(share: Serve) -> None:
    server = share(SPEAKING_PLACES="1")
    assert ask(server, "/readyz") == 200
    assert ask(server, "/livez") == 200
    assert ask(server, "/readyz?capacity=1") == 200
    async with server.stream() as stream:
        await stream.say(b"\x20\x01\xe0\xfe" * 16_000)
        while "audio_timestamp" not in await stream.wait_for("VIDEO_FRAME"):
            pass
        assert await asyncio.to_thread(ask, server, "/readyz?capacity=1") == 503
        assert await asyncio.to_thread(ask, server, "/readyz") == 200
        stream.socket.transport.abort()
    assert ask(server, "/livez") == 200


def test_a_server_without_its_redis_is_alive_and_not_ready(serve: Serve) -> None:
    server = serve("--no-worker", CHANNEL_REDIS_URL="redis://127.0.0.1:1/0")
    assert ask(server, "/livez") == 200
    assert ask(server, "/readyz") == 503
    assert server.process.end(signal.SIGTERM) == 0


def test_dashboard_and_alerts_name_numbers_that_exist(server: Server) -> None:
    known = set(re.findall(r"^# TYPE (\S+)", server.get("/metrics")[1].decode(), re.MULTILINE))
    texts = [path.read_text() for path in (ROOT / "docs" / "monitoring").iterdir()]
    used = {name for text in texts for name in re.findall(r"talking_avatar_[a-z_]+", text)}
    assert len(used) > 10
    suffixes = ("_bucket", "_count", "_sum")
    unknown = {
        name
        for name in used
        if name not in known and not any(name.removesuffix(s) in known for s in suffixes)
    }
    assert unknown == set()
