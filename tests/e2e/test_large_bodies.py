"""Large bodies at a real server: who may send them is asked before they are stored."""

import http.client
import re
import socket

import cv2
import pytest

from tests.drawn_face import draw_face
from tests.e2e.conftest import ADMINISTRATOR, Serve
from tests.e2e.talking import Server

pytestmark = pytest.mark.slow

ELSEWHERE = {"X-Forwarded-For": "203.0.113.9"}
"""What is forwarded does not come from this machine."""
WAIT_S = 60.0


@pytest.fixture(scope="module")
def server(share: Serve, administrated: str) -> Server:
    return share(DATABASE_URL=administrated)


@pytest.fixture(scope="module")
def login(server: Server) -> dict[str, str]:
    """The headers of an administrator who is logged in."""
    name, password = ADMINISTRATOR
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_S)
    connection.request("GET", "/admin/login/")
    answer = connection.getresponse()
    page = answer.read().decode()
    cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]
    [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    connection.request(
        "POST",
        "/admin/login/",
        f"username={name}&password={password}&next=/admin/&csrfmiddlewaretoken={token}",
        {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookie},
    )
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 302
    cookies = [each.partition(";")[0] for each in answer.headers.get_all("Set-Cookie") or []]
    connection.close()
    csrf = next(each for each in cookies if each.startswith("csrftoken=")).partition("=")[2]
    return {"Cookie": "; ".join(cookies), "X-CSRFToken": csrf}


def form() -> tuple[bytes, str]:
    """A form with a large picture, and its content type."""
    face = cv2.cvtColor(draw_face(width=720, height=720, x=360, y=350, size=340), cv2.COLOR_RGB2BGR)
    picture = cv2.imencode(".bmp", face)[1].tobytes()
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="face.bmp"\r\n\r\n'
    return head + picture + b"\r\n--b--\r\n", "multipart/form-data; boundary=b"


def test_a_made_up_login_stores_nothing(server: Server) -> None:
    for credential in (b"Cookie: sessionid=made-up", b"Authorization: Bearer made-up"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S) as client:
            client.sendall(
                b"POST /prepare_avatar/x HTTP/1.1\r\nHost: localhost\r\n"
                b"X-Forwarded-For: 203.0.113.9\r\nContent-Length: 400000000\r\n"
                b"Expect: 100-continue\r\n" + credential + b"\r\n\r\n" + bytes(100_000)
            )
            answer = client.recv(4_096)
        status = b"403" if credential.startswith(b"Cookie") else b"401"
        assert answer.startswith(b"HTTP/1.1 " + status), answer


@pytest.mark.parametrize("is_chunked", [False, True])
def test_staff_elsewhere_may_upload(
    server: Server, login: dict[str, str], is_chunked: bool
) -> None:
    body, content_type = form()
    headers = {**ELSEWHERE, **login, "Content-Type": content_type}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_S)
    name = f"staff{is_chunked:d}"
    # Two chunks: the second ends the body in the same moment in which it becomes a large one.
    pieces = iter((body[:60_000], body[60_000:])) if is_chunked else body
    connection.request(
        "POST", f"/prepare_avatar/{name}", pieces, headers, encode_chunked=is_chunked
    )
    answer = connection.getresponse()
    assert answer.status == 202, answer.read()
    connection.close()


def test_a_stranger_who_sends_in_chunks_is_refused_as_well(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_S)
    connection.request(
        "POST",
        "/prepare_avatar/x",
        iter((bytes(60_000), bytes(20_000))),
        {**ELSEWHERE, "Cookie": "sessionid=made-up"},
        encode_chunked=True,
    )
    assert connection.getresponse().status == 403
    connection.close()
