"""Reading settings from the environment: what each variable may hold, said in one sentence.

A value is taken from the process's environment, else from the file `.env`. Nothing else reads it:
the Makefile asks `engine_requirements`. Without one, or if it is empty, the default holds. Every
default is kept as the text that a person would write into `.env`, so that `.env.example` and this
table can be compared, and a default passes the same check as any other value.

No variable is read anywhere else: code that needs a setting reads `django.conf.settings`.
"""

import base64
import difflib
import ipaddress
import json
import os
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import dotenv
import environ
from django.core.exceptions import ImproperlyConfigured

from inference.assets.names import NAME, NAME_RULE

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

BASE_DIR = Path(__file__).resolve().parents[2]


class CannotStart(ImproperlyConfigured):
    """No command can run with these settings; the message is a sentence for the operator."""


class SettingInvalid(CannotStart):
    """A variable holds something that it may not; the message says what it may."""

    def __init__(self, name: str, text: str, allowed: str) -> None:
        shown = re.sub(r"//.*@", "//***@", text)  # a password is nobody's business
        if name.endswith(("SECRET", "SECRET_KEY", "TOKEN")):
            shown = "***"
        super().__init__(f"{name} is {shown!r}, but it must be {allowed}.")


class _Refused(ValueError):
    """What a reading function raises; its message completes "it must be ..."."""


def _text(text: str) -> str:
    return text


def _flag(text: str) -> bool:
    known = {"true": True, "1": True, "yes": True, "on": True}
    known |= {"false": False, "0": False, "no": False, "off": False}
    try:
        return known[text.lower()]
    except KeyError:
        raise _Refused("true or false") from None


def _whole(low: int, high: int, unit: str = "") -> Callable[[str], int]:
    def read(text: str) -> int:
        if re.fullmatch(r"[0-9]{1,12}", text, re.ASCII) and low <= int(text) <= high:
            return int(text)
        raise _Refused(f"a whole number{unit} from {low} to {high}")

    return read


def _processes(text: str) -> int | None:
    """None: one for each core."""
    if text == "auto":
        return None
    if re.fullmatch(r"[0-9]{1,3}", text, re.ASCII) and 1 <= int(text) <= 256:
        return int(text)
    raise _Refused("auto or a whole number from 1 to 256")


def _places(text: str) -> int | None:
    """None: as many as were measured."""
    if text == "auto":
        return None
    if re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) and int(text) >= 1:
        return int(text)
    raise _Refused("auto or a whole number from 1 on")


def _share(text: str) -> float:
    if re.fullmatch(r"0|1|0?\.[0-9]{1,3}|[01]\.0*", text, re.ASCII):
        return float(text)
    raise _Refused("a number from 0 to 1, as in 0.5")


def _secret(text: str) -> str:
    if len(text.encode()) >= 32:
        return text
    raise _Refused("at least 32 bytes, as `openssl rand -base64 48` makes them")


def _webhook_secret(text: str) -> str:
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if text.startswith("whsec_") and 24 <= len(key) <= 64:
        return text
    raise _Refused("whsec_ and 24 to 64 bytes in base64: whsec_$(openssl rand -base64 32)")


def _split(text: str) -> SplitResult:
    """Return the parts of an address; of what is none, empty ones."""
    try:
        url = urlsplit(text)
        _ = url.port  # raises what a port that is none raises later
    except ValueError:
        return urlsplit("")
    return url


def _https_url(text: str) -> str:
    url = _split(text)
    if url.scheme == "https" and url.hostname and not url.username:
        return text
    raise _Refused("an address that begins with https://")


def _url(text: str) -> str:
    url = _split(text)
    if url.scheme in {"http", "https"} and url.hostname:
        return text
    raise _Refused("an address that begins with http:// or https://")


def _one_of(*allowed: str, fold: Callable[[str], str] = str.lower) -> Callable[[str], str]:
    def read(text: str) -> str:
        if fold(text) in allowed:
            return fold(text)
        raise _Refused(f"{', '.join(allowed[:-1])} or {allowed[-1]}")

    return read


def _path(text: str) -> Path:
    # Absolute, because the working directory of a worker need not be the checkout.
    return BASE_DIR / Path(text).expanduser()


def _devices(text: str) -> list[str]:
    devices = [device.strip() for device in text.split(",")]
    if devices == ["auto"]:
        return devices
    if all(re.fullmatch(r"cpu|mps|cuda(:[0-9]{1,2})?", each, re.ASCII) for each in devices):
        return devices
    raise _Refused("auto, cpu, mps, cuda or cuda:N; several have commas between them")


def _avatar(text: str) -> str:
    if text == "none":
        return ""
    if NAME.fullmatch(text):
        return text
    raise _Refused(f"the name of an avatar ({NAME_RULE}) or none")


