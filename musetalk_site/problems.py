"""Errors of the API in one shape: problem details, RFC 9457.

The shape is made here from whatever a view raises, and described here for every operation of the
schema, so that no view says anything about it.
"""

import errno
import logging
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.db import InterfaceError, OperationalError
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler

from inference.reachability import in_one_line

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

_FULL = {errno.ENOSPC, errno.EDQUOT}
_NOT_WRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EIO}


class StorageFull(exceptions.APIException):
    status_code = HTTPStatus.INSUFFICIENT_STORAGE
    default_detail = "The server has no room left for this."


class StorageNotWritable(exceptions.APIException):
    status_code = HTTPStatus.INSUFFICIENT_STORAGE
    default_detail = "The server cannot store anything now; its log says why."


class DatabaseUnreachable(exceptions.APIException):
    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    default_detail = "The database cannot be reached now: try again."


class ServerFault(exceptions.APIException):
    status_code = HTTPStatus.INTERNAL_SERVER_ERROR
    default_detail = "The server made a mistake; it was logged."


def problem(status: int, detail: str, **more: Any) -> dict[str, Any]:
    """Problem details; ``more`` are members of our own."""
    title = HTTPStatus(status).phrase
    return {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}


def respond(error: Exception, context: dict[str, Any]) -> Response | None:
    """Return what a view of the API answers when ``error`` comes out of it."""
    response = exception_handler(_known(error, context), context)
    if response is None:
        return None
    response.data = problem(response.status_code, **_members(response.data))
    renderer = getattr(context.get("request"), "accepted_renderer", None)
    if renderer is None or renderer.format == "json":
        response.content_type = MEDIA_TYPE
    return response


def _known(error: Exception, context: dict[str, Any]) -> Exception:
    if isinstance(error, SuspiciousOperation):
        return exceptions.ParseError("The form is wrong, or it has too many fields or files.")
    if isinstance(error, OSError) and error.errno in _FULL:
        log.error("no room left: %s", error)
        return StorageFull()
    if isinstance(error, OSError) and error.errno in _NOT_WRITABLE:
        log.error("the disk cannot be written: %s", error)
        return StorageNotWritable()
    if isinstance(error, OperationalError | InterfaceError):
        view = type(context.get("view")).__name__
        log.error("%s: the database: %s", view, in_one_line(error))
        return DatabaseUnreachable()
    known = exception_handler(error, context) is not None
    if known or settings.DEBUG:
        return error
    log.error("a fault in %s", type(context.get("view")).__name__, exc_info=error)
    return ServerFault()


def _members(data: Any) -> dict[str, Any]:
    """Return the members that say what was wrong: a sentence, and for a form the fields."""
    if isinstance(data, dict) and set(data) == {"detail"}:
        return {"detail": str(data["detail"])}
    sentences = list(_sentences("", data))
    return {"detail": " ".join(sentences), "errors": data}


def _sentences(field: str, data: Any) -> Any:
    if isinstance(data, dict):
        for name, inner in data.items():
            yield from _sentences("" if name == "non_field_errors" else str(name), inner)
    elif isinstance(data, list):
        for inner in data:
            yield from _sentences(field, inner)
    else:
        yield f"{field}: {data}" if field else str(data)


def describe(result: Any, generator: Any, request: Any, public: bool) -> Any:
    """Put the shape into the schema, for all answers that tell of an error."""
    schemas = result.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = {
        "type": "object",
        "description": "Problem details, RFC 9457.",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What was wrong, and what is allowed."},
            "errors": {"description": "The same by field, for a form."},
        },
    }
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for operations in result["paths"].values():
        for operation in operations.values():
            # Nobody has to log in on the server's own machine, and for some things nowhere.
            logins = [way for way in operation.pop("security", []) if way]
            if logins:
                operation["security"] = [*logins, {}]
            answers = operation["responses"]
            answers.setdefault("default", {"description": "Anything else that is wrong."})
            for status, answer in answers.items():
                if status == "default" or status.startswith(("4", "5")):
                    answer.setdefault("content", content)
    return result
