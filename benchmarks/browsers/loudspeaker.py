"""A loudspeaker for machines that have none: without one Firefox plays nothing at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.browsers.program import program, sign_of_life


def find_pulseaudio() -> str | None:
    return shutil.which("pulseaudio")


@contextmanager
def silent_loudspeaker(executable: str) -> Iterator[None]:
    """Programs started inside the block find a sound card. ``executable``: PulseAudio."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as home:
        address = Path(home) / "native"
        arguments = [executable, "-n", "--daemonize=no", "--exit-idle-time=-1"]
        modules = (
            "module-null-sink",
            f"module-native-protocol-unix socket={address} auth-anonymous=1",
        )
        for module in modules:
            arguments += ["-L", module]
        environment = {**os.environ, "HOME": home, "XDG_RUNTIME_DIR": home}
        with program(arguments, environment) as server:
            sign_of_life(server, address.exists)
            before = os.environ.get("PULSE_SERVER")
            os.environ["PULSE_SERVER"] = f"unix:{address}"
            try:
                yield
            finally:
                del os.environ["PULSE_SERVER"]
                if before is not None:
                    os.environ["PULSE_SERVER"] = before
