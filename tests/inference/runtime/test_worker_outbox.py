"""Messages to a gateway: in order, whatever the layer does."""

import asyncio

import pytest

from inference.local_link import LocalLink
from inference.messages import LayerMessage, SessionStart, SpeechFailed, VideoFrame
from inference.runtime.worker_outbox import MAX_FRAMES, WorkerOutbox

START = SessionStart(
    claim_id="a",
    session_id="s",
    reply_channel="gateway",
    avatar_folder="test",
    avatar_version="1",
)


def message(number: int) -> SpeechFailed:
    return SpeechFailed(claim_id="a", reason=str(number))


class SlowLayer:
    """Yields to other tasks before it sends, and loses the messages of `losses`."""

    def __init__(self, *lost: int) -> None:
        self.sent: list[tuple[str, str]] = []
        self._lost = {str(number) for number in lost}

    async def send(self, channel: str, message: LayerMessage) -> None:
        await asyncio.sleep(0)
        assert isinstance(message, SpeechFailed)
        if message.reason in self._lost:
            raise ConnectionError("the layer is gone")
        self.sent.append((channel, message.reason))


def elsewhere(channel: str, message: LayerMessage) -> bool:
    """The gateway is in another process."""
    return False


async def test_a_gateway_of_this_process_is_handed_its_messages_at_once() -> None:
    layer, link = SlowLayer(), LocalLink()
    received: list[LayerMessage] = []
    link.listen("gateway", received.append)
    outgoing = WorkerOutbox(START, layer.send, link.send)
    outgoing.put(message(0))
    assert received == [message(0)]
    link.leave("gateway")
    outgoing.put(message(1))
    link.listen("gateway", received.append)
    outgoing.put(message(2))
    outgoing.close()
    outgoing.put(message(3))
    await outgoing.send_all(on_loss=pytest.fail)
    assert received == [message(0)]
    assert layer.sent == [("gateway", "1"), ("gateway", "2")], "in order, whatever the way"


async def test_all_are_sent_in_order_and_none_after_it_was_closed() -> None:
    layer = SlowLayer()
    outgoing = WorkerOutbox(START, layer.send, elsewhere)
    sending = asyncio.create_task(outgoing.send_all(on_loss=pytest.fail))
    for number in range(5):
        outgoing.put(message(number))
        await asyncio.sleep(0)
    outgoing.close()
    outgoing.put(message(5))
    await asyncio.wait_for(sending, 1)
    assert layer.sent == [("gateway", str(number)) for number in range(5)]


async def test_what_is_lost_is_reported_and_the_rest_is_sent() -> None:
    layer = SlowLayer(1, 2)
    outgoing = WorkerOutbox(START, layer.send, elsewhere)
    for number in range(4):
        outgoing.put(message(number))
    outgoing.close()
    losses: list[list[tuple[str, str]]] = []
    await outgoing.send_all(on_loss=lambda: losses.append(list(layer.sent)))
    assert [reason for _, reason in layer.sent] == ["0", "3"]
    assert losses == [[("gateway", "0")]] * 2, "at once, before anything else is sent"


async def test_behind_a_layer_that_is_too_slow_frames_are_left_out_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    delivered: list[LayerMessage] = []
    answers = asyncio.Event()

    async def deliver(channel: str, message: LayerMessage) -> None:
        await answers.wait()
        delivered.append(message)

    outgoing = WorkerOutbox(START, deliver, elsewhere)
    losses: list[int] = []
    sending = asyncio.create_task(outgoing.send_all(on_loss=lambda: losses.append(len(delivered))))
    for number in range(10 * MAX_FRAMES):
        outgoing.put(
            VideoFrame(
                claim_id="a", frame=number, access_unit=b"", is_idr=False, state="idle", clip="c"
            )
        )
        await asyncio.sleep(0)
        if number % 50 == 49:
            outgoing.put(message(number))
    outgoing.close()
    answers.set()
    await asyncio.wait_for(sending, 1)
    frames = [each.frame for each in delivered if isinstance(each, VideoFrame)]
    assert frames[0] == 0, "the one that was on its way"
    assert len(frames) <= 1 + MAX_FRAMES
    assert frames == sorted(frames)
    assert frames[-1] == 10 * MAX_FRAMES - 1
    assert [each.reason for each in delivered if isinstance(each, SpeechFailed)] == [
        str(number) for number in range(49, 10 * MAX_FRAMES, 50)
    ]
    assert losses == [1], "an IDR is wanted before anything else is sent"
    assert "frames were left out" in caplog.text
