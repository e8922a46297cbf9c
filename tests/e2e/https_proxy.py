"""nginx and Caddy before a server, as `docs/deploying.md` sets them up, with a certificate of ours.

What the page shows is what runs here: only names, ports and paths are replaced.
"""

import re
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from email.message import Message
from http.cookiejar import CookieJar
from pathlib import Path

from tests.certificates import Certificate
from tests.processes import ROOT, free_port

PAGE = (ROOT / "docs" / "deploying.md").read_text()
DOMAIN = "avatar.example.org"


def block(language: str) -> str:
    (only,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return only


def replaced(text: str, changes: Mapping[str, str]) -> str:
    for old, new in changes.items():
        assert old in text, f"the page shows no {old!r} any more"
        text = text.replace(old, new)
    return text


class HttpsProxy:
    """A proxy that runs until it is stopped; ``port`` is the public one."""

    def __init__(self, command: list[str], port: int, log: Path) -> None:
        self.port = port
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        self._wait()

    @property
    def origin(self) -> str:
        return f"https://localhost:{self.port}"

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait(self) -> None:
        end_s = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert self._process.poll() is None, self._log.read_text()
                assert time.monotonic() < end_s, self._log.read_text()
                time.sleep(0.05)


def nginx(folder: Path, certificate: Certificate, server_port: int) -> HttpsProxy:
    port = free_port()
    site = replaced(
        block("nginx"),
        {
            "127.0.0.1:8000": f"127.0.0.1:{server_port}",
            "listen 80": f"listen 127.0.0.1:{free_port()}",
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            f"/etc/letsencrypt/live/{DOMAIN}/fullchain.pem": str(certificate.chain),
            f"/etc/letsencrypt/live/{DOMAIN}/privkey.pem": str(certificate.key),
            DOMAIN: "localhost",
        },
    )
    return run_nginx(folder, site, port)


def bare_nginx(folder: Path, server_port: int) -> HttpsProxy:
    """The least that works: no header names the client. Without TLS."""
    port = free_port()
    where = f"location / {{ proxy_pass http://127.0.0.1:{server_port}; }}"
    return run_nginx(folder, f"server {{ listen 127.0.0.1:{port}; {where} }}", port)


def run_nginx(folder: Path, site: str, port: int) -> HttpsProxy:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    temporary = "".join(
        f"{kind}_temp_path {folder / kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"daemon off; pid {folder / 'pid'}; error_log stderr; worker_processes 1;\n"
        f"events {{}}\nhttp {{ access_log off;\n{temporary}\n{site}\n}}\n"
    )
    command = [_program("nginx"), "-p", str(folder), "-c", str(configuration), "-e", "stderr"]
    return HttpsProxy(command, port, folder / "log")


def caddy(folder: Path, certificate: Certificate, server_port: int) -> HttpsProxy:
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    site = replaced(
        block("caddy"),
        {
            "127.0.0.1:8000": f"127.0.0.1:{server_port}",
            DOMAIN: f"https://localhost:{port}",
            "    reverse_proxy": f"tls {certificate.chain} {certificate.key}\nreverse_proxy",
        },
    )
    options = "{\n    admin off\n    auto_https disable_redirects\n}\n"
    configuration = folder / "Caddyfile"
    configuration.write_text(options + site)
    command = [_program("caddy"), "run", "--adapter", "caddyfile", "--config", str(configuration)]
    return HttpsProxy(command, port, folder / "log")


def _program(name: str) -> str:
    found = shutil.which(name)
    assert found is not None, f"{name} is not installed"
    return found


class Browser:
    """Keeps cookies, and says where its pages came from, as browsers do."""

    def __init__(self, origin: str, certificate: Certificate) -> None:
        self.origin = origin
        self.cookies = CookieJar()
        context = ssl.create_default_context(cafile=str(certificate.chain))
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=context),
            urllib.request.HTTPCookieProcessor(self.cookies),
            _StayHere(),
        )

    def ask(
        self, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, Message, bytes]:
        """Status, headers and body of the answer."""
        request = urllib.request.Request(self.origin + path, body)
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with self._opener.open(request, timeout=15) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def post(self, path: str, **fields: str | bytes) -> tuple[int, Message, bytes]:
        """A form of this origin; bytes are files."""
        boundary = uuid.uuid4().hex
        parts = b""
        for name, value in fields.items():
            is_file = isinstance(value, bytes)
            about = f'form-data; name="{name}"' + ('; filename="file"' if is_file else "")
            parts += f"--{boundary}\r\nContent-Disposition: {about}\r\n\r\n".encode()
            parts += (value if isinstance(value, bytes) else value.encode()) + b"\r\n"
        return self.ask(
            path,
            parts + f"--{boundary}--\r\n".encode(),
            Content_Type=f"multipart/form-data; boundary={boundary}",
            Origin=self.origin,
            X_CSRFToken=self.cookie("csrftoken"),
        )

    def log_in(self, name: str, password: str) -> int:
        """The status of the answer: 302 is welcome."""
        _, _, page = self.ask("/admin/login/")
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.decode())
        assert found is not None
        status, _, _ = self.post(
            "/admin/login/",
            csrfmiddlewaretoken=found[1],
            username=name,
            password=password,
            next="/admin/",
        )
        return status

    def cookie(self, name: str) -> str:
        return next((cookie.value or "" for cookie in self.cookies if cookie.name == name), "")


class _StayHere(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None
