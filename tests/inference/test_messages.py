"""What crosses the layers survives the crossing, also as msgpack packs it."""

import msgpack
import pytest

from inference import messages
from inference.errors import MessageInvalid
from inference.messages import AudioChunk, SessionStart, VideoFrame

EXAMPLES = [
    SessionStart(
        claim_id="c", session_id="s", reply_channel="r!1", avatar_folder="a", avatar_version="1"
    ),
    AudioChunk(claim_id="c", pcm=b"\x00\xff" * 640, position=640, generation=2, clip="idle_1"),
    VideoFrame(
        claim_id="c",
        frame=7,
        access_unit=b"\x00\x00\x00\x01\x67",
        is_idr=True,
        state="action",
        clip="action_1",
        action_progress=0.5,
        action_form="v1.0",
    ),
]


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: message.type)
def test_there_and_back(message: messages.LayerMessage) -> None:
    on_the_wire = msgpack.unpackb(msgpack.packb(message.to_layer()))
    assert messages.from_layer(on_the_wire) == message


def test_every_message_has_a_type_of_its_own() -> None:
    kinds = [*messages.TO_WORKER, *messages.TO_GATEWAY]
    assert len({kind.type for kind in kinds}) == len(kinds)


@pytest.mark.parametrize(
    "foreign",
    [{}, {"type": "boom"}, {"type": "video.frame"}, {"type": "session.stop", "claim_id": 3}],
)
def test_what_is_not_ours_is_refused(foreign: dict[str, object]) -> None:
    with pytest.raises(MessageInvalid):
        messages.from_layer(foreign)
