"""Every HTTP request has an id, which its answer and the log repeat."""

import structlog
from django.http import HttpResponse
from django.test import Client, RequestFactory

from musetalk_site.middleware.request_ids import HEADER, request_ids_middleware


def test_each_answer_has_an_id_of_its_own() -> None:
    ids = [Client().get("/health")[HEADER] for _ in range(2)]
    assert len(set(ids)) == 2
    assert all(len(each) == 12 for each in ids)
    forged = Client().get("/health", headers={HEADER: "mine"})
    assert forged[HEADER] != "mine"


def test_the_log_has_it_while_the_request_lasts() -> None:
    seen = []

    def view(_request: object) -> HttpResponse:
        seen.append(structlog.contextvars.get_contextvars().get("request"))
        return HttpResponse()

    answer = request_ids_middleware(view)(RequestFactory().get("/"))
    assert seen == [answer[HEADER]]
    assert "request" not in structlog.contextvars.get_contextvars()
