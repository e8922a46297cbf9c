"""From an upload to an avatar in a stream, through a real server and its child processes."""

import http.client
import json
import os
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest

from benchmarks.server import new_database
from tests.e2e.conftest import Serve
from tests.e2e.talking import Server
from tests.videos import person, write_sound, write_video

pytestmark = [pytest.mark.slow, pytest.mark.lasting, pytest.mark.timeout(300)]

PREPARED_WITHIN_S = 120
CANCELLED_WITHIN_S = 10


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> bytes:
    return write_video(tmp_path_factory.mktemp("video") / "me.mp4", person(100)).read_bytes()


@pytest.fixture(scope="module")
def long_video(tmp_path_factory) -> bytes:
    """One that takes long enough to be interrupted."""
    path = tmp_path_factory.mktemp("video") / "long.mp4"
    return write_video(path, person(1_000)).read_bytes()


@pytest.fixture
def fresh_database(tmp_path: Path) -> dict[str, str]:
    """Not the one that all tests share: these look at every row."""
    return {"DATABASE_URL": new_database(tmp_path)}


@pytest.fixture(scope="module")
def running(share: Serve, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server that prepares for this module alone."""
    return share(DATABASE_URL=new_database(tmp_path_factory.mktemp("database")))


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    """One that has no avatar, before a test and after it."""
    yield running
    ask(running, "DELETE", "/prepare_avatar/ann")
    wait_until_clean(folder_of(running))


def folder_of(server: Server) -> Path:
    """Where it keeps avatars."""
    return Path(server.process.env["AVATARS_DIR"])


def ask(
    server: Server, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], Any]:
    """Status, headers, and the body: JSON as it is, anything else as bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    found = {name.lower(): value for name, value in response.getheaders()}
    is_json = "json" in found.get("content-type", "")
    return response.status, found, json.loads(content) if is_json else content


def form(files: list[tuple[str, str, bytes]]) -> tuple[bytes, str]:
    """Files as (field, name, content) in a multipart body, and its content type."""
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n".encode()
        + content
        + b"\r\n"
        for field, name, content in files
    ]
    return b"".join(
        parts
    ) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def upload(server: Server, content: bytes, user_id: str = "ann", field: str = "video") -> int:
    body, kind = form([(field, "me.mp4", content)])
    status, _, _ = ask(server, "POST", f"/prepare_avatar/{user_id}", body, **{"Content-Type": kind})
    return status


def state(server: Server, user_id: str = "ann") -> dict[str, Any]:
    return ask(server, "GET", f"/prepare_avatar/{user_id}")[2]


def wait_until(
    holds: Callable[[], Any], what: Callable[[], object], within_s: float = PREPARED_WITHIN_S
) -> float:
    """Returns how long it took, s."""
    begin = time.monotonic()
    while not holds():
        assert time.monotonic() - begin < within_s, f"not within {within_s} s: {what()}"
        threading.Event().wait(0.2)
    return time.monotonic() - begin


def wait_for_end(server: Server, user_id: str = "ann") -> dict[str, Any]:
    wait_until(
        lambda: state(server, user_id)["status"] not in {"queued", "preparing"},
        lambda: (state(server, user_id), server.process.output[-3_000:]),
    )
    return state(server, user_id)


def children(server: Server) -> list[psutil.Process]:
    """Preparations that run; one that has just ended is still listed, without a command."""
    found = []
    for child in psutil.Process(server.process.pid).children(recursive=True):
        with suppress(psutil.Error):
            if "prepare_avatar" in child.cmdline():
                found.append(child)
    return found


def wait_for_child(server: Server) -> psutil.Process:
    seen: list[psutil.Process] = []

    def is_at_work() -> bool:
        seen[:] = children(server)
        return bool(seen and state(server)["stage"])

    wait_until(is_at_work, lambda: (state(server), server.process.output[-3_000:]))
    return seen[0]


