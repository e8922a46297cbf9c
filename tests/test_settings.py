"""Settings: their defaults, what is refused and in which words, and the example file."""

import errno
import itertools
import os
import stat
import subprocess
import sys
import threading
from ipaddress import ip_network
from pathlib import Path

import pytest
from django.core.management import call_command

from musetalk_site.configuration.environment import (
    BASE_DIR,
    VARIABLES,
    CannotStart,
    SettingInvalid,
    read,
    read_file,
    unknown_names,
)
from musetalk_site.configuration.secret_key import kept_secret_key

PROXIES = ("127.0.0.1", "10.0.0.0/8", "::1")


def test_without_a_word_from_anybody_the_defaults_hold() -> None:
    values = read({}, {})
    assert (values["HOST"], values["PORT"]) == ("0.0.0.0", 8000)
    assert (values["ENGINE"], values["DEVICE"], values["USE_FLOAT16"]) == ("auto", ["auto"], True)
    assert values["AVATARS_DIR"] == BASE_DIR / "var" / "avatars"
    assert values["MODEL_PATH"] == BASE_DIR / "models"
    assert values["DEFAULT_AVATAR"] == "presenter"
    assert values["CORS_ORIGINS"] == ["*"]
    assert (values["SESSION_IDLE_S"], values["MAX_QUEUED_SPEECH_S"]) == (0, 60)
    assert values["END_OF_SPEECH_MS"] == 240
    assert values["CHANNEL_REDIS_URL"] == ""
    assert values["DATABASE_URL"]["NAME"] == BASE_DIR / "var" / "db.sqlite3"
    assert (values["DEBUG"], values["OPEN_UPLOADS"]) == (False, False)
    assert (values["TRUSTED_PROXIES"], values["HISTORY_DAYS"]) == ("", 90)


def test_the_environment_goes_before_the_file_and_the_file_before_the_default() -> None:
    assert read({"PORT": "1"}, {"PORT": "2"})["PORT"] == 1
    assert read({}, {"PORT": "2"})["PORT"] == 2


