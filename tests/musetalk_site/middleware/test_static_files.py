"""Static files under ASGI: whole answers, ranges, validators, and no complaint from Django."""

import pytest

pytestmark = pytest.mark.asyncio
CSS = "/static/admin/css/base.css"


async def test_a_file_is_served_from_its_package(async_client) -> None:
    answer = await async_client.get(CSS)
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/css")
    assert int(answer["Content-Length"]) == len(answer.content)


async def test_a_part_of_a_file(async_client) -> None:
    whole = await async_client.get(CSS)
    part = await async_client.get(CSS, headers={"Range": "bytes=10-19"})
    assert part.status_code == 206
    assert part.content == whole.content[10:20]


async def test_a_file_that_the_browser_has_is_not_sent_again(async_client) -> None:
    whole = await async_client.get(CSS)
    again = await async_client.get(CSS, headers={"If-None-Match": whole["ETag"]})
    assert again.status_code == 304
    assert again.content == b""


async def test_a_missing_file_is_missing(async_client) -> None:
    assert (await async_client.get("/static/admin/css/none.css")).status_code == 404
    assert (await async_client.get("/static/../manage.py")).status_code == 404
