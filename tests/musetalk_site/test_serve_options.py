"""The options of `manage.py serve` that stand for settings take what the settings take."""

import pytest
from django.core.management import CommandError, load_command_class


def parsed(*arguments: str) -> dict[str, object]:
    command = load_command_class("musetalk_site", "serve")
    return vars(command.create_parser("manage.py", "serve").parse_args(arguments))


def test_they_replace_settings() -> None:
    options = parsed("--port", "9000", "--processes", "3")
    assert (options["port"], options["processes"]) == (9_000, 3)


def test_processes_may_be_counted_as_by_the_setting() -> None:
    assert parsed("--processes", "auto")["processes"] is None


def test_any_free_port_may_be_taken() -> None:
    assert parsed("--port", "0")["port"] == 0


@pytest.mark.parametrize(
    ("option", "text", "allowed"),
    [
        ("--port", "70000", "a whole number from 1 to 65535"),
        ("--port=-1", "", "a whole number from 1 to 65535"),
        ("--processes", "0", "auto or a whole number from 1 to 256"),
        ("--processes", "many", "auto or a whole number from 1 to 256"),
    ],
)
def test_what_a_setting_refuses_they_refuse_in_a_sentence(
    option: str, text: str, allowed: str
) -> None:
    with pytest.raises(CommandError, match=allowed):
        parsed(option, *([text] if text else []))
