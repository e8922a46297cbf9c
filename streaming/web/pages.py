"""The pages that people open: the studio, the protocol, and its AsyncAPI document.

The protocol page and the document are made from the message types themselves: nothing about a
message is written a second time here.
"""

from functools import lru_cache
from typing import Any

import yaml
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe
from drf_spectacular.settings import spectacular_settings

from streaming.protocol.asyncapi import document
from streaming.protocol.errors import CLOSE_MEANINGS, ERROR_MEANINGS
from streaming.web.reference import client_references, server_references

STUDIO_USER = "guest"
"""The user whose avatar the studio shows at first; without one of its own it is the default."""

SAMPLES = (
    {"lang": "en", "label": "English", "file": "studio/samples/welcome-en.mp3"},
    {"lang": "de", "label": "Deutsch", "file": "studio/samples/willkommen-de.mp3"},
    {"lang": "es", "label": "Español", "file": "studio/samples/bienvenida-es.mp3"},
)

# Named in the head, so that the browser fetches them all at once and not one after the other.
MODULES = (
    *(
        f"avatar/{name}.js"
        for name in (
            "addresses",
            "base64",
            "binary",
            "canvas-view",
            "client",
            "frame",
            "media-clock",
            "mixing",
            "meter",
            "microphone",
            "pcm",
            "player",
            "playout-schedule",
            "resume-state",
            "retry-policy",
            "speech-gate",
            "speech-line",
            "speech-sound",
            "utterance",
            "watch-tokens",
        )
    ),
    *(
        f"studio/{name}.js"
        for name in (
            "composer",
            "director",
            "elements",
            "measuring",
            "own-avatar",
            "requests",
            "speech-synthesis",
            "stage",
            "timeline",
            "voices",
        )
    ),
)


@require_safe
def studio(request: HttpRequest) -> HttpResponse:
    links = (
        ("Protocol", reverse("protocol"), "the messages, with examples to send"),
        ("AsyncAPI", reverse("asyncapi"), "the stream, for machines"),
        ("REST API", reverse("docs"), "to read and to try"),
        ("Health", reverse("health"), "is the service ready?"),
        ("Sessions", reverse("sessions"), "who is connected"),
        ("Admin", reverse("admin:index"), "avatars and history"),
    )
    return render(
        request,
        "index.html",
        {
            "page": "studio",
            "user_id": STUDIO_USER,
            "samples": SAMPLES,
            "modules": MODULES,
            "links": [{"name": name, "url": url, "about": about} for name, url, about in links],
        },
    )


@require_safe
def protocol(request: HttpRequest) -> HttpResponse:
    return render(
        request,
        "protocol.html",
        {
            "page": "protocol",
            "user_id": STUDIO_USER,
            "directions": (
                ("Client to server", "client", client_references()),
                ("Server to client", "server", server_references()),
            ),
            "errors": ERROR_MEANINGS,
            "close_codes": CLOSE_MEANINGS.items(),
            "endpoints": _endpoints(),
        },
    )


@require_safe
def asyncapi(request: HttpRequest) -> HttpResponse:
    host = request.get_host()
    described = document(host=host, is_secure=request.is_secure())
    text = yaml.safe_dump(described, sort_keys=False, allow_unicode=True, width=100)
    return HttpResponse(text, content_type="application/yaml")


@require_safe
def stream(request: HttpRequest, user_id: str) -> HttpResponse:
    """Return the answer to a page request for the stream's address (RFC 9110 §15.5.22)."""
    scheme = "wss" if request.is_secure() else "ws"
    text = (
        f"This is a WebSocket: connect to {scheme}://{request.get_host()}{request.path}\n"
        f"{reverse('index')}?avatar={user_id} shows it in a browser, "
        f"{reverse('protocol')} says what is sent.\n"
    )
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    return HttpResponse(text, status=426, headers=headers, content_type="text/plain")


@lru_cache
def _endpoints() -> list[dict[str, Any]]:
    """Return what the REST API offers, by its own schema."""
    paths = spectacular_settings.DEFAULT_GENERATOR_CLASS().get_schema()["paths"]
    return [
        {
            "method": method.upper(),
            "path": path,
            "summary": operation.get("summary") or operation.get("description", ""),
            "can_be_opened": method == "get" and "{" not in path,
        }
        for path, operations in sorted(paths.items())
        for method, operation in operations.items()
    ]