def _several(text: str) -> list[str]:
    """Return a JSON list of texts, or texts with commas between them."""
    if not text.startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        parts = json.loads(text)
    except ValueError:
        parts = None
    if isinstance(parts, list) and all(isinstance(part, str) for part in parts):
        return parts
    raise _Refused('a JSON list of texts, as in ["a", "b"], or texts with commas between them')


def _hosts(text: str) -> list[str]:
    # As they stand in the header Host, without its port: with a scheme or a path none would match.
    hosts = [host.lower() for host in _several(text)]
    form = re.compile(r"\*|\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\]")
    if hosts and all(form.fullmatch(host) for host in hosts):
        return hosts
    raise _Refused(
        "* or host names such as example.org, .example.org (with all below it) or [::1], "
        "without https:// and port, as a JSON list or with commas between"
    )


_PLAIN_ORIGINS = {"*", "null", "file://"}
"""Sandboxed frames send `null`, pages opened from disk `null` or `file://`."""


def _origins(text: str) -> list[str]:
    # As browsers write them, so that they can be compared as texts.
    origins = [origin.lower() for origin in _several(text)]
    origins = [o if o in _PLAIN_ORIGINS else o.rstrip("/") for o in origins]
    for origin in origins:
        is_origin = re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#\s*]+", origin)
        if origin not in _PLAIN_ORIGINS and not (is_origin and _split(origin).hostname):
            raise _Refused(
                "*, null, file:// or whole origins such as https://example.org, as a JSON list or "
                "with commas between"
            )
    return origins


def _networks(text: str) -> list[Network]:
    try:
        return [ipaddress.ip_network(part) for part in _several(text)]
    except ValueError:
        raise _Refused(
            "addresses or networks such as 127.0.0.1 or 10.0.0.0/8, with commas between"
        ) from None


def _redis_url(text: str) -> str:
    url = _split(text)
    if (url.scheme in {"redis", "rediss"} and url.hostname) or (url.scheme == "unix" and url.path):
        return text
    raise _Refused("the address of a Redis server, as in redis://localhost:6379/0")


def _database(text: str) -> dict[str, Any]:
    scheme = text.partition("://")[0]
    if scheme not in {"sqlite", "postgres", "postgresql"}:
        raise _Refused("sqlite:///path/to/file or postgres://user:password@host:5432/name")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            database: dict[str, Any] = environ.Env.db_url_config(text)
        except (ValueError, UserWarning):
            raise _Refused(
                "sqlite:///path/to/file (three slashes, four for an absolute path) or "
                "postgres://user:password@host:5432/name"
            ) from None
    if scheme != "sqlite":
        database["ENGINE"] = "musetalk_site.postgresql"
        # A pooler may give the next statement another connection, where the cursor is not.
        database["DISABLE_SERVER_SIDE_CURSORS"] = True
    elif database["NAME"] != ":memory:":
        database["NAME"] = _path(database["NAME"])
    return database


@dataclass(frozen=True, slots=True)
class Variable:
    """One setting: its default as text, and how a text becomes its value."""

    default: str
    read: Callable[[str], Any]