def test_an_empty_value_means_the_default() -> None:
    assert read({"PORT": " "}, {"PORT": "2"})["PORT"] == 8000
    assert (
        read({"CHANNEL_REDIS_URL": ""}, {"CHANNEL_REDIS_URL": "redis://x"})["CHANNEL_REDIS_URL"]
        == ""
    )


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("CORS_ORIGINS", '["https://a.example", "http://b.example:8080/"]', None),
        ("CORS_ORIGINS", "https://a.example, http://b.example:8080", None),
        ("CORS_ORIGINS", "HTTPS://A.example,http://b.example:8080", None),
        ("TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8,::1", [*map(ip_network, PROXIES)]),
        ("ALLOWED_HOSTS", "a.example,b.example", ["a.example", "b.example"]),
        ("ALLOWED_HOSTS", ".Example.org,[::1],10.0.0.7", [".example.org", "[::1]", "10.0.0.7"]),
        ("CORS_ORIGINS", "null,file://", ["null", "file://"]),
        ("CORS_ORIGINS", "capacitor://localhost", ["capacitor://localhost"]),
        ("ENGINE", "MuseTalk", "musetalk"),
        ("LOG_LEVEL", "debug", "DEBUG"),
        ("LOG_FORMAT", "JSON", "json"),
        ("DEVICE", "cuda:1", ["cuda:1"]),
        ("DEVICE", "cuda:0, cuda:1", ["cuda:0", "cuda:1"]),
        ("DEFAULT_AVATAR", "none", ""),
        ("USE_FLOAT16", "off", False),
        ("EMPHASIS", "false", False),
        ("DEBUG", "1", True),
        ("AVATARS_DIR", "/srv/avatars", Path("/srv/avatars")),
        ("CHANNEL_REDIS_URL", "unix:///run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_what_may_be_said(name: str, text: str, value: object) -> None:
    expected = ["https://a.example", "http://b.example:8080"] if value is None else value
    assert read({name: text}, {})[name] == expected


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("PORT", "http", "a whole number from 1 to 65535"),
        ("PORT", "0", "a whole number from 1 to 65535"),
        ("PORT", "65536", "a whole number from 1 to 65535"),
        ("PORT", "٨٠٠٠", "a whole number from 1 to 65535"),
        ("END_OF_SPEECH_MS", "-1", "a whole number of milliseconds from 80 to 5000"),
        ("MAX_QUEUED_SPEECH_S", "1e3", "a whole number of seconds from 2 to 3600"),
        ("ENGINE", "gpu", "auto, viseme or musetalk"),
        ("DEVICE", "cuda:x", "auto, cpu, mps, cuda or cuda:N"),
        ("DEVICE", "auto,cpu", "several have commas between them"),
        ("USE_FLOAT16", "maybe", "true or false"),
        ("DEFAULT_AVATAR", "../etc", "the name of an avatar"),
        ("CORS_ORIGINS", "example.org", "whole origins such as https://example.org"),
        ("CORS_ORIGINS", '["https://a.example"', "a JSON list"),
        ("CORS_ORIGINS", "[1]", "a JSON list"),
        ("CORS_ORIGINS", "https://*.example.org", "*, null, file:// or whole origins"),
        ("CORS_ORIGINS", "https://example.org/page", "*, null, file:// or whole origins"),
        ("ALLOWED_HOSTS", "https://example.org", "without https:// and port"),
        ("ALLOWED_HOSTS", "example.org:8000", "without https:// and port"),
        ("ALLOWED_HOSTS", "*.example.org", ".example.org (with all below it)"),
        ("CORS_ORIGINS", "https://[::1", "*, null, file:// or whole origins"),
        ("CORS_ORIGINS", "https://example.org:http", "*, null, file:// or whole origins"),
        ("ALLOWED_HOSTS", ",", "* or host names"),
        ("ALLOWED_HOSTS", "[]", "* or host names"),
        ("CHANNEL_REDIS_URL", "localhost:6379", "the address of a Redis server"),
        ("CHANNEL_REDIS_URL", "redis://localhost:99999/0", "the address of a Redis server"),
        ("CHANNEL_REDIS_URL", "redis://[::1", "the address of a Redis server"),
        ("WEBHOOK_URL", "https://[::1", "an address that begins with https://"),
        ("AUTH_JWKS_URL", "https://example.org:x/", "an address that begins with https://"),
        ("TRACES_URL", "http://[::1", "an address that begins with http:// or https://"),
        ("DATABASE_URL", "postgres://[::1/x", "postgres://user:password@host:5432/name"),
        ("STREAM_TOKEN_S", "0", "a whole number of seconds from 1 to 3600"),
        ("DATABASE_URL", "mysql://localhost/x", "sqlite:///path/to/file or postgres://"),
        ("DATABASE_URL", "sqlite://var/db.sqlite3", "three slashes"),
        ("TRUSTED_PROXIES", "localhost", "addresses or networks such as 127.0.0.1"),
        ("TRUSTED_PROXIES", "10.0.0.1/8", "addresses or networks such as 127.0.0.1"),
        ("HISTORY_DAYS", "-1", "a whole number of days from 0 to 36500"),
        ("LOG_LEVEL", "loud", "DEBUG, INFO, WARNING, ERROR or CRITICAL"),
        ("LOG_FORMAT", "xml", "text or json"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(name: str, text: str, allowed: str) -> None:
    with pytest.raises(SettingInvalid) as refused:
        read({name: text}, {})
    sentence = str(refused.value)
    assert sentence.startswith(f"{name} is {text!r}, but it must be ")
    assert allowed in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


@pytest.mark.parametrize("password", ["secret", "sec/ret", "se@c/ret"])
def test_a_wrong_address_is_shown_without_its_password(password: str) -> None:
    with pytest.raises(SettingInvalid) as refused:
        read({"DATABASE_URL": f"mysql://me:{password}@localhost/x"}, {})
    assert "mysql://***@localhost/x" in str(refused.value)


def test_the_folder_of_the_database_is_made(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new/folder/db.sqlite3"
    assert _manage("migrate", "--verbosity", "0", DATABASE_URL=url).returncode == 0
    assert (tmp_path / "new" / "folder" / "db.sqlite3").is_file()


def test_the_example_file_lists_every_setting_with_its_default() -> None:
    example = read_file(BASE_DIR / ".env.example")
    assert example == {name: variable.default for name, variable in VARIABLES.items()}


def test_the_example_file_says_what_each_setting_means() -> None:
    lines = (BASE_DIR / ".env.example").read_text().splitlines()
    for above, line in itertools.pairwise(lines):
        if "=" in line and not line.startswith("#"):
            assert above.startswith("# "), f"nothing explains {line}"
            assert not above.startswith("# ----"), f"nothing explains {line}"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("ENGINE=musetalk", "musetalk"),
        ('ENGINE="musetalk"', "musetalk"),
        ("ENGINE='musetalk'  # on the GPU", "musetalk"),
        ("ENGINE=musetalk # on the GPU", "musetalk"),
        ("export ENGINE=musetalk", "musetalk"),
        ("  ENGINE = musetalk", "musetalk"),
        ("ENGINE=a#b", "a#b"),
        ("ENGINE=p$word${PATH}", "p$word${PATH}"),
        ("ENGINE=", ""),
        ("\ufeffENGINE=musetalk\r", "musetalk"),
    ],
)
def test_a_line_of_the_file_is_read_as_people_mean_it(
    tmp_path: Path, line: str, value: str
) -> None:
    file = tmp_path / ".env"
    file.write_bytes(f"{line}\n# a comment\n".encode())
    assert read_file(file) == {"ENGINE": value}


def test_a_name_that_is_no_setting_is_named(tmp_path: Path) -> None:
    file = {"ENGNIE": "viseme", "port": "1", "SOMETHING_ELSE": "1", "HOST": "::"}
    assert unknown_names(file) == [
        ".env sets ENGNIE, which is no setting: did you mean ENGINE?",
        ".env sets port, which is no setting: did you mean PORT?",
        ".env sets SOMETHING_ELSE, which is no setting: .env.example lists them all.",
    ]


def test_a_secret_key_that_cannot_be_kept_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotStart, match="SECRET_KEY is empty, and none can be kept"):
        kept_secret_key(tmp_path / "file" / "secret_key")


