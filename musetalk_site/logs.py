"""The log's form: lines for people, or a JSON object a line for programs (`LOG_FORMAT`).

Modules log with the standard library; structlog writes what they log, with the context of the
connection or session that it belongs to.
"""

import logging
import os
import platform
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

from streaming.gateway.connection_log import CONNECTION

_EXTRA = structlog.stdlib.ExtraAdder(
    allow=("session", "user", "avatar", "address", "engine", "close_code", "cause", "code")
)


def logging_settings(level: str, form: Literal["text", "json"]) -> dict[str, Any]:
    """Django's `LOGGING`.

    Args:
        level: The lowest level that is written.
        form: Lines with date and time for people, or JSON.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": [
                    structlog.contextvars.merge_contextvars,
                    _add_connection,
                    _EXTRA,
                    structlog.stdlib.add_log_level,
                    structlog.stdlib.add_logger_name,
                    _add_process,
                    structlog.processors.TimeStamper(fmt="iso", utc=form == "json"),
                ],
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    *_rendering(form),
                ],
            }
        },
        "filters": {"refusals": {"()": RefusalFilter}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "line",
                "filters": ["refusals"],
            }
        },
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # A line for each request and endpoint says nothing that /health does not.
            name: {"level": "WARNING" if level == "INFO" else level}
            for name in ("daphne", "twisted")
        },
    }


class RefusalFilter(logging.Filter):
    """Makes one line of what Django says of a request that it refuses.

    It logs an error with a traceback of 30 lines for each foreign ``Host`` or overlong form, and
    scanners send thousands.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Every record passes; those of refused requests without their traceback."""
        if record.name.startswith("django.security."):
            record.exc_info = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


def _rendering(form: Literal["text", "json"]) -> list[Any]:
    if form == "json":
        return [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
        ]
    return [
        structlog.dev.ConsoleRenderer(
            colors=False,
            pad_event_to=0,
            pad_level=False,
            sort_keys=False,
            exception_formatter=structlog.dev.plain_traceback,
        )
    ]


def _add_connection(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace the bound connection by its fields as they are now."""
    fields = event.pop(CONNECTION, None)
    if fields is not None:
        event.update(fields())
    return event


def _add_process(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    event["process"] = f"{platform.node()}:{os.getpid()}"
    return event
