"""Settings that cannot work stop the start, in one sentence; what a server leaves open is said."""

import errno
import os
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import pytest
from django.core.checks import run_checks

from avatars_app.models import Avatar
from benchmarks.server import new_database
from musetalk_site.configuration import start_checks
from musetalk_site.configuration.environment import BASE_DIR, CannotStart
from musetalk_site.engine_requirements import requirements_file
from musetalk_site.telemetry import spans


def test_avatars_need_a_folder_that_can_be_written(tmp_path: Path, monkeypatch) -> None:
    start_checks.check_avatars_dir(tmp_path)
    start_checks.check_avatars_dir(tmp_path / "not" / "there" / "yet")
    file = tmp_path / "file"
    file.touch()
    for folder in (file, file / "below"):
        with pytest.raises(CannotStart, match=rf"^AVATARS_DIR is .*{file} is a file\.$"):
            start_checks.check_avatars_dir(folder)
    assert list(tmp_path.iterdir()) == [file]
    monkeypatch.setattr(start_checks, "TemporaryDirectory", _on_a_disk_that_is_read_only)
    with pytest.raises(CannotStart, match="must be a folder that can be written"):
        start_checks.check_avatars_dir(tmp_path / "new")


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
@pytest.mark.parametrize("folder", [Path("/proc/avatars"), Path("/sys/avatars")])
def test_avatars_need_a_folder_that_can_really_be_written(folder: Path) -> None:
    """Where root may write, by its rights, and cannot."""
    with pytest.raises(CannotStart, match="must be a folder that can be written"):
        start_checks.check_avatars_dir(folder)


def _on_a_disk_that_is_read_only(*, prefix: str, dir: Path) -> None:
    raise OSError(errno.EROFS, "Read-only file system")


@pytest.mark.django_db(transaction=True)  # the check closes the connection
def test_the_default_avatar_must_be_one(settings) -> None:
    for name in ("presenter", ""):
        start_checks.check_default_avatar(name)
    with pytest.raises(
        CannotStart, match=r"^DEFAULT_AVATAR is 'nobody'.*\(narrator, presenter\) or none"
    ):
        start_checks.check_default_avatar("nobody")
    Avatar.objects.create(user_id="nobody", status=Avatar.Status.PREPARING)
    start_checks.check_default_avatar("nobody")


def test_a_damaged_default_avatar_is_no_avatar(settings, tmp_path: Path) -> None:
    settings.AVATARS_DIR = tmp_path
    (tmp_path / "me").mkdir()
    (tmp_path / "me" / "manifest.json").write_text("{")
    with pytest.raises(CannotStart, match=r"^DEFAULT_AVATAR is 'me', which cannot be shown: "):
        start_checks.check_default_avatar("me")


def test_a_public_key_must_be_one(settings, tmp_path: Path) -> None:
    start_checks.check_keys()
    settings.AUTH_PUBLIC_KEY = tmp_path / "key.pem"
    with pytest.raises(CannotStart, match=r"a file that can be read \(No such file"):
        start_checks.check_keys()
    settings.AUTH_PUBLIC_KEY.write_text("no key")
    with pytest.raises(CannotStart, match="a public key in PEM"):
        start_checks.check_keys()


def test_tokens_are_checked_in_one_way(settings) -> None:
    settings.AUTH_SECRET, settings.AUTH_JWKS_URL = "s" * 32, "https://id.example/keys"
    with pytest.raises(CannotStart, match=r"^AUTH_JWKS_URL and AUTH_SECRET are set"):
        start_checks.check_keys()


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return new_database(tmp_path_factory.mktemp("database"))


def _run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **variables, "DJANGO_SETTINGS_MODULE": "musetalk_site.settings"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=BASE_DIR, env=env, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"AVATARS_DIR": "/etc/hostname"},
            "AVATARS_DIR is '/etc/hostname', but it must be a folder",
        ),
        ({"DEFAULT_AVATAR": "nobody"}, "DEFAULT_AVATAR is 'nobody', but it must be an avatar"),
        ({"AUTH_PUBLIC_KEY": "/nowhere"}, "AUTH_PUBLIC_KEY is '/nowhere', but it must be a file"),
        (
            {"DATABASE_URL": "sqlite:////etc/hostname/x"},
            "the folder of DATABASE_URL, /etc/hostname",
        ),
        ({"ALLOWED_HOSTS": "https://a.example"}, "ALLOWED_HOSTS is 'https://a.example', but"),
    ],
)
def test_serve_says_it_in_one_line(database_url: str, variables: dict[str, str], said: str) -> None:
    stopped = _run("manage.py", "serve", **{"DATABASE_URL": database_url, **variables})
    assert stopped.returncode == 1
    assert stopped.stderr.startswith(f"Cannot start: {said}")
    assert stopped.stderr.count("\n") == 1
    assert stopped.stdout == ""


