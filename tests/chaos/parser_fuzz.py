"""Random texts and bytes for the parser: it answers each with a message or `ProtocolError`."""

import json
import random
from collections.abc import Callable

import msgspec

from streaming.protocol import binary
from streaming.protocol.codec import parse
from streaming.protocol.errors import ProtocolError
from streaming.protocol.examples import CLIENT_EXAMPLES
from tests.chaos.batches import in_batches
from tests.chaos.result import Result

WORDS: list[object] = [
    *(None, True, False, 0, 1, -1, 25, 16_000, 2**31, 2**64, 10**400, 0.5, -0.0, 1e308),
    *("", "idle", "idle_0", "action_1", "pcm_s16le", "AAAA", "AAA", "=", "\x00", "é", "\ud800"),
    *([], {}, [[]], {"data": {}}, "1.2", "drop", "x" * 100),
]
"""What fields are replaced by."""
PIECES = [
    *('"', "\\", "{", "}", "[", "]", ",", ":", "\\u0000", "\\ud800", "1e999", "NaN", "-", "null"),
    *("\x00", "\ufeff", " ", "\t", '"type":"INIT"', '"data":{', "9" * 50, "[" * 50, "\\x"),
]
BATCH = 50_000
_MAX_KEPT = 10


def texts() -> list[str]:
    """One valid message of every type and form."""
    return [msgspec.json.encode(example).decode() for example in CLIENT_EXAMPLES]


class Mutator:
    """Makes inputs out of valid ones, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._texts = texts()
        self._objects = [json.loads(text) for text in self._texts]

    def text(self) -> str:
        """A text: a message with changed fields, or with changed characters."""
        if self._random.random() < 0.5:
            changed = self._changed(self._random.choice(self._objects))
            return json.dumps(changed, ensure_ascii=self._random.random() < 0.5)
        text = self._random.choice(self._texts)
        for _ in range(self._random.randint(1, 4)):
            at = self._random.randrange(len(text) + 1)
            to = min(len(text), at + self._random.choice((0, 0, 1, 2, 10, 100)))
            text = text[:at] + self._random.choice(PIECES) + text[to:]
        return (
            text[: self._random.randrange(len(text) + 1)] if self._random.random() < 0.1 else text
        )

    def _changed(self, value: object) -> object:
        chance = self._random.random()
        if chance < 0.08:
            return self._random.choice(WORDS)
        if isinstance(value, dict):
            changed = {key: self._changed(one) for key, one in value.items()}
            if chance < 0.16 and changed:
                changed.pop(self._random.choice(list(changed)))
            elif chance < 0.2:
                changed[self._random.choice(("type", "data", "x", ""))] = self._random.choice(WORDS)
            return changed
        if isinstance(value, list):
            return [self._changed(one) for one in value] * self._random.choice((1, 1, 1, 50))
        return value

    def bytes(self) -> bytes:
        """Binary speech: random, or with a header that is nearly right."""
        if self._random.random() < 0.2:
            return self._random.randbytes(self._random.randrange(60))
        body = bytearray(
            binary.HEADER.pack(binary.VERSION, binary.SPEECH_KIND, 0, 0, 0, 0)
            + (16_000).to_bytes(4, "big")
            + b"\x01\x02id"
            + self._random.randbytes(self._random.randrange(20))
        )
        for _ in range(self._random.randrange(4)):
            body[self._random.randrange(len(body))] = self._random.randrange(256)
        return bytes(body)


def _outcome(parse_one: Callable[[], object]) -> str:
    """``message``, ``refused``, or what else came out."""
    try:
        parse_one()
    except ProtocolError as error:
        is_answer = error.code == "INVALID_MESSAGE" and len(str(error)) > 10
        return "refused" if is_answer else f"an answer that says nothing: {error!r}"
    except BaseException as error:  # noqa: BLE001 - whatever comes out is what is looked for
        return repr(error)
    return "message"


def fuzz(seed: int, count: int) -> tuple[int, list[str]]:
    """How many inputs were messages, and the escapes, of one batch."""
    mutator, messages, escapes = Mutator(seed), 0, list[str]()
    for number in range(count):
        if number % 5:
            text = mutator.text()
            outcome = _outcome(lambda text=text: parse(text))  # type: ignore[misc]
        else:
            packed = mutator.bytes()
            outcome = _outcome(lambda packed=packed: binary.unpack_speech(packed, None))  # type: ignore[misc]
        messages += outcome == "message"
        if outcome not in ("message", "refused") and len(escapes) < _MAX_KEPT:
            escapes.append(f"seed {seed}, input {number}: {outcome}")
    return messages, escapes


def run(count: int, *, processes: int = 1, first_seed: int = 0) -> Result:
    """Parse ``count`` inputs."""
    batches = [min(BATCH, count - start) for start in range(0, count, BATCH)]
    messages, escapes = in_batches(fuzz, batches, processes=processes, first_seed=first_seed)
    return Result(
        "parser: mutated messages",
        "a message or INVALID_MESSAGE",
        f"{count:,} inputs, {messages:,} valid, {len(escapes)} escapes",
        escapes,
    )
