"""What a server sends to its webhook."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from benchmarks.server import new_database
from tests.certificates import Certificate
from tests.e2e.talking import Server
from tests.webhook_receiver import receiving

TYPES = ("session.started", "session.ended")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


async def until(holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end_s
        await asyncio.sleep(0.1)


@pytest.mark.lasting
async def test_sessions_of_all_processes_are_reported(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    certificate = Certificate.make(tmp_path)
    with receiving(certificate) as receiver:
        server = serve(
            *("--processes", "2"),
            WEBHOOK_URL=receiver.url,
            WEBHOOK_SECRET=SECRET,
            WEBHOOK_PRIVATE_TARGETS="true",
            SSL_CERT_FILE=str(certificate.chain),
            DATABASE_URL=new_database(tmp_path),
        )
        server.process.wait_for("2 processes are ready")
        receiver.status = 500  # each is sent twice
        users = [f"user{number}" for number in range(4)]
        for user in users:
            async with server.stream(user) as stream:
                await stream.frames(2)
                await stream.send("CLOSE")
                await stream.end()
        await until(lambda: len(receiver.came) >= 4)
        receiver.status = 204
        expected = {(type_, user) for type_ in TYPES for user in users}
        found: dict[str, tuple[str, str]] = {}

        def has_all() -> bool:
            for _, headers, body in list(receiver.came):
                said = Webhook(SECRET).verify(body, headers)
                found[headers["webhook-id"]] = (said["type"], said["data"]["user_id"])
            return set(found.values()) == expected

        await until(has_all)
        assert len(found) == len(expected), "an id says one thing"
        ended = [
            json.loads(body)["data"] for _, _, body in receiver.came if "session.ended" in body
        ]
        assert {data["close_cause"] for data in ended} == {"client_request"}
        assert all(data["frames"] >= 2 for data in ended)


async def test_this_machine_is_no_target_by_default(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    certificate = Certificate.make(tmp_path)
    with receiving(certificate) as receiver:
        server = serve(
            WEBHOOK_URL=receiver.url,
            WEBHOOK_SECRET=SECRET,
            SSL_CERT_FILE=str(certificate.chain),
            DATABASE_URL=new_database(tmp_path),
        )
        async with server.stream("ann") as stream:
            await stream.frames(2)
        await asyncio.to_thread(
            server.process.wait_for, "which is no address of the internet; WEBHOOK_PRIVATE_TARGETS"
        )
        assert receiver.came == []
