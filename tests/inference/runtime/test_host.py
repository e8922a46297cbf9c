"""The host on a held clock: hours of session in seconds, and each rule of lateness on its own."""

import itertools

import av
import numpy as np
import pytest

from inference.media import compositor
from inference.media.types import AudioContext
from inference.messages import (
    ActionStart,
    ClipChange,
    SessionAlive,
    SessionEnded,
    SpeechFailed,
    SpeechInterrupt,
    SpeechInterrupted,
    VideoFrame,
)
from inference.runtime import timeline
from inference.runtime.concealment import FADE_FRAMES, MAX_REPEATS, MAX_START_DELAY_FRAMES
from tests.factories import picture
from tests.fakes import MOUTH, MOUTH_MIDDLE
from tests.inference.conftest import FRAME_S, Harness, assert_contiguous, tone


def decode(frames: list[VideoFrame]) -> list[np.ndarray]:
    """Every access unit, by a decoder that forgives nothing."""
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    decoder.options = {"err_detect": "explode"}
    pictures = []
    for frame in frames:
        decoded = decoder.decode(av.Packet(frame.access_unit))
        assert len(decoded) == 1, f"frame {frame.frame} does not decode"
        pictures.append(decoded[0].to_ndarray(format="yuv420p"))
    return pictures


def mouth_luma(picture: np.ndarray) -> float:
    return float(picture[MOUTH].mean())


async def test_ten_minutes_of_idle_are_exact(harness: Harness) -> None:
    gateway = harness.gateway()
    await gateway.open()
    for _ in range(60):
        await harness.clock.advance(10)
        harness.host.submit(SessionAlive(claim_id="a"))
    assert len(gateway.frames) == pytest.approx(15_000, abs=1)
    assert_contiguous(gateway)
    times = [
        at
        for at, m in zip(gateway.arrivals_s, gateway.received, strict=True)
        if type(m) is VideoFrame
    ]
    assert np.allclose(np.diff(times), FRAME_S, atol=1e-6)
    assert harness.host.report().totals.lateness.percentile_ms(1) == 1
    decode(gateway.frames[:200])


async def test_speech_is_seen_and_stamped(harness: Harness) -> None:
    gateway = harness.gateway()
    await gateway.open()
    await harness.clock.advance(1)
    gateway.send_audio(tone(10), 0)
    await harness.clock.advance(2)
    spoken = [frame for frame in gateway.frames if frame.position is not None]
    assert [frame.position for frame in spoken] == [640 * n for n in range(10)]
    assert {frame.samples for frame in spoken} == {640}
    assert_contiguous(gateway)
    pictures = dict(zip((f.frame for f in gateway.frames), decode(gateway.frames), strict=True))
    for frame in spoken:
        assert mouth_luma(pictures[frame.frame]) == pytest.approx(120, abs=4)
        assert frame.state == "speaking"
    after = pictures[spoken[-1].frame + 3 + 6]
    assert abs(mouth_luma(after) - 120) > 10


