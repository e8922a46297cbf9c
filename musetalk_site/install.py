"""Make a virtual environment and install requirement files into it.

    python3 install.py [--venv FOLDER] FILE...

The folder is `.venv` unless another one is named.

It runs before anything is installed, so it uses the standard library alone. What is installed is
remembered in a stamp inside the folder (the digest of each file), so that a second run is
over in a moment.

`uv` does the work, several times as fast as pip. Where it is not on the path, pip brings it for as
long as it is needed; where that cannot be, pip does the work. `uv` reads none of pip's
configuration, so that is handed to it: both must find the same wheels, above all the same torch.
"""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

UV = "uv==0.13.8"
ROOT = Path(__file__).resolve().parent.parent


def say(sentence: str) -> None:
    sys.stdout.write(sentence + "\n")
    sys.stdout.flush()


def with_included(file: Path) -> list[Path]:
    """Return a requirement file and those it includes by ``-r``."""
    included = re.findall(r"^-r\s+(\S+)", file.read_text(), re.MULTILINE)
    return [file, *(f for name in included for f in with_included(file.parent / name))]


def digests(files: list[Path]) -> dict[str, str]:
    return {
        each.name: hashlib.sha256(each.read_bytes()).hexdigest()
        for file in files
        for each in with_included(file)
    }


def text_of(files: list[Path]) -> str:
    """All lines of requirement files, included ones too."""
    return "\n".join(each.read_text() for file in files for each in with_included(file))


def python_of(venv: Path) -> Path:
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def make_venv(venv: Path, uv: str | None) -> None:
    python = python_of(venv)
    if python.exists() and subprocess.run([python, "-c", ""], check=False).returncode == 0:
        return
    say(f"Making {venv.relative_to(ROOT)} with Python {sys.version.split()[0]}")
    shutil.rmtree(venv, ignore_errors=True)
    if uv:
        subprocess.run(
            [uv, "venv", "--quiet", "--seed", "--python", sys.executable, venv], check=True
        )
        return
    made = subprocess.run([sys.executable, "-m", "venv", venv], check=False)
    if made.returncode != 0:
        shutil.rmtree(venv, ignore_errors=True)
        sys.exit(f"Cannot make {venv}: install Python's venv module (Debian: python3-venv) or uv.")


def fetch_uv(python: Path, folder: Path) -> str | None:
    """Install uv into a folder; None if it cannot be had or does not run here."""
    command = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    command += ["--only-binary", ":all:", "--target", str(folder), UV]
    subprocess.run(command, stderr=subprocess.DEVNULL, check=False)
    uv = shutil.which("uv", path=str(folder / "bin"))
    if uv and subprocess.run([uv, "--version"], capture_output=True, check=False).returncode:
        return None  # built for another machine
    return uv


def pip_configuration(python: Path) -> dict[str, list[str]]:
    """Return what pip is configured to, option by option: ``{"find-links": ["/wheels"], ...}``."""
    listed = subprocess.run(
        [python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    options: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(?:global|install|:env:)\.([a-z-]+)='(.*)'$", listed, re.M):
        for part in value.replace("\\n", " ").split():
            if part not in options.setdefault(name, []):
                options[name].append(part)
    return options


def uv_options(configured: dict[str, list[str]]) -> list[str]:
    """Return the same configuration in uv's words."""
    words = {
        "index-url": "--default-index",
        "extra-index-url": "--index",
        "find-links": "--find-links",
        "constraint": "--constraint",
        "trusted-host": "--allow-insecure-host",
    }
    options = [
        part
        for name, word in words.items()
        for value in configured.get(name, [])
        for part in (word, value)
    ]
    # As pip does: the best version wins, wherever it is.
    return [*options, "--index-strategy", "unsafe-best-match"]


def install(python: Path, files: list[Path], uv: str | None) -> None:
    requirements = [part for file in files for part in ("--requirement", str(file))]
    if uv:
        configured = pip_configuration(python)
        environment = dict(os.environ)
        if "cert" in configured:
            environment.setdefault("SSL_CERT_FILE", configured["cert"][0])
        command = [
            uv,
            "pip",
            "install",
            "--quiet",
            "--python",
            str(python),
            *uv_options(configured),
        ]
        if subprocess.run([*command, *requirements], env=environment, check=False).returncode == 0:
            return
        say("uv could not install it; trying pip")
    # Twice quiet: errors are said, and nothing else.
    command = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    command += requirements
    if subprocess.run(command, check=False).returncode != 0:
        sys.exit(f"Installing failed. By hand: {shlex.join(command)}")


def main(names: list[str]) -> None:
    folder = ".venv"
    if names[:1] == ["--venv"]:
        _, folder, *names = names
    venv, files = ROOT / folder, [ROOT / name for name in names]
    python, stamp = python_of(venv), venv / "installed.json"
    wanted = digests(files)
    installed = json.loads(stamp.read_text()) if stamp.exists() and python.exists() else {}
    if wanted.items() <= installed.items():
        return
    uv = shutil.which("uv")
    make_venv(venv, uv)
    size = "gigabytes, with torch" if "torch>=" in text_of(files) else "some hundred megabytes"
    say(f"Installing {', '.join(names)}: once, {size}")
    with tempfile.TemporaryDirectory(prefix="uv-") as folder:
        install(python, files, uv or fetch_uv(python, Path(folder)))
    stamp.write_text(json.dumps(installed | wanted, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
