"""A conversation as text: what went in, and every byte that came out.

One line each, with its direction:

``c``  the client sends this text
``w``  the worker sends this message (JSON, bytes as base64)
``t``  so many milliseconds pass
``p``  the client reads too slowly (1), or fast enough again (0)
``s``  the server sends this text
``x``  the server closes with this code

``python -m tests.streaming.recording FILE`` plays the lines that go in against the code as it is,
and writes the file again.
"""

import json
import sys
from pathlib import Path

import msgspec

from inference.messages import TO_GATEWAY, LayerMessage, SessionClaimed
from tests.streaming.fakes import FakeGateway

_BY_TYPE = {message.type: message for message in TO_GATEWAY}


def dump_worker(message: LayerMessage) -> str:
    """The line of a worker's message."""
    fields = json.loads(msgspec.json.encode(message))
    return json.dumps({"type": message.type, **fields})


def parse_worker(line: str) -> LayerMessage:
    fields = json.loads(line)
    return msgspec.convert(fields, _BY_TYPE[fields.pop("type")], strict=False)


def play(lines: list[str]) -> list[str]:
    """The whole conversation, given the lines that go in; lines that come out are ignored."""
    gateway = FakeGateway()
    played: list[str] = []
    for line in lines:
        kind, _, rest = line.partition(" ")
        if kind in ("s", "x"):
            continue
        was_closed = gateway.closed
        gateway.texts.clear()
        match kind:
            case "c":
                gateway.do(gateway.session.text(rest, gateway.now_s))
            case "w":
                gateway.worker_sends(parse_worker(rest))
            case "t":
                gateway.wait(int(rest) / 1_000)
            case "p":
                gateway.session.set_paused(rest == "1")
            case _:
                raise ValueError(f"no such line: {line}")
        played.append(line)
        played += [f"s {text}" for text in gateway.texts]
        if gateway.closed != was_closed:
            played.append(f"x {gateway.closed}")
    return played


def claim_ids(lines: list[str]) -> set[str]:
    """The claims that the workers of a conversation took."""
    messages = [parse_worker(line[2:]) for line in lines if line.startswith("w ")]
    return {message.claim_id for message in messages if isinstance(message, SessionClaimed)}


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text("\n".join(play(file.read_text().splitlines())) + "\n")
