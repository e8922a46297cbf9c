"""The history of sessions, through real processes: who ends one, and who dies."""

import asyncio
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.server import new_database
from streaming.history.writer import WRITE_EVERY_S
from tests.e2e.talking import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PRINT_ENDINGS = (
    "from streaming.models import *;"
    "print('endings:', *SessionRecord.objects.values_list('close_cause', flat=True))"
)
AGE_HEARTBEATS = (
    "from streaming.history.writer import LOST_AFTER; from streaming.models import *;"
    "from django.utils import timezone;"
    "GatewayProcess.objects.update(heartbeat_at=timezone.now() - LOST_AFTER)"
)
WISH_AN_END = (
    "from streaming.models import *; SessionRecord.objects.update(termination_requested=True)"
)


@pytest.fixture
def database(tmp_path: Path) -> dict[str, str]:
    return {"DATABASE_URL": new_database(tmp_path)}


@pytest.fixture
def shell(start, database) -> Callable[[str], str]:
    def run(code: str) -> str:
        process = start("manage.py", "shell", "--no-imports", "-c", code, **database)
        assert process.wait(60) == 0, process.output
        return process.output

    return run


def sessions(server: Server) -> dict[str, dict[str, Any]]:
    return json.loads(server.get("/sessions")[1])["active_sessions"]


async def test_an_operator_s_request_reaches_the_process_that_has_the_session(
    serve, database, shell
):
    server = serve(**database)
    async with server.stream("ann") as stream:
        await stream.frames(5)
        (session,) = sessions(server).values()
        assert (session["user_id"], session["status"]) == ("ann", "streaming")
        assert session["frames_generated"] >= 5
        await asyncio.to_thread(shell, WISH_AN_END)
        begin_s = time.monotonic()
        messages, code = await stream.end()
        assert time.monotonic() - begin_s < WRITE_EVERY_S + 3
        assert code == 4409
        assert [message["type"] for message in messages[-2:]] == ["ERROR", "CLOSE_ACK"]
        assert messages[-2]["data"]["details"] == {"reason": "ended_by_operator"}
    assert sessions(server) == {}
    assert shell(PRINT_ENDINGS).strip() == "endings: operator"


async def test_what_a_process_leaves_is_written_when_it_ends(serve, database, shell):
    server = serve(**database)
    async with server.stream("ann") as stream:
        await stream.frames(2)
        server.process.send(signal.SIGTERM)
        await stream.end()
    server.process.wait()
    assert shell(PRINT_ENDINGS).strip() == "endings: server_shutdown"


async def test_sessions_of_a_process_that_died_are_closed_by_the_next(serve, database, shell):
    first = serve(**database)
    async with first.stream("ann") as stream:
        await stream.frames(2)
        assert len(sessions(first)) == 1
        first.process.send(signal.SIGKILL)
        first.process.wait()
    shell(AGE_HEARTBEATS)  # which is quicker than to wait so long
    second = serve(**database)
    patience_s = 3 * WRITE_EVERY_S
    await asyncio.to_thread(second.process.wait_for, "processes that died: 1", patience_s)
    assert shell(PRINT_ENDINGS).strip() == "endings: lost"
    assert sessions(second) == {}
