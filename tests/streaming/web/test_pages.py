"""The pages: whole, linked to what exists, and made of the server's own message types."""

import posixpath
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.contrib.staticfiles import finders
from django.template.loader import render_to_string
from django.test import Client

from streaming.web.pages import MODULES, SAMPLES

ROOT = Path(__file__).resolve().parents[3]
STATIC = ROOT / "streaming" / "static"
LIBRARY = ROOT / "clients" / "javascript" / "src"
LAZY = {"avatar/mse-view.js"}


def page(path: str) -> str:
    answer = Client().get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def imports(module: str) -> set[str]:
    """What a module imports at once, by its path under static/."""
    found = finders.find(module)
    assert isinstance(found, str), module
    text = Path(found).read_text()
    names = re.findall(r'^(?:import|\} from|import .* from) "(\.[^"]+)";', text, re.MULTILINE)
    names += re.findall(r'from "(\.[^"]+)";', text)
    return {posixpath.normpath(posixpath.join(posixpath.dirname(module), name)) for name in names}


@pytest.mark.parametrize("path", ["/", "/protocol"])
def test_every_file_that_a_page_names_exists(path: str) -> None:
    named = re.findall(r'/static/([^"<\s]+)', page(path))
    assert named
    assert [name for name in named if finders.find(name) is None] == []


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/", "/protocol"])
def test_every_link_to_another_page_leads_somewhere(path: str) -> None:
    links = set(re.findall(r'href="(/[^"#]*)"', page(path)))
    links = {link for link in links if not link.startswith("/static/")}
    assert {"/protocol", "/asyncapi.yaml", "/docs", "/health"} <= links
    for link in links:
        assert Client().get(link).status_code in {200, 302, 503}, link


def test_pages_work_without_the_network() -> None:
    foreign = re.compile(r"""(?:src|href)\s*=\s*["'](?:https?:)?//""")
    for path in ("/", "/protocol"):
        assert not foreign.search(page(path))
    for sheet in STATIC.rglob("*.css"):
        assert "http" not in sheet.read_text()


def test_the_head_names_just_the_modules_that_are_needed_at_once() -> None:
    needed, todo = set[str](), {"studio/studio.js"}
    while todo:
        module = todo.pop()
        needed.add(module)
        todo |= imports(module) - needed
    assert set(MODULES) == needed - {"studio/studio.js"}
    assert LAZY.isdisjoint(MODULES)


def test_samples_exist_in_two_languages_at_least() -> None:
    assert all(finders.find(sample["file"]) for sample in SAMPLES)
    assert len({sample["lang"] for sample in SAMPLES}) >= 2


def test_the_asyncapi_document_names_the_server_that_was_asked() -> None:
    text = Client(headers={"host": "avatars.example:8443"}).get("/asyncapi.yaml", secure=True)
    document: dict[str, Any] = yaml.safe_load(text.content)
    assert document["servers"]["here"] == {"host": "avatars.example:8443", "protocol": "wss"}


def test_only_reading_is_allowed() -> None:
    assert Client().post("/").status_code == 405


def test_other_files_lie_beside_their_licenses() -> None:
    for folder in (*STATIC.glob("*/vendor/*"), *LIBRARY.glob("vendor/*")):
        if folder.is_dir():
            assert (folder / "LICENSE").is_file(), folder


def test_the_stream_s_address_opened_as_a_page_says_what_it_is() -> None:
    answer = Client().get("/musetalk/v1/ws/me")
    assert answer.status_code == 426
    assert answer["Upgrade"] == "websocket"
    assert "ws://testserver/musetalk/v1/ws/me" in answer.content.decode()


def test_errors_show_the_way_back() -> None:
    answers = {
        404: Client().get("/nowhere"),
        403: Client(enforce_csrf_checks=True).post("/"),
        400: Client().get("/", headers={"host": "a b"}),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert 'href="/protocol"' in answer.content.decode()


def test_a_fault_is_reported_without_the_other_pages_help() -> None:
    text = render_to_string("500.html")
    assert "log" in text
    assert "{%" not in text
    assert "static" not in text
