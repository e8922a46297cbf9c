"""Files in parts."""

import pytest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from avatars_app.api.range_response import file_response

CONTENT = bytes(range(100))


def ask(**headers: str):
    request = RequestFactory().get("/", headers=headers)
    return file_response(request, CONTENT, content_type="video/mp4", version="7")


def test_the_whole():
    response = ask()
    assert (response.status_code, response.content) == (200, CONTENT)
    assert response["Accept-Ranges"] == "bytes"
    assert response["ETag"] == '"7"'


@pytest.mark.parametrize(
    ("asked", "told", "part"),
    [
        ("bytes=0-0", "bytes 0-0/100", CONTENT[:1]),
        ("bytes=10-19", "bytes 10-19/100", CONTENT[10:20]),
        ("bytes=90-", "bytes 90-99/100", CONTENT[90:]),
        ("bytes=90-5000", "bytes 90-99/100", CONTENT[90:]),
        ("bytes=-3", "bytes 97-99/100", CONTENT[-3:]),
        ("bytes=-300", "bytes 0-99/100", CONTENT),
    ],
)
def test_a_part(asked: str, told: str, part: bytes):
    response = ask(range=asked)
    assert (response.status_code, response["Content-Range"]) == (206, told)
    assert response.content == part


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=-0", "bytes=100-200"])
def test_a_part_that_is_not_there(asked: str):
    response = ask(range=asked)
    assert (response.status_code, response["Content-Range"]) == (416, "bytes */100")


@pytest.mark.parametrize("asked", ["bytes=5-4", "bytes=-", "lines=1-2", "bytes=0-1,5-6", "x"])
def test_what_is_not_understood_is_answered_with_the_whole(asked: str):
    assert ask(range=asked).status_code == 200


@given(st.text(max_size=30))
def test_nothing_that_is_asked_is_an_error(asked: str):
    assert ask(range=f"bytes={asked}").status_code in {200, 206, 416}


def test_who_has_it_already_is_reported_so():
    response = ask(if_none_match='"6", "7"')
    assert (response.status_code, response.content) == (304, b"")
    assert ask(range="bytes=0-1", if_range='"6"').status_code == 200
    assert ask(range="bytes=0-1", if_range='"7"').status_code == 206