def test_spans_need_their_packages(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    start_checks.check_spans()
    settings.TRACES_URL = "http://localhost:4318/v1/traces"
    start_checks.check_spans()
    monkeypatch.setattr(spans, "_PACKAGES", ("no_such_package.at_all", "no_such_package"))
    with pytest.raises(CannotStart, match=r"pip install -r requirements-tracing\.txt"):
        start_checks.check_spans()
    settings.TRACES_URL = ""
    start_checks.check_spans()


def _warnings(tag: str) -> set[str]:
    found = run_checks(tags=[tag], include_deployment_checks=True)
    return {str(each.id) for each in found if str(each.id).startswith("settings.")}


def test_a_server_on_the_internet_is_warned_of_what_it_leaves_open(settings) -> None:
    assert _warnings("security") == {"settings.W002", "settings.W003", "settings.W004"}
    settings.TRUSTED_PROXIES = [ip_network("0.0.0.0/0")]
    settings.ALLOWED_HOSTS = ["avatar.example.org"]
    settings.CORS_ORIGINS = ["https://app.example.org"]
    assert _warnings("security") == {"settings.W005"}
    settings.TRUSTED_PROXIES = [ip_network("127.0.0.1")]
    assert _warnings("security") == set()


def test_a_server_that_a_proxy_lets_others_into_is_on_the_internet_wherever_it_listens(
    settings,
) -> None:
    def found() -> set[str]:
        said = run_checks(tags=["security"], include_deployment_checks=True)
        return {str(each.id) for each in said} & {"settings.W002", "avatars.W002"}

    settings.HOST = "127.0.0.1"
    assert found() == set()
    settings.TRUSTED_PROXIES = [ip_network("127.0.0.1")]
    assert found() == {"settings.W002", "avatars.W002"}
    settings.ALLOWED_HOSTS, settings.AUTH = ["avatar.example.org"], True
    assert found() == set()


def test_names_that_are_no_settings_are_warned_of(settings) -> None:
    assert _warnings("settings") == set()
    settings.UNKNOWN_SETTINGS = [".env sets ENGNIE, which is no setting: did you mean ENGINE?"]
    assert _warnings("settings") == {"settings.W001"}


@pytest.mark.parametrize(("most", "streams"), [(256, 135), (64, 0)])
def test_a_limit_of_few_descriptors_is_said_at_the_start(most: int, streams: int) -> None:
    code = (
        "import resource, sys\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({most}, {most}))\n"
        "from django.core.management import execute_from_command_line\n"
        "execute_from_command_line(['manage.py', 'check'])"
    )
    said = _run("-c", code).stderr
    assert f"may have {most} files and connections open" in said
    assert f"about {streams} streams" in said
    assert "ulimit -Hn" in said


@pytest.mark.parametrize(
    ("engine", "file"),
    [
        ("auto", "requirements-core.txt"),
        ("viseme", "requirements-core.txt"),
        ("MuseTalk", "requirements.txt"),
    ],
)
def test_what_make_installs_is_what_the_server_needs(engine: str, file: str) -> None:
    assert (BASE_DIR / requirements_file(engine.lower())).is_file()
    assert _run("-m", "musetalk_site.engine_requirements", ENGINE=engine).stdout == f"{file}\n"


def test_make_stops_where_the_server_would() -> None:
    stopped = _run("-m", "musetalk_site.engine_requirements", ENGINE="gpu")
    assert stopped.returncode == 1
    assert stopped.stderr.startswith("Cannot start: ENGINE is 'gpu', but it must be ")


def test_the_makefile_reads_no_settings_by_itself() -> None:
    assert ".env" not in (BASE_DIR / "Makefile").read_text().replace(".venv", "")
