"""Which file of requirements `make run` installs: ``python -m musetalk_site.engine_requirements``.

MuseTalk's own requirements are gigabytes: they are installed where ENGINE asks for it, in the
environment or in `.env`.
"""

import sys

from musetalk_site.configuration.environment import BASE_DIR, CannotStart, read, read_file


def requirements_file(engine: str) -> str:
    """Return the name of the file, for a value of ENGINE."""
    return "requirements.txt" if engine == "musetalk" else "requirements-core.txt"


def main() -> int:
    """Print the name."""
    try:
        values = read(file=read_file(BASE_DIR / ".env"))
    except CannotStart as error:
        sys.stderr.write(f"Cannot start: {error}\n")
        return 1
    sys.stdout.write(f"{requirements_file(values['ENGINE'])}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