def wait_until_clean(avatars_dir: Path) -> None:
    """Nothing is left of preparations."""
    jobs = avatars_dir / ".jobs"
    wait_until(lambda: not list(jobs.iterdir()), lambda: list(jobs.rglob("*")), 20)


def left_in(folder: Path) -> set[str]:
    """Everything that is there, but the empty folders that are always there."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return found | {path.name for path in (folder / ".jobs").glob("*")}


async def test_an_upload_becomes_an_avatar_that_can_be_streamed(server, video):
    assert upload(server, video) == 202
    assert upload(server, video) == 409
    async with server.stream("ann") as early:
        messages, code = await early.end()
        assert code == 4404
        assert messages[0]["data"]["details"]["reason"] == "preparing"
    child = wait_for_child(server)
    assert child.nice() >= 10
    said = wait_for_end(server)
    assert (said["status"], said["percent"], said["error"]) == ("ready", 100, None), said
    assert said["report"]["found"] == 1.0
    wait_until_clean(folder_of(server))

    shown = ask(server, "GET", "/avatars/ann")[2]
    for url in (shown["preview"], shown["thumbnail"], shown["report_picture"]):
        status, headers, content = ask(server, "GET", urlsplit(url).path, Range="bytes=0-9")
        assert (status, len(content)) == (206, 10)
        assert headers["content-range"].startswith("bytes 0-9/")
    async with server.stream("ann") as stream:
        assert (await stream.wait_for("INIT_SUCCESS"))["available_videos"] == [
            clip["name"] for clip in shown["clips"]
        ]
        await stream.frames(10)
    assert ask(server, "DELETE", "/prepare_avatar/ann")[0] == 204
    assert left_in(folder_of(server)) == set()


@pytest.mark.parametrize(
    ("field", "content", "reason"),
    [
        ("video", b"this is no video", "unreadable"),
        ("image", b"this is no picture", "unreadable"),
        ("video", "sound", "no_video"),
        ("video", "half", None),
    ],
    ids=["text", "text as a picture", "sound", "truncated"],
)
def test_what_is_no_video_is_said_so(server, video, tmp_path, field, content, reason):
    if content == "sound":
        content = write_sound(tmp_path / "sound.wav").read_bytes()
    elif content == "half":
        content = video[: len(video) // 2]
    assert upload(server, content, field=field) == 202
    said = wait_for_end(server)
    assert said["status"] == "failed"
    assert reason is None or said["error"]["reason"] == reason
    assert said["error"]["message"].endswith(".")
    assert not (folder_of(server) / "ann").exists()
    wait_until_clean(folder_of(server))
    assert ask(server, "GET", "/processing_status/ann")[0] == 422


def test_zero_bytes_are_refused_at_once(server):
    assert upload(server, b"") == 400


def test_of_uploads_at_once_one_wins(server, video):
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(upload(server, video))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [202, 409, 409, 409]
    assert len(list((folder_of(server) / ".uploads").iterdir())) == 1


def test_cancelling_takes_seconds_and_leaves_nothing(server, long_video):
    folder = folder_of(server)
    assert upload(server, long_video) == 202
    child = wait_for_child(server)
    assert ask(server, "DELETE", "/prepare_avatar/ann")[0] == 204
    took_s = wait_until(
        lambda: not child.is_running() and not left_in(folder),
        lambda: left_in(folder),
        CANCELLED_WITHIN_S,
    )
    assert took_s < CANCELLED_WITHIN_S
    assert ask(server, "GET", "/prepare_avatar/ann")[0] == 404


def test_a_child_that_dies_is_replaced(server, video):
    assert upload(server, video) == 202
    child = wait_for_child(server)
    child.send_signal(signal.SIGKILL)
    wait_until(
        lambda: any(other.pid != child.pid for other in children(server)),
        lambda: server.process.output[-3_000:],
        30,
    )
    assert wait_for_end(server)["status"] == "ready"


@pytest.mark.parametrize("hangs", [False, True], ids=["computes", "hangs"])
def test_one_that_takes_too_long_is_given_up(serve, fresh_database, long_video, hangs):
    server = serve(**fresh_database, PREPARATION_S="4")
    assert upload(server, long_video) == 202
    if hangs:
        wait_for_child(server).send_signal(signal.SIGSTOP)
    said = wait_for_end(server)
    assert (said["status"], said["error"]["reason"]) == ("failed", "took_too_long"), (
        said,
        server.process.output,
    )
    wait_until_clean(folder_of(server))
    assert not children(server)
    assert not (folder_of(server) / "ann").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel has no such limit")
def test_one_that_needs_too_much_memory_says_so(serve, fresh_database, tmp_path):
    gray = np.full((2_160, 3_840, 3), 128, np.uint8)
    video = write_video(tmp_path / "4k.mp4", (gray for _ in range(60))).read_bytes()
    server = serve(**fresh_database, PREPARATION_MEMORY_MB="100")
    assert upload(server, video) == 202
    said = wait_for_end(server)
    assert (said["status"], said["error"]["reason"]) == ("failed", "memory"), said
    wait_until_clean(folder_of(server))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_a_server_left_undone_the_next_one_does(serve, fresh_database, video, number):
    first = serve(**fresh_database)
    assert upload(first, video) == 202
    child = wait_for_child(first)
    first.process.send(number)
    first.process.wait()
    if number == signal.SIGKILL:  # the machine died: the child with it
        child.kill()
        psutil.wait_procs([child], 5)
    else:
        psutil.wait_procs([child], 10)
        assert "Traceback" not in first.process.output, first.process.output
        assert "[info] avatar ann: interrupted; it begins again" in first.process.output
        assert "ended with status" not in first.process.output, "to be ended is no fault"
        assert not list((folder_of(first) / ".jobs").iterdir())
    second = serve(**fresh_database)
    assert wait_for_end(second)["status"] == "ready"
    wait_until_clean(folder_of(second))


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(share: Serve):
    server = share(MAX_UPLOAD_MB="1")
    with socket.create_connection(("127.0.0.1", server.port), 10) as client:
        client.sendall(
            b"POST /prepare_avatar/ann HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000001\r\n"
            b"Expect: 100-continue\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n"
        )
        answer = b""
        while piece := client.recv(4_096):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nAccess-Control-Allow-Origin: *\r\n" in head + b"\r\n"
    assert json.loads(body)["status"] == 413
    assert ask(server, "GET", "/health")[0] == 200


def test_a_body_without_a_length_is_refused_when_it_grows_too_long(share: Serve):
    server = share(MAX_UPLOAD_MB="1")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)

    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield bytes(65_536)

    headers = {"Transfer-Encoding": "chunked"}
    connection.request("POST", "/prepare_avatar/ann", endless(), headers, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_a_body_in_chunks_is_taken(server):
    body, kind = form([("video", "me.mp4", os.urandom(300_000))])
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    pieces = (body[at : at + 10_000] for at in range(0, len(body), 10_000))
    headers = {"Transfer-Encoding": "chunked", "Content-Type": kind}
    connection.request("POST", "/prepare_avatar/ann", pieces, headers, encode_chunked=True)
    assert connection.getresponse().status == 202
    connection.close()


async def test_a_large_upload_costs_no_memory_and_holds_up_no_stream(server):
    async with server.stream("someone") as stream:
        await stream.frames(10)
        before_bytes = server.process.memory_bytes()
        sending = threading.Thread(target=upload, args=(server, bytes(150_000_000)))
        sending.start()
        peak_bytes = 0
        while sending.is_alive():
            await stream.frames(5)
            peak_bytes = max(peak_bytes, server.process.memory_bytes())
        sending.join()
        numbers = [frame["frame_timestamp"] for frame in await stream.frames(10)]
    assert peak_bytes - before_bytes < 100_000_000
    assert numbers == list(range(numbers[0], numbers[0] + 400, 40))
