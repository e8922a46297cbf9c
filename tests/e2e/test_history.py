"""The history of sessions, through real processes: who ends one, and who dies."""

import asyncio
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from benchmarks.server import new_database
from streaming.history.writer import LOST_AFTER, WRITE_EVERY_S
from streaming.models import GatewayProcess, SessionRecord
from tests.e2e.conftest import DatabaseOf
from tests.e2e.talking import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def database(tmp_path: Path) -> dict[str, str]:
    return {"DATABASE_URL": new_database(tmp_path)}


@pytest.fixture
def endings(database_of: DatabaseOf) -> Callable[[Server], list[str]]:
    """What the history says of how sessions ended."""

    def read(server: Server) -> list[str]:
        with database_of(server) as alias:
            return list(SessionRecord.objects.using(alias).values_list("close_cause", flat=True))

    return read


def sessions(server: Server) -> dict[str, dict[str, Any]]:
    return json.loads(server.get("/sessions")[1])["active_sessions"]


@pytest.mark.lasting
async def test_an_operator_s_request_reaches_the_process_that_has_the_session(
    serve, database, database_of, endings
):
    server = serve(**database)
    async with server.stream("ann") as stream:
        await stream.frames(5)
        (session,) = sessions(server).values()
        assert (session["user_id"], session["status"]) == ("ann", "streaming")
        assert session["frames_generated"] >= 5
        await asyncio.to_thread(_request_an_end, server, database_of)
        begin_s = time.monotonic()
        messages, code = await stream.end()
        assert time.monotonic() - begin_s < WRITE_EVERY_S + 3
        assert code == 4409
        assert [message["type"] for message in messages[-2:]] == ["ERROR", "CLOSE_ACK"]
        assert messages[-2]["data"]["details"] == {"reason": "ended_by_operator"}
    assert sessions(server) == {}
    assert await asyncio.to_thread(endings, server) == ["operator"]


def _request_an_end(server: Server, database_of: DatabaseOf) -> None:
    with database_of(server) as alias:
        SessionRecord.objects.using(alias).update(termination_requested=True)


async def test_what_a_process_leaves_is_written_when_it_ends(serve, database, endings):
    server = serve(**database)
    async with server.stream("ann") as stream:
        await stream.frames(2)
        server.process.send(signal.SIGTERM)
        await stream.end()
    server.process.wait()
    assert await asyncio.to_thread(endings, server) == ["server_shutdown"]


@pytest.mark.lasting
async def test_sessions_of_a_process_that_died_are_closed_by_the_next(
    serve, database, database_of, endings
):
    first = serve(**database)
    async with first.stream("ann") as stream:
        await stream.frames(2)
        assert len(sessions(first)) == 1
        first.process.send(signal.SIGKILL)
        first.process.wait()
    await asyncio.to_thread(_age_heartbeats, first, database_of)  # quicker than to wait so long
    second = serve(**database)
    patience_s = 3 * WRITE_EVERY_S
    await asyncio.to_thread(second.process.wait_for, "processes that died: 1", patience_s)
    assert await asyncio.to_thread(endings, second) == ["lost"]
    assert sessions(second) == {}


def _age_heartbeats(server: Server, database_of: DatabaseOf) -> None:
    with database_of(server) as alias:
        processes = GatewayProcess.objects.using(alias)
        processes.update(heartbeat_at=timezone.now() - LOST_AFTER)
