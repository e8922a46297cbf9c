"""What operators see of sessions in whichever process, and do to them."""

import asyncio
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from http.cookiejar import CookieJar
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.server import new_database
from tests.e2e.talking import Server
from tests.processes import make_superuser

LIST = "/admin/streaming/sessionrecord/"
PROCESSES = "/admin/streaming/gatewayprocess/"


class Browser:
    """A client that is logged in to the admin."""

    def __init__(self, server: Server) -> None:
        self._origin = f"http://127.0.0.1:{server.port}"
        self._cookies = CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(self._cookies)
        )
        self.get("/admin/login/")
        self.post("/admin/login/", username="admin", password="secret", next=LIST)

    def get(self, path: str) -> bytes:
        with self._opener.open(self._origin + path, timeout=10) as answer:
            return bytes(answer.read())

    def post(self, path: str, **fields: str | list[str]) -> bytes:
        [token] = [each.value for each in self._cookies if each.name == "csrftoken"]
        form = {"csrfmiddlewaretoken": token or "", **fields}
        body = urllib.parse.urlencode(form, doseq=True).encode()
        with self._opener.open(self._origin + path, body, timeout=10) as answer:
            return bytes(answer.read())


@pytest.mark.parametrize("processes", ["1", "2"])
async def test_what_is_shown_now_and_its_end(
    serve: Callable[..., Server], tmp_path: Path, processes: str
) -> None:
    database = new_database(tmp_path)
    make_superuser(database, "admin", "secret")
    server = serve("--processes", processes, DATABASE_URL=database)
    if processes == "2":
        server.process.wait_for("2 processes are ready")
    browser = await asyncio.to_thread(Browser, server)
    async with server.stream("ann") as ann, server.stream("bob") as bob:
        reading = [asyncio.create_task(each.end()) for each in (ann, bob)]
        page = (await asyncio.to_thread(browser.get, f"{LIST}?live=yes")).decode()
        stills = re.findall(rf'src="({LIST}[-0-9a-f]+/still\.jpg)"', page)
        assert len(stills) == 2
        for _ in range(2):  # from whichever process answers
            for still in stills:
                jpeg = await asyncio.to_thread(browser.get, still)
                picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
                assert picture.shape == (320, 320, 3)
                assert picture.std() > 10, "it shows something"
        ids = re.findall(r"sessionrecord/([-0-9a-f]+)/still", " ".join(stills))
        began_s = time.monotonic()
        await asyncio.to_thread(browser.post, LIST, action="end_now", _selected_action=ids)
        for _, code in await asyncio.gather(*(asyncio.wait_for(each, 5) for each in reading)):
            assert code == 4409
        assert time.monotonic() - began_s < 5


async def test_a_drained_process_gets_no_more_sessions(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    database = new_database(tmp_path)
    make_superuser(database, "admin", "secret")
    server = serve("--processes", "2", DATABASE_URL=database)
    server.process.wait_for("2 processes are ready")
    browser = await asyncio.to_thread(Browser, server)
    page = (await asyncio.to_thread(browser.get, PROCESSES)).decode()
    first, second = re.findall(r'name="_selected_action" value="([-0-9a-f]+)"', page)
    async with server.stream("ann") as ann:
        await ann.frames(2)
        await asyncio.to_thread(browser.post, PROCESSES, action="drain", _selected_action=[first])
        await asyncio.sleep(2.5)
        others = [server.stream(f"user{number}") for number in range(4)]
        opened = [await each.__aenter__() for each in others]
        for stream in opened:
            await stream.frames(2)
        await ann.frames(5)  # what is open continues
        page = (await asyncio.to_thread(browser.get, PROCESSES)).decode()
        rows = dict(
            re.findall(
                r'value="([-0-9a-f]+)" class="action-select".*?class="field-sessions">(\d+)<',
                page,
                re.DOTALL,
            )
        )
        assert sum(map(int, rows.values())) == 5
        assert int(rows[second]) >= 4
        for each in others:
            await each.__aexit__(None, None, None)
