"""What `docs/deploying.md` has people write down is what the server reads and runs.

Its nginx and Caddy run in `tests/e2e/test_https_proxy.py`.
"""

import re
import shlex

from django.core.management import get_commands, load_command_class

from musetalk_site.configuration.environment import BASE_DIR, VARIABLES, read

PAGE = (BASE_DIR / "docs" / "deploying.md").read_text()
INI = re.findall(r"^```ini\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_its_settings_are_settings() -> None:
    written = dict(re.findall(r"^([A-Z_]+)=(.*)$", "\n".join(INI), re.MULTILINE))
    assert (
        {"TRUSTED_PROXIES", "CHANNEL_REDIS_URL", "DATABASE_URL"} <= set(written) <= set(VARIABLES)
    )
    values = read(written, {})
    assert [str(network) for network in values["TRUSTED_PROXIES"]] == ["127.0.0.1/32"]
    assert values["DATABASE_URL"]["ENGINE"] == "musetalk_site.postgresql"


def test_its_units_run_commands_that_there_are() -> None:
    lines = re.findall(r"^Exec\w+=\S+/\.venv/bin/python (.*)$", "\n".join(INI), re.MULTILINE)
    assert len(lines) == 4
    for line in lines:
        script, name, *arguments = shlex.split(line.replace("%i", "8001"))
        assert (BASE_DIR / script).is_file()
        app = get_commands()[name]
        command = load_command_class(app, name) if isinstance(app, str) else app
        command.create_parser(script, name).parse_args(arguments)
