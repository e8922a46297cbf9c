"""What the README shows is true: its messages parse, its commands and files exist."""

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from musetalk_site.configuration.environment import VARIABLES
from streaming.protocol.client_messages import CLIENT_MESSAGES, SAMPLE_RATES_HZ
from streaming.protocol.codec import parse, type_of
from streaming.protocol.errors import CLOSE_MEANINGS, ERROR_MEANINGS, CloseCode, ErrorCode
from streaming.protocol.server_messages import SERVER_MESSAGES

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()
TYPES_OF_SERVER = {type_of(message): message for message in SERVER_MESSAGES}


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_there_are_examples() -> None:
    assert len(blocks("json")) >= 5


@pytest.mark.parametrize("text", blocks("json") + blocks("json", PROTOCOL))
def test_every_example_is_a_message_of_the_protocol(text: str) -> None:
    name = msgspec.json.decode(text)["type"]
    if name in TYPES_OF_SERVER:
        message = msgspec.json.decode(text, type=TYPES_OF_SERVER[name])
        shown, known = msgspec.json.decode(text), msgspec.to_builtins(message)
        assert shown == known, "the example has fields that the server never sends"
    else:
        assert type_of(type(parse(text))) == name


@pytest.mark.parametrize("code", blocks("python"))
def test_every_program_compiles_and_finds_what_it_imports(code: str) -> None:
    compile(code, "README.md", "exec")
    imports = re.findall(r"^(?:from|import) .*$", code, re.MULTILINE)
    exec("\n".join(imports), {})


def test_every_variable_it_names_exists_and_every_variable_is_named() -> None:
    table = README.split("## Configuration")[1].split("## ")[0]
    rows = re.findall(r"^\| (`.*?) \|(.*?)\|", table, re.MULTILINE)
    names = [name for row, _ in rows for name in re.findall(r"`([A-Z0-9_]+)`", row)]
    defaults = [
        text for _, row in rows for text in (re.findall(r"`(.*?)`", row) if row.strip() else [""])
    ]
    assert sorted(names) == sorted(VARIABLES)
    assert [VARIABLES[name].default for name in names] == defaults


def test_every_make_target_it_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    prose = re.sub(r"^```.*?^```", "", README, flags=re.DOTALL | re.MULTILINE)
    spans = "\n".join([*blocks("sh"), *re.findall(r"`[^`]+`", prose)])
    for target in set(re.findall(r"\bmake ([a-z]+)\b", spans)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_command_it_names_exists() -> None:
    for command in set(re.findall(r"manage\.py ([a-z_]+)", README)) - {
        "createsuperuser",
        "migrate",
    }:
        assert list(ROOT.glob(f"*/management/commands/{command}.py")), command


def test_every_file_it_links_exists() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target


def test_the_protocol_page_has_every_message_code_and_close_code() -> None:
    for message in CLIENT_MESSAGES:
        assert f"| `{type_of(message)}` |" in PROTOCOL, type_of(message)
    for sent in SERVER_MESSAGES:
        assert f"`{type_of(sent)}`" in PROTOCOL, type_of(sent)
    plain = PROTOCOL.replace("`", "")
    for code, when, afterwards in ERROR_MEANINGS:
        assert f"| {code} | {when} | {afterwards} |" in plain, code
    assert {code for code, _, _ in ERROR_MEANINGS} == set(get_args(ErrorCode))
    for close_code, meaning in CLOSE_MEANINGS.items():
        assert f"| {close_code} | {meaning} |" in plain, close_code
    assert set(CLOSE_MEANINGS) == set(CloseCode) | {1009}
    for rate in SAMPLE_RATES_HZ:
        assert str(rate) in PROTOCOL


def test_the_protocol_page_says_how_to_decode() -> None:
    """A decoder for each message shows IDR pictures alone."""
    assert "Feed one decoder, in order" in " ".join(PROTOCOL.split())


@pytest.mark.parametrize("page", [*sorted((ROOT / "docs").glob("*.md")), ROOT / "SECURITY.md"])
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    named = re.findall(
        r"`((?:tests|streaming|inference|avatars_app|docs)/[\w./-]+)`", page.read_text()
    )
    for path in named:
        assert (ROOT / path).exists(), path


def test_every_path_of_the_checklists_exists() -> None:
    text = (ROOT / "docs" / "extending.md").read_text()
    spans = re.findall(r"`([^`]+)`", text)
    paths = [span.split()[0] for span in spans if "/" in span.split()[0]]
    assert len(paths) > 30
    missing = [path for path in paths if not path.startswith("/") and not (ROOT / path).exists()]
    assert missing == []
