"""What operators see of sessions in whichever process, and do to them."""

import asyncio
import re
import time
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar

import cv2
import numpy as np
import pytest

from tests.e2e.conftest import ADMINISTRATOR, Serve, administrated_database
from tests.e2e.talking import Server

LIST = "/admin/streaming/sessionrecord/"
PROCESSES = "/admin/streaming/gatewayprocess/"


class Browser:
    """A client that is logged in to the admin."""

    def __init__(self, server: Server) -> None:
        self._origin = server.origin
        self._cookies = CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(self._cookies)
        )
        name, password = ADMINISTRATOR
        self.get("/admin/login/")
        self.post("/admin/login/", username=name, password=password, next=LIST)

    def get(self, path: str) -> bytes:
        with self._opener.open(self._origin + path, timeout=10) as answer:
            return bytes(answer.read())

    def post(self, path: str, **fields: str | list[str]) -> bytes:
        [token] = [each.value for each in self._cookies if each.name == "csrftoken"]
        form = {"csrfmiddlewaretoken": token or "", **fields}
        body = urllib.parse.urlencode(form, doseq=True).encode()
        with self._opener.open(self._origin + path, body, timeout=10) as answer:
            return bytes(answer.read())


@pytest.fixture(scope="module")
def server(share: Serve, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Two processes, and an administrator."""
    database = administrated_database(tmp_path_factory.mktemp("database"))
    return share(PROCESSES="2", DATABASE_URL=database)


async def test_what_is_shown_now_and_its_end(server: Server) -> None:
    browser = await asyncio.to_thread(Browser, server)
    async with server.stream("ann") as ann, server.stream("bob") as bob:
        await asyncio.gather(ann.frames(1), bob.frames(1))
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


@pytest.mark.lasting
async def test_a_drained_process_gets_no_more_sessions(server: Server) -> None:
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
