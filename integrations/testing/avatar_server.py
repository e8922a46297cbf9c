"""A real server for the tests of integrations, as a plugin of pytest: ``-p avatar_server``.

The server runs in the repository's own environment, the tests in the integration's, so this module
uses the standard library and pytest alone.
"""

import json
import os
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
READY_WITHIN_S = 90.0
SPOKEN_TEXT = "The quick brown fox jumps over the lazy dog, and the dog does not mind at all."


@dataclass
class AvatarServer:
    """A running server that a test may stop and start again."""

    port: int
    folder: Path
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def address(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        environment = {
            **os.environ,
            "DATABASE_URL": f"sqlite:///{self.folder / 'db.sqlite3'}",
            "AVATARS_DIR": str(self.folder / "avatars"),
            "SECRET_KEY": "of a server that lives for minutes",
            "ENGINE": "viseme",
            "PROCESSES": "1",
        }
        manage = [str(PYTHON), str(ROOT / "manage.py")]
        subprocess.run([*manage, "migrate", "--verbosity", "0"], env=environment, check=True)
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*manage, "serve", "--host", "127.0.0.1", "--port", str(self.port)],
                env=environment,
                stdout=log,
                stderr=log,
            )
        pause = threading.Event()
        until_s = time.monotonic() + READY_WITHIN_S
        while not self._is_ready():
            if self.process.poll() is not None or time.monotonic() > until_s:
                pytest.fail((self.folder / "server.log").read_text()[-3_000:])
            pause.wait(0.1)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as page:
                return bool(json.load(page)["status"] == "ready")
        except OSError:
            return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None


def _make_server() -> AvatarServer:
    if not PYTHON.exists():
        pytest.skip("the server's environment is missing: make setup")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return AvatarServer(port, Path(tempfile.mkdtemp(prefix="avatar-integration-")))


@pytest.fixture(scope="session")
def avatar_server() -> Iterator[AvatarServer]:
    """Yield a server for all tests that only talk to it."""
    server = _make_server()
    try:
        server.start()
        yield server
    finally:  # also where it was not ready in time: it would run on
        server.stop()


@pytest.fixture
def own_avatar_server() -> Iterator[AvatarServer]:
    """Yield a server that the test may stop; it is to start it."""
    server = _make_server()
    yield server
    server.stop()


@dataclass(frozen=True)
class Voice:
    """Synthetic speech: s16le, mono."""

    pcm: bytes
    sample_rate: int

    @property
    def duration_s(self) -> float:
        return len(self.pcm) / 2 / self.sample_rate

    def pieces(self, piece_s: float = 0.1) -> Iterator[bytes]:
        """As a synthesizer gives it."""
        size = 2 * int(self.sample_rate * piece_s)
        return (self.pcm[at : at + size] for at in range(0, len(self.pcm), size))


@pytest.fixture(scope="session")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Voice:
    """Return a sentence by espeak-ng, 22050 Hz; the recording that the server ships without it."""
    file = tmp_path_factory.mktemp("voice") / "voice.wav"
    try:
        subprocess.run(["espeak-ng", "-w", file, SPOKEN_TEXT], check=True)
    except OSError:
        pytest.skip("espeak-ng is missing")
    with wave.open(str(file)) as wav:
        return Voice(wav.readframes(wav.getnframes()), wav.getframerate())