def test_a_missing_file_says_nothing(tmp_path: Path) -> None:
    assert read_file(tmp_path / ".env") == {}


def test_the_secret_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "var" / "secret_key"
    key = kept_secret_key(path)
    assert len(key) >= 50
    assert kept_secret_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_processes_that_start_together_agree_on_the_secret_key(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path;"
        "from musetalk_site.configuration.secret_key import kept_secret_key;"
        "print(kept_secret_key(Path(sys.argv[1])))"
    )
    keys: list[str] = []

    def ask() -> None:
        command = [sys.executable, "-c", code, str(tmp_path / "secret_key")]
        keys.append(subprocess.run(command, cwd=BASE_DIR, capture_output=True, text=True).stdout)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(keys)) == 1
    assert keys[0].strip()


def _manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=BASE_DIR,
        env={**os.environ, **environment, "DJANGO_SETTINGS_MODULE": "musetalk_site.settings"},
        capture_output=True,
        text=True,
    )


def test_a_wrong_value_stops_the_start_with_one_sentence() -> None:
    stopped = _manage("serve", PORT="many")
    assert stopped.returncode == 1
    assert stopped.stderr == (
        "Cannot start: PORT is 'many', but it must be a whole number from 1 to 65535.\n"
    )
    assert stopped.stdout == ""


def test_a_redis_address_makes_both_layers_redis() -> None:
    code = (
        "from django.conf import settings as s; l = s.CHANNEL_LAYERS;"
        "print([(a, l[a]['BACKEND'], l[a]['CONFIG']['hosts'][0]['socket_timeout'])"
        " for a in l], l['default']['CONFIG']['expiry'])"
    )
    said = _manage("shell", "--no-imports", "-c", code, CHANNEL_REDIS_URL="redis://localhost:1")
    assert said.stdout == (
        "[('default', 'musetalk_site.redis.layers.RedisClaimLayer', None), "
        "('media', 'musetalk_site.redis.layers.RedisMediaLayer', None)] 5\n"
    )


@pytest.mark.django_db
def test_no_model_has_changed_without_a_migration() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_the_system_check_finds_nothing() -> None:
    call_command("check", fail_level="WARNING")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_file_of_another_encoding_is_named(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / ".env"
    file.write_bytes("# für alle\nENGINE=viseme\n".encode(encoding))
    with pytest.raises(CannotStart, match=r"\.env is not UTF-8: save it"):
        read_file(file)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("dotenv.dotenv_values", refuse)
    with pytest.raises(CannotStart, match=r"\.env cannot be read \(Permission denied\)"):
        read_file(tmp_path / ".env")