VARIABLES: dict[str, Variable] = {
    "HOST": Variable("0.0.0.0", _text),  # noqa: S104  a server for the people around is the purpose
    "PORT": Variable("8000", _whole(1, 65_535)),
    "PROCESSES": Variable("auto", _processes),
    "ENGINE": Variable("auto", _one_of("auto", "viseme", "musetalk")),
    "DEVICE": Variable("auto", _devices),
    "USE_FLOAT16": Variable("true", _flag),
    "MODEL_PATH": Variable("./models", _path),
    "MUSETALK_DECODER": Variable("sd", _one_of("sd", "taesd", "narrow")),
    "MUSETALK_LOOK_AHEAD_MS": Variable("80", _whole(20, 500, " of milliseconds")),
    "MUSETALK_MEMORY_GB": Variable("0", _whole(0, 1_000, " of gigabytes")),
    "AVATARS_DIR": Variable("./var/avatars", _path),
    "DEFAULT_AVATAR": Variable("presenter", _avatar),
    "CORS_ORIGINS": Variable("*", _origins),
    "TRUSTED_PROXIES": Variable("", _networks),
    "SPEAKING_PLACES": Variable("auto", _places),
    "SPEECH_SHARE": Variable("0", _share),
    "SESSION_IDLE_S": Variable("0", _whole(0, 604_800, " of seconds")),
    "MAX_SESSION_S": Variable("0", _whole(0, 604_800, " of seconds")),
    "DRAIN_S": Variable("0", _whole(0, 86_400, " of seconds")),
    "RESUME_S": Variable("30", _whole(0, 3_600, " of seconds")),
    "MAX_WATCHERS": Variable("100", _whole(0, 10_000)),
    "MAX_QUEUED_SPEECH_S": Variable("60", _whole(2, 3_600, " of seconds")),
    "EMPHASIS": Variable("true", _flag),
    "END_OF_SPEECH_MS": Variable("240", _whole(80, 5_000, " of milliseconds")),
    "HISTORY_DAYS": Variable("90", _whole(0, 36_500, " of days")),
    "LIST_AVATARS": Variable("true", _flag),
    "OPEN_UPLOADS": Variable("false", _flag),
    "MAX_UPLOAD_MB": Variable("500", _whole(1, 100_000, " of megabytes")),
    "PREPARATION_S": Variable("1800", _whole(1, 86_400, " of seconds")),
    "PREPARATION_MEMORY_MB": Variable("2000", _whole(100, 1_000_000, " of megabytes")),
    "CHANNEL_REDIS_URL": Variable("", _redis_url),
    "DATABASE_URL": Variable("sqlite:///var/db.sqlite3", _database),
    "SECRET_KEY": Variable("", _text),
    "ALLOWED_HOSTS": Variable("*", _hosts),
    "DEBUG": Variable("false", _flag),
    "AUTH": Variable("false", _flag),
    "AUTH_SECRET": Variable("", _secret),
    "AUTH_PUBLIC_KEY": Variable("", _path),
    "AUTH_JWKS_URL": Variable("", _https_url),
    "AUTH_AUDIENCE": Variable("", _text),
    "AUTH_ISSUER": Variable("", _text),
    "AUTH_LEEWAY_S": Variable("10", _whole(0, 300, " of seconds")),
    "STREAM_TOKEN_S": Variable("300", _whole(1, 3_600, " of seconds")),
    "MAX_SESSIONS_PER_SUBJECT": Variable("100", _whole(0, 100_000)),
    "MAX_CONNECTIONS_PER_SUBJECT": Variable("120", _whole(0, 100_000)),
    "MAX_UPLOADS_PER_SUBJECT": Variable("60", _whole(0, 100_000)),
    "MAX_QUEUED_SPEECH_PER_SUBJECT_S": Variable("1800", _whole(0, 1_000_000, " of seconds")),
    "MAX_PREPARATIONS_PER_SUBJECT": Variable("5", _whole(0, 100_000)),
    "MAX_SESSIONS_PER_ADDRESS": Variable("0", _whole(0, 100_000)),
    "MAX_CONNECTIONS_PER_ADDRESS": Variable("0", _whole(0, 100_000)),
    "MAX_UPLOADS_PER_ADDRESS": Variable("0", _whole(0, 100_000)),
    "WEBHOOK_URL": Variable("", _https_url),
    "WEBHOOK_SECRET": Variable("", _webhook_secret),
    "WEBHOOK_PRIVATE_TARGETS": Variable("false", _flag),
    "METRICS": Variable("true", _flag),
    "METRICS_TOKEN": Variable("", _text),
    "TRACES_URL": Variable("", _url),
    "LOG_LEVEL": Variable(
        "INFO", _one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", fold=str.upper)
    ),
    "LOG_FORMAT": Variable("text", _one_of("text", "json", fold=str.lower)),
}


def read_file(path: Path) -> dict[str, str]:
    """Return what the `.env` file at ``path`` says; nothing if there is none.

    Quotes, ``export`` and comments behind values are understood; `$` means nothing.

    Raises:
        CannotStart: It cannot be read, or is no text.
    """
    try:
        said = dotenv.dotenv_values(path, interpolate=False)
    except UnicodeDecodeError:
        raise CannotStart(f"{path} is not UTF-8: save it in that encoding.") from None
    except OSError as error:
        raise CannotStart(f"{path} cannot be read ({error.strerror}).") from None
    return {name: value for name, value in said.items() if value is not None}


def unknown_names(file: Mapping[str, str]) -> list[str]:
    """Return a sentence for each name in `.env` that is no setting: nothing reads it."""
    sentences = []
    for name in file:
        if name not in VARIABLES:
            close = difflib.get_close_matches(name.upper(), VARIABLES, n=1)
            advice = f"did you mean {close[0]}?" if close else ".env.example lists them all."
            sentences.append(f".env sets {name}, which is no setting: {advice}")
    return sentences


def read(process: Mapping[str, str] = os.environ, file: Mapping[str, str] = {}) -> dict[str, Any]:
    """Return the value of every variable; SettingInvalid names the first that is wrong.

    A variable with neither value nor default is "".
    """
    values: dict[str, Any] = {}
    for name, variable in VARIABLES.items():
        text = process.get(name, file.get(name, "")).strip() or variable.default
        try:
            values[name] = variable.read(text) if text else ""
        except _Refused as refused:
            raise SettingInvalid(name, text, str(refused)) from None
    return values
