"""Finds phrases that this project does not use: in comments, docstrings, messages, names and pages.

    python -m tests.wording               the whole tree
    python -m tests.wording FILE …        these files

`phrases.txt` lists them, a line each: a regular expression in lower case, and what is written
instead.
"""

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PHRASES = Path(__file__).with_name("phrases.txt")
SUFFIXES = {".py", ".md", ".js", ".ts", ".html", ".yml", ".sh"}
EXCLUDED = (
    "/migrations/",
    "/vendor/",
    "inference/engines/viseme/training/sentences.py",  # what voices read aloud
    "tests/test_wording.py",
)
CODE = "\N{NULL}"
"""Stands for a character that is no prose; no phrase matches it."""


@dataclass(frozen=True)
class Phrase:
    """A pattern that prose must not match, and the project's words for it."""

    pattern: re.Pattern[str]
    instead: str


@dataclass(frozen=True)
class Hit:
    """A forbidden phrase in a file."""

    path: Path
    line: int
    text: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text!r}: {self.instead}"


def phrases(text: str) -> list[Phrase]:
    """Parse the lines ``pattern => words``; a space in a pattern matches any white space.

    Raises:
        ValueError: A line is neither empty, a comment nor a phrase.
    """
    found = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        pattern, arrow, instead = (part.strip() for part in line.partition(" => "))
        if not arrow:
            raise ValueError(f"a line is `pattern => words`, and this is not: {line!r}")
        spaced = pattern.replace(" ", r"\s+")
        found.append(Phrase(re.compile(rf"\b(?:{spaced})(?!\w)", re.IGNORECASE), instead))
    return found


def any_of(forbidden: Sequence[Phrase]) -> re.Pattern[str]:
    """Return a pattern that any file with one of the phrases matches, once it is in lower case.

    To take each file apart, and look for one phrase after the other, takes ten times as long.
    """
    return re.compile("|".join(phrase.pattern.pattern for phrase in forbidden) or r"(?!)")


def python_prose(source: str) -> str:
    """Comments, strings and defined names of a module; runs of code are one `CODE`."""
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    prose = [character if character.isspace() else CODE for character in source]
    is_defined = False
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        begin = starts[token.start[0] - 1] + token.start[1]
        end = starts[token.end[0] - 1] + token.end[1]
        if token.type == tokenize.COMMENT:
            prose[begin:end] = re.sub(r"^#+:?", lambda m: " " * len(m[0]), token.string)
        elif token.type == tokenize.STRING or tokenize.tok_name[token.type] == "FSTRING_MIDDLE":
            prose[begin:end] = source[begin:end]
        elif token.type == tokenize.NAME and is_defined:
            prose[begin:end] = token.string.replace("_", " ")
        is_defined = token.type == tokenize.NAME and token.string in {"def", "class"}
    return re.sub(f"{CODE}[{CODE} ]*", CODE, "".join(prose))


def hits(
    path: Path, text: str, forbidden: Sequence[Phrase], suspicious: re.Pattern[str]
) -> Iterator[Hit]:
    """Yield the forbidden phrases of a file with this text, in order."""
    # The next line of a comment begins with its sign.
    joined = re.sub(r"(?m)^[ \t]*(//+|\*|#)(?= )", lambda m: " " * len(m[0]), text)
    if not suspicious.search(joined.lower().replace("_", " ")):
        return
    prose = python_prose(text) if path.suffix == ".py" else joined
    found = [
        (match.start(), " ".join(match[0].split()), phrase.instead)
        for phrase in forbidden
        for match in phrase.pattern.finditer(prose)
    ]
    for start, words, instead in sorted(found):
        yield Hit(path, prose.count("\n", 0, start) + 1, words, instead)


def tracked() -> list[Path]:
    """The files of the project, relative to its root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [Path(name) for name in listed.stdout.splitlines()]


def check(paths: Sequence[Path]) -> list[Hit]:
    """The hits in those of ``paths`` that hold prose of ours."""
    forbidden = phrases(PHRASES.read_text())
    suspicious = any_of(forbidden)
    return [
        hit
        for path in paths
        if (path.suffix in SUFFIXES or path.name == "Makefile")
        and not any(part in f"/{path.as_posix()}" for part in EXCLUDED)
        and (ROOT / path).is_file()
        for hit in hits(path, (ROOT / path).read_text(), forbidden, suspicious)
    ]


def main(arguments: Sequence[str]) -> int:
    """Print each hit with what is written instead; 1 if there is any, else 0."""
    paths = [Path(name).resolve().relative_to(ROOT) for name in arguments] or tracked()
    found = check(paths)
    for hit in found:
        print(hit)
    if found:
        print(f"{len(found)} forbidden phrases; the list is {PHRASES.relative_to(ROOT)}.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
