"""What waits for a layer: all that a worker must know, and no more, however slow the layer is."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from inference.messages import (
    ActionStart,
    ClipChange,
    LayerMessage,
    ListeningChange,
    SessionAlive,
    SessionStart,
    SessionStop,
)
from streaming.gateway.waiting_effects import LayerEffect, WaitingEffects
from streaming.session.effects import FlushSpeech, OpenSession, SendClaim, SendToWorker


def to_worker(message: LayerMessage) -> SendToWorker:
    return SendToWorker("w", message)


def claim(number: int) -> SendClaim:
    return SendClaim(
        SessionStart(
            claim_id=str(number),
            session_id="s",
            reply_channel="g",
            avatar_folder="a",
            avatar_version="1",
        )
    )


async def left(waiting: WaitingEffects) -> list[LayerEffect]:
    waiting.close()
    found = []
    while (effect := await asyncio.wait_for(waiting.take(), 1)) is not None:
        found.append(effect)
    return found


async def test_of_what_a_later_one_replaces_the_later_waits() -> None:
    waiting = WaitingEffects()
    stop = to_worker(SessionStop(claim_id="a"))
    action = to_worker(ActionStart(claim_id="a", clip="action_1", form="v1.1"))
    waiting.put(OpenSession("s", "u"))
    for number in range(1_000):
        waiting.put(claim(number))
        waiting.put(FlushSpeech("a"))
        waiting.put(to_worker(ClipChange(claim_id="a", clip=f"idle_{number}")))
        waiting.put(to_worker(ListeningChange(claim_id="a", is_active=number % 2 == 0)))
        waiting.put(to_worker(SessionAlive(claim_id="a")))
    waiting.put(action)
    waiting.put(stop)
    waiting.put(FlushSpeech("b"))
    assert await left(waiting) == [
        OpenSession("s", "u"),
        claim(999),
        FlushSpeech("a"),
        to_worker(ClipChange(claim_id="a", clip="idle_999")),
        to_worker(ListeningChange(claim_id="a", is_active=False)),
        to_worker(SessionAlive(claim_id="a")),
        action,
        stop,
        FlushSpeech("b"),
    ]


async def test_a_message_to_another_worker_replaces_nothing() -> None:
    waiting = WaitingEffects()
    effects = [
        to_worker(ClipChange(claim_id="a", clip="idle_1")),
        to_worker(ClipChange(claim_id="b", clip="idle_1")),
        SendToWorker("other", ClipChange(claim_id="b", clip="idle_1")),
    ]
    for effect in effects:
        waiting.put(effect)
    assert await left(waiting) == effects


async def test_who_waits_is_woken() -> None:
    waiting = WaitingEffects()
    taking = asyncio.create_task(waiting.take())
    await asyncio.sleep(0)
    waiting.put(FlushSpeech("a"))
    assert await asyncio.wait_for(taking, 1) == FlushSpeech("a")
    taking = asyncio.create_task(waiting.take())
    await asyncio.sleep(0)
    waiting.close()
    assert await asyncio.wait_for(taking, 1) is None


EFFECTS = st.one_of(
    st.sampled_from("ab").map(FlushSpeech),
    st.integers(0, 9).map(claim),
    st.builds(
        to_worker,
        st.one_of(
            st.builds(ClipChange, claim_id=st.sampled_from("ab"), clip=st.sampled_from("xyz")),
            st.builds(ListeningChange, claim_id=st.sampled_from("ab"), is_active=st.booleans()),
        ),
    ),
)


@given(st.lists(EFFECTS))
def test_the_last_word_of_each_kind_is_there(effects: list[LayerEffect]) -> None:
    async def check() -> None:
        waiting = WaitingEffects()
        for effect in effects:
            waiting.put(effect)
        assert len(waiting) <= 7, "one claim; two workers with speech, a clip, and listening"
        found = await left(waiting)
        for effect in reversed(effects):
            if isinstance(effect, FlushSpeech):
                assert effect in found
        if claims := [effect for effect in effects if isinstance(effect, SendClaim)]:
            assert claims[-1] in found
        for claim_id in "ab":
            for kind in (ClipChange, ListeningChange):
                said = [
                    effect
                    for effect in effects
                    if isinstance(effect, SendToWorker)
                    and type(effect.message) is kind
                    and effect.message.claim_id == claim_id
                ]
                assert not said or said[-1] in found

    asyncio.run(check())