@pytest.mark.lasting
async def test_long_speech_in_bursts_does_not_drift(harness: Harness) -> None:
    gateway = harness.gateway()
    await gateway.open()
    gateway.send_audio(tone(25), 0)
    for burst in range(20):
        for second in range(10):
            gateway.send_audio(tone(25), (1 + 10 * burst + second) * 25 * 640)
        await harness.clock.advance(10)
    await harness.clock.advance(2)
    spoken = [frame for frame in gateway.frames if frame.position is not None]
    assert len(spoken) == 201 * 25
    assert len({frame.frame - frame.position // 640 for frame in spoken}) == 1
    assert harness.host.report().totals.held == 0


@pytest.mark.parametrize(("look_ahead_ms", "worst_ms"), [(40, 120), (80, 160), (93, 200)], ids=str)
async def test_how_old_the_sound_is_that_a_picture_shows(
    harness: Harness, look_ahead_ms: int, worst_ms: int
) -> None:
    """From the chunk with a picture's last sample to sending it, wherever in the frame time the
    client's chunks come: chunks of look-ahead, the margin, what is left of the frame, the lead.
    """
    harness.engine.context = AudioContext(before=320, after=16 * look_ahead_ms)
    harness.engine.lead_s = 0.03
    ages_ms: list[float] = []
    for phase in range(8):
        gateway = harness.gateway(str(phase))
        await gateway.open()
        await harness.clock.advance(1 + phase * FRAME_S / 8)
        said_s = []
        for number in range(20):
            said_s.append(harness.clock.now_s())
            gateway.send_audio(tone(1), number * 640)
            await harness.clock.advance(FRAME_S)
        await harness.clock.advance(1)
        sent = [
            (message.position, at_s)
            for message, at_s in zip(gateway.received, gateway.arrivals_s, strict=True)
            if isinstance(message, VideoFrame) and message.position is not None
        ]
        assert [position for position, _ in sent] == [640 * n for n in range(20)]
        # The last ones wait for look-ahead that does not come.
        ages_ms += [1_000 * (at_s - said_s[position // 640]) for position, at_s in sent[:17]]
    assert max(ages_ms) <= worst_ms
    assert max(ages_ms) - min(ages_ms) <= 40


async def test_late_engine_repeats_the_last_mouth_and_the_sound_continues(
    harness: Harness,
) -> None:
    gateway = harness.gateway()
    await gateway.open()
    gateway.send_audio(tone(5, 0.25) + tone(20, 0.75), 0)
    await harness.clock.advance(6 * FRAME_S)
    harness.engine_pool.is_held = True
    await harness.clock.advance(3 * FRAME_S)
    harness.engine_pool.release()
    await harness.clock.advance(2)
    spoken = [frame for frame in gateway.frames if frame.position is not None]
    assert [frame.position for frame in spoken] == [640 * n for n in range(25)]
    assert_contiguous(gateway)
    decode(gateway.frames)
    assert 1 <= harness.host.report().totals.skipped <= 3
    assert harness.host.report().totals.lateness.percentile_ms(1) == 1


async def test_late_engine_delays_the_beginning_instead(harness: Harness) -> None:
    gateway = harness.gateway()
    await gateway.open()
    await harness.clock.advance(1)
    harness.engine_pool.is_held = True
    gateway.send_audio(tone(5), 0)
    await harness.clock.advance(4 * FRAME_S)
    assert all(frame.position is None for frame in gateway.frames)
    harness.engine_pool.release()
    await harness.clock.advance(2)
    spoken = [frame for frame in gateway.frames if frame.position is not None]
    assert [frame.position for frame in spoken] == [640 * n for n in range(5)]
    assert harness.host.report().totals.delayed_starts >= 2
    assert_contiguous(gateway)
    decode(gateway.frames)


async def test_speech_does_not_wait_for_an_engine_that_is_far_too_slow(
    harness: Harness,
) -> None:
    gateway = harness.gateway()
    await gateway.open()
    await harness.clock.advance(1)
    harness.engine_pool.is_held = True
    gateway.send_audio(tone(20), 0)
    await harness.clock.advance(2)
    spoken = [frame for frame in gateway.frames if frame.position is not None]
    assert [frame.position for frame in spoken] == [640 * n for n in range(20)]
    assert_contiguous(gateway)
    pictures = dict(zip((f.frame for f in gateway.frames), decode(gateway.frames), strict=True))
    for frame in spoken:
        assert abs(mouth_luma(pictures[frame.frame]) - 120) > 10
    assert [failure.reason for failure in gateway.of(SpeechFailed)] == ["engine_late"]
    assert harness.host.report().totals.delayed_starts == MAX_START_DELAY_FRAMES
    harness.engine_pool.release()
    gateway.send_audio(tone(20), 20 * 640)
    await harness.clock.advance(2)
    assert sum(frame.position is not None for frame in gateway.frames) == 40
    assert len(gateway.of(SpeechFailed)) == 1


async def test_a_slow_engine_that_is_given_time_shows_a_mouth_now_and_then_and_none_too_early(
    harness: Harness,
) -> None:
    harness.engine.lead_s = 0.4
    gateway = harness.gateway()
    await gateway.open()
    await harness.clock.advance(1)
    gateway.send_audio(b"".join(tone(1, 0.2 + 0.03 * number) for number in range(25)), 0)
    for _ in range(12):
        harness.engine_pool.is_held = True
        await harness.clock.advance(0.17)
        harness.engine_pool.release()
    spoken = [frame for frame in gateway.frames if frame.position is not None]
    assert [frame.position for frame in spoken] == [640 * n for n in range(25)]
    assert_contiguous(gateway)
    pictures = dict(zip((f.frame for f in gateway.frames), decode(gateway.frames), strict=True))
    heard = [(mouth_luma(pictures[f.frame]) - 40) / 160 for f in spoken]
    ages = [number - round((loudness - 0.2) / 0.03) for number, loudness in enumerate(heard)]
    assert min(ages) >= 0
    assert max(ages) <= 5
    assert ages.count(0) >= 5
    assert harness.host.report().totals.delayed_starts == 0


async def test_a_start_that_is_delayed_takes_what_was_planned_behind_it_along(
    harness: Harness,
) -> None:
    harness.engine.lead_s = 0.2
    gateway = harness.gateway()
    await gateway.open()
    await harness.clock.advance(1)
    harness.engine_pool.is_held = True
    gateway.send_audio(b"".join(tone(1, 0.2 + 0.03 * number) for number in range(10)), 0)
    await harness.clock.advance(0.25)
    assert all(frame.position is None for frame in gateway.frames)
    harness.engine_pool.release()
    await harness.clock.advance(2)
    spoken = [frame for frame in gateway.frames if frame.position is not None]
    assert [frame.position for frame in spoken] == [640 * n for n in range(10)]
    assert_contiguous(gateway)
    pictures = dict(zip((f.frame for f in gateway.frames), decode(gateway.frames), strict=True))
    heard = [(mouth_luma(pictures[f.frame]) - 40) / 160 for f in spoken]
    assert heard == pytest.approx([0.2 + 0.03 * number for number in range(10)], abs=0.015)
    assert harness.host.report().totals.delayed_starts >= 1


async def test_a_mouth_of_long_ago_does_not_float_over_the_face(harness: Harness) -> None:
    gateway = harness.gateway()
    await gateway.open()
    gateway.send_audio(tone(25), 0)
    await harness.clock.advance(6 * FRAME_S)
    harness.engine_pool.is_held = True
    await harness.clock.advance(2)
    spoken = [frame for frame in gateway.frames if frame.position is not None]
    assert len(spoken) == 25
    pictures = dict(zip((f.frame for f in gateway.frames), decode(gateway.frames), strict=True))
    lumas = [float(pictures[frame.frame][MOUTH_MIDDLE].mean()) for frame in spoken]
    begins = 6 + MAX_REPEATS
    assert lumas[:begins] == pytest.approx([120] * begins, abs=5)
    gone = lumas[begins + FADE_FRAMES - 1]
    assert abs(gone - 120) > 10
    assert lumas[begins + FADE_FRAMES :] == pytest.approx([gone] * (7 - FADE_FRAMES), abs=5)
    steps = np.diff(lumas[begins - 1 : begins + FADE_FRAMES])
    assert steps == pytest.approx([(gone - 120) / FADE_FRAMES] * FADE_FRAMES, abs=4)
    assert [failure.reason for failure in gateway.of(SpeechFailed)] == ["engine_late"]


async def test_late_sound_holds_the_mouth(harness: Harness) -> None:
    gateway = harness.gateway()
    await gateway.open()
    for number in range(10):
        await harness.clock.advance(4 * FRAME_S if number == 5 else FRAME_S)
        gateway.send_audio(tone(1), number * 640)
    await harness.clock.advance(2)
    spoken = [frame for frame in gateway.frames if frame.position is not None]
    assert [frame.position for frame in spoken] == [640 * n for n in range(10)]
    gap = spoken[5].frame - spoken[4].frame - 1
    assert gap >= 2
    pictures = dict(zip((f.frame for f in gateway.frames), decode(gateway.frames), strict=True))
    for held in range(1, gap + 1):
        assert mouth_luma(pictures[spoken[4].frame + held]) == pytest.approx(120, abs=4)


async def test_interrupt_takes_back_what_was_not_sent(harness: Harness) -> None:
    gateway = harness.gateway()
    await gateway.open(clip="idle_0")
    gateway.send_audio(tone(50), 0)
    await harness.clock.advance(1)
    sent_before = len(gateway.frames)
    shown = max(f.position for f in gateway.frames if f.position is not None) + 640
    harness.host.submit(SpeechInterrupt(claim_id="a", generation=1))
    await harness.clock.advance(1)
    (answer,) = gateway.of(SpeechInterrupted)
    assert (answer.position, answer.generation) == (shown, 1)
    later = gateway.frames[sent_before:]
    assert all(frame.position is None for frame in later)
    assert_contiguous(gateway)
    pictures = decode(gateway.frames)[sent_before:]
    for frame, seen in list(zip(later, pictures, strict=True))[1:20]:
        assert mouth_luma(seen) == pytest.approx(picture(frame.clip, 0)[MOUTH].mean(), abs=4)
    gateway.send_audio(tone(5), 50 * 640, generation=0)
    await harness.clock.advance(1)
    assert all(frame.position is None for frame in gateway.frames[sent_before:])
    gateway.send_audio(tone(5), 50 * 640, generation=1)
    await harness.clock.advance(1)
    assert [f.position for f in gateway.frames[sent_before:] if f.position is not None] == [
        640 * n for n in range(50, 55)
    ]
    decode(gateway.frames)


async def test_a_stall_of_less_than_a_second_skips_nothing(harness: Harness) -> None:
    gateway = harness.gateway()
    await gateway.open()
    await harness.clock.advance(1)
    harness.clock.stall(0.8)
    await harness.clock.advance(1)
    assert_contiguous(gateway)
    decode(gateway.frames)


async def test_after_a_longer_stall_the_numbers_jump_to_now(harness: Harness) -> None:
    gateway = harness.gateway()
    await gateway.open()
    gateway.send_audio(tone(200), 0)
    await harness.clock.advance(1)
    harness.clock.stall(3)
    await harness.clock.advance(10)
    numbers = [frame.frame for frame in gateway.frames]
    jumps = [(a, b) for a, b in itertools.pairwise(numbers) if b != a + 1]
    assert len(jumps) == 1
    first_after = next(frame for frame in gateway.frames if frame.frame == jumps[0][1])
    assert first_after.is_idr
    spoken = [frame.position for frame in gateway.frames if frame.position is not None]
    assert spoken == [640 * n for n in range(200)]
    decode(gateway.frames)


async def test_clip_change_and_action_need_no_encoder(harness: Harness) -> None:
    gateway = harness.gateway()
    await gateway.open()
    harness.host.submit(ClipChange(claim_id="a", clip="idle_1"))
    await harness.clock.advance(1.2)
    assert gateway.frames[-1].clip == "idle_1"
    harness.host.submit(ActionStart(claim_id="a", clip="action_1", form="v1.0"))
    await harness.clock.advance(4)
    action = [frame for frame in gateway.frames if frame.action_progress is not None]
    assert action[-1].action_progress == 1.0
    assert {frame.action_form for frame in action} == {"v1.0"}
    assert gateway.frames[-1].clip == "idle_1"
    decode(gateway.frames)


async def test_a_cross_fade_under_speech_is_mixed_once_a_frame(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    mix, weights = compositor.cross_fade, []

    def counted(outgoing: np.ndarray, incoming: np.ndarray, weight: float) -> np.ndarray:
        weights.append(weight)
        return mix(outgoing, incoming, weight)

    monkeypatch.setattr(compositor, "cross_fade", counted)
    monkeypatch.setattr(timeline, "MAX_WAIT", 0)
    gateway = harness.gateway()
    await gateway.open(clip="idle_0")
    gateway.send_audio(tone(20), 0)
    await harness.clock.advance(5 * FRAME_S)
    harness.host.submit(ClipChange(claim_id="a", clip="speaking_0"))
    await harness.clock.advance(1)
    assert weights == [0.25, 0.5, 0.75]
    first = next(n for n, frame in enumerate(gateway.frames) if frame.clip == "speaking_0")
    assert all(frame.position is not None for frame in gateway.frames[first : first + 3])
    lumas = [seen[400:500].mean() for seen in decode(gateway.frames[: first + 5])[first - 1 :]]
    assert lumas == pytest.approx([85, 97.5, 110, 122.5, 135, 135], abs=3)


async def test_an_undelivered_frame_is_followed_by_an_idr(harness: Harness) -> None:
    gateway = harness.gateway()
    await gateway.open()
    await harness.clock.advance(10 * FRAME_S)
    harness.undeliverable = 1
    await harness.clock.advance(1)
    numbers = [frame.frame for frame in gateway.frames]
    gap = next(n for n, (a, b) in enumerate(itertools.pairwise(numbers)) if b != a + 1)
    # one frame may have been planned before the loss was known
    assert any(frame.is_idr for frame in gateway.frames[gap + 1 : gap + 3])


async def test_a_mouth_that_cannot_be_made_is_reported_once_and_leaves_the_base_video(
    harness: Harness,
) -> None:
    harness.engine.withholds = "idle_0 is being prepared"
    gateway = harness.gateway()
    await gateway.open()
    gateway.send_audio(tone(10, 0.9), 0)
    await harness.clock.advance(2)
    assert [failure.reason for failure in gateway.of(SpeechFailed)] == ["idle_0 is being prepared"]
    spoken = [frame for frame in gateway.frames if frame.position is not None]
    assert len(spoken) == 10
    pictures = dict(zip((f.frame for f in gateway.frames), decode(gateway.frames), strict=True))
    assert all(mouth_luma(pictures[frame.frame]) < 160 for frame in spoken)  # it would be 184
    assert harness.host.report().engine_state.is_healthy


async def test_an_engine_that_fails_leaves_the_base_video(harness: Harness) -> None:
    gateway = harness.gateway()
    await gateway.open()
    harness.engine.fails = True
    gateway.send_audio(tone(10), 0)
    await harness.clock.advance(1)
    assert len(gateway.of(SpeechFailed)) == 1
    assert_contiguous(gateway)
    assert [f.position for f in gateway.frames if f.position is not None] == [
        640 * n for n in range(10)
    ]
    decode(gateway.frames)


async def test_a_fault_in_one_session_leaves_the_other_alone(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = harness.gateway("a"), harness.gateway("b")
    await one.open()
    await two.open()
    await harness.clock.advance(1)
    broken = harness.host._hosted["a"].session

    def fault(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(broken, "tick", fault)
    await harness.clock.advance(1)
    (ended,) = one.of(SessionEnded)
    assert ended.reason == "error"
    assert str(harness.host.report()).startswith("sessions 1, jobs waiting ")
    assert_contiguous(two)
    assert len(two.frames) == pytest.approx(50, abs=2)


async def test_a_session_taken_over_continues_where_it_was_due(harness: Harness) -> None:
    gateway = harness.gateway()
    await gateway.open(next_frame=1_000, next_position=6_400, clip="idle_1")
    gateway.send_audio(tone(5), 6_400)
    await harness.clock.advance(1)
    assert (gateway.frames[0].frame, gateway.frames[0].is_idr) == (1_000, True)
    assert gateway.frames[0].clip == "idle_1"
    assert next(f.position for f in gateway.frames if f.position is not None) == 6_400
