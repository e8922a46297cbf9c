"""``make test-integrations``: every integration's types and tests, in an environment of its own.

python integrations/testing/run.py [NAME ...]
"""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "integrations"


def integrations() -> list[str]:
    """Return the names of all."""
    return sorted(path.parent.name for path in FOLDER.glob("*/requirements.txt"))


def install(name: str) -> Path:
    """Make the integration's environment; its Python."""
    venv = f"integrations/{name}/.venv"
    subprocess.run(
        [
            sys.executable,
            ROOT / "musetalk_site" / "install.py",
            "--venv",
            venv,
            f"integrations/{name}/requirements.txt",
        ],
        check=True,
    )
    return ROOT / venv / "bin" / "python"


def main(names: list[str]) -> int:
    failed = []
    for name in names or integrations():
        began_s = time.monotonic()
        print(f"integrations/{name}", flush=True)
        python, folder = install(name), FOLDER / name
        checks = (["mypy"], ["pytest", "-q", "-rs"])
        codes = [
            subprocess.run([python, "-m", *check], cwd=folder, check=False).returncode
            for check in checks
        ]
        verdict = "failed" if any(codes) else "ok"
        print(f"integrations/{name}: {verdict}, {time.monotonic() - began_s:.0f} s", flush=True)
        if any(codes):
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
