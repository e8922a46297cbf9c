"""How messages are framed, against a library's own parser."""

import pytest
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from musetalk_site.server.websocket import MAX_SHORT_BYTES, short_frame


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 9_000, MAX_SHORT_BYTES])
@pytest.mark.parametrize("is_binary", [True, False])
def test_a_message_is_one_frame(size: int, is_binary: bool) -> None:
    payload = bytes(range(97, 107)) * (size // 10) + b"x" * (size % 10)
    reader = StreamReader()
    reader.feed_data(short_frame(payload, is_binary=is_binary))
    reader.feed_eof()
    parsing = Frame.parse(reader.read_exact, mask=False)
    with pytest.raises(StopIteration) as parsed:
        next(parsing)
    frame = parsed.value.value
    assert (frame.opcode, frame.fin) == (Opcode.BINARY if is_binary else Opcode.TEXT, True)
    assert frame.data == payload
    at_end = reader.at_eof()
    with pytest.raises(StopIteration) as ended:
        next(at_end)
    assert ended.value.value is True
