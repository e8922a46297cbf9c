"""Who may speak: places that are reserved, held, and learned from what speaking costs."""

from pathlib import Path

import pytest

from inference.assets.library import AvatarLibrary
from inference.messages import (
    SessionRefused,
)
from inference.runtime.learned_places import LearnedPlaces
from inference.runtime.session import RESERVED_S
from tests.fakes import settle
from tests.inference.conftest import FRAME_S, Harness, running, tone


async def test_sessions_that_reserve_a_place_each_fill_the_engine(harness: Harness) -> None:
    harness.host._capacity._speech_share = 1.0
    harness.engine.capacity = 1
    await harness.gateway().open()
    other = harness.gateway("b")
    harness.host.claim(other.start(), worker_channel="worker!1")
    await settle()
    assert other.of(SessionRefused)[0].reason == "capacity"
    assert "1 sessions reserve parts of 1 places" in other.of(SessionRefused)[0].message


async def test_a_place_is_held_from_reservation_to_end_of_speech(
    harness: Harness,
) -> None:
    harness.engine.capacity = 1
    speaker, other = harness.gateway("a"), harness.gateway("b")
    await speaker.open()
    await other.open()
    assert harness.host.reserve_place("a")
    assert not harness.host.reserve_place("b")
    assert harness.host.reserve_place("a"), "it has one"
    speaker.send_audio(tone(20), 0)
    await harness.clock.advance(10 * FRAME_S)
    assert speaker.frames[-1].position is not None
    assert speaker.frames[-1].may_speak
    assert not other.frames[-1].may_speak
    await harness.clock.advance(3)
    assert speaker.frames[-1].position is None
    assert other.frames[-1].may_speak
    assert harness.host.reserve_place("b")


async def test_a_reservation_that_is_not_used_ends(harness: Harness) -> None:
    harness.engine.capacity = 1
    for name in ("a", "b"):
        await harness.gateway(name).open()
    assert harness.host.reserve_place("a")
    await harness.clock.advance(RESERVED_S + FRAME_S)
    assert harness.host.reserve_place("b")


@pytest.mark.parametrize(
    ("frame_ms", "places"),
    [
        (40, 1),
        pytest.param(10, 7, marks=pytest.mark.lasting),
        pytest.param(4, 18, marks=pytest.mark.lasting),
    ],
)
async def test_places_follow_what_speaking_costs(
    avatars_dir: Path, tmp_path: Path, frame_ms: float, places: int
) -> None:
    learned = LearnedPlaces(0.01, cores=2)
    async with running(Harness(AvatarLibrary(avatars_dir, tmp_path), learned)) as harness:
        gateways = [harness.gateway("a"), harness.gateway("b")]
        for gateway in gateways:
            await gateway.open()
        for second in range(30):
            for gateway in gateways:
                gateway.send_audio(tone(25), position=second * 16_000)
            await harness.clock.advance(1)
            harness.cpu_s += 50 * frame_ms / 1_000
        assert harness.host.report().places == pytest.approx(places, abs=1)


async def test_claims_that_come_at_once_do_not_exceed_the_places(harness: Harness) -> None:
    harness.host._capacity._speech_share = 1.0
    harness.engine.capacity = 1
    gateways = [harness.gateway(name) for name in ("a", "b", "c")]
    for gateway in gateways:
        harness.host.claim(gateway.start(), worker_channel="worker!1")
    await settle()
    kinds = sorted(type(message).__name__ for gateway in gateways for message in gateway.received)
    assert kinds == ["SessionClaimed", "SessionRefused", "SessionRefused"]
