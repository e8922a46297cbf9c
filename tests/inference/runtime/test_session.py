"""One session against a stage that does nothing by itself: the test is the pools."""

import pytest

from inference.assets.clips import AvatarClips, PictureCache
from inference.media.profile import DEFAULT_PROFILE
from inference.media.types import AudioContext
from inference.messages import AudioChunk, SessionAccepted, SessionStart, VideoFrame
from inference.runtime.capacity import Capacity
from inference.runtime.session import WorkerSession
from inference.runtime.speech_queue import SpeechQueue

FRAME_S = 0.04


class SlowStage:
    """Writes down what the session asks for; the test answers when it likes."""

    def __init__(self):
        self.rendering, self.encoding, self.sent, self.encoded = [], [], [], []

    def render(self, session, slot):
        self.rendering.append(slot)

    def withdraw(self, slot):
        pass

    def encode(self, session, slot):
        self.encoding.append(slot)
        self.encoded.append(slot.plan.frame)

    def decode_ahead(self, session, clip, index):
        pass

    def finish_encoding(self, session, now_s):
        slot = self.encoding.pop(0)
        session.on_encoded(slot, b"coded", is_idr=slot.plan.must_be_idr, now_s=now_s)


@pytest.fixture
def stage():
    return SlowStage()


@pytest.fixture
def session(avatars_dir, stage):
    start = SessionStart(
        claim_id="a",
        session_id="a",
        reply_channel="a",
        avatar_folder="test",
        avatar_version="1",
    )
    clips = AvatarClips(avatars_dir / "test", PictureCache(), profile=DEFAULT_PROFILE)
    speech = SpeechQueue(AudioContext(before=0, after=0), end_of_speech_ms=240)
    session = WorkerSession(
        start,
        clips,
        "avatar",
        speech,
        stage,
        stage.sent.append,
        worker_channel="w",
        lead_s=FRAME_S,
        capacity=Capacity(),
    )
    session.start_streaming(SessionAccepted(claim_id="a"), 0.0, 0.0)
    return session


def three_mouths_under_way(session, stage):
    """Slots of three frames of speech, planned as time passed while no mouth was made."""
    pcm = bytes(3 * 1_280)
    session.push_audio(AudioChunk(claim_id="a", pcm=pcm, position=0, generation=0), 0.0)
    for tick in range(4):
        session.tick(tick * FRAME_S)
    assert len(stage.rendering) == 3
    return list(stage.rendering)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]])
def test_pictures_are_encoded_in_order_whichever_mouth_is_made_first(session, stage, order):
    slots = three_mouths_under_way(session, stage)
    for place in order:
        session.on_rendered(slots[place], None)
    for _ in slots:
        stage.finish_encoding(session, 1.0)
    assert stage.encoded == sorted(stage.encoded)
    assert len(stage.encoded) == 3
    sent = [message.frame for message in stage.sent if isinstance(message, VideoFrame)]
    assert sent == list(range(len(sent)))


def test_one_picture_at_a_time_is_encoded(session, stage):
    for slot in three_mouths_under_way(session, stage):
        session.on_rendered(slot, None)
    assert len(stage.encoding) == 1
    stage.finish_encoding(session, 1.0)
    assert len(stage.encoding) == 1
