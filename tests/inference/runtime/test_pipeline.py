"""A live stream by itself: pictures are encoded in order, whichever thread makes their mouths."""

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest

from inference.assets.clips import AvatarClips, PictureCache
from inference.core_turns import CoreTurns
from inference.engines.access import Answer, MouthRequest, MouthResult
from inference.engines.base import RenderRefusal
from inference.errors import EngineError
from inference.media.profile import DEFAULT_PROFILE
from inference.media.types import AudioWindow, Patch
from inference.runtime.concealment import FADE_FRAMES
from inference.runtime.deadlines import DeadlineQueue
from inference.runtime.frame_queue import PlannedFrame
from inference.runtime.live_stream import Encoded, MouthLate, NotEncoded, Outcome
from inference.runtime.pipeline import Pipeline, PooledStream
from inference.runtime.speech_queue import Speech, SpeechFrame
from inference.runtime.timeline import Timeline
from tests.fakes import MOUTH, MOUTH_MIDDLE, InlinePool, ManualClock

START_S = 100.0
FRAME_S = 0.04


class AskedEngine:
    """Writes down what it is asked; the test answers when it likes."""

    def __init__(self) -> None:
        self.asked: list[tuple[MouthRequest, Answer]] = []
        self.withdrawn: list[MouthRequest] = []

    def submit(self, request: MouthRequest, answer: Answer) -> None:
        self.asked.append((request, answer))

    def withdraw(self, request: MouthRequest) -> None:
        self.withdrawn.append(request)

    def answer(self, place: int, luma: int) -> None:
        """Make a mouth of one brightness."""
        request, answer = self.asked[place]
        answer(MouthResult(mouth(luma), request.read_picture()))


def mouth(luma: int) -> Patch:
    rows, columns = MOUTH
    height, width = rows.stop - rows.start, columns.stop - columns.start
    neutral = np.full((height // 2, width // 2), 128, np.uint8)
    return Patch(
        columns.start, rows.start, np.full((height, width), luma, np.uint8), neutral, neutral
    )


class Stage:
    """A stream on a held clock, and what it told."""

    def __init__(self, clips: AvatarClips) -> None:
        self.clips = clips
        self.clock = ManualClock()
        self.deadlines = DeadlineQueue(self.clock)
        self.engine = AskedEngine()
        self.media_pool = InlinePool()
        pipeline = Pipeline(
            engine=self.engine,
            media_pool=self.media_pool,
            turns=CoreTurns(1),
            profile=DEFAULT_PROFILE,
            deadlines=self.deadlines,
        )
        self.told: list[Outcome] = []
        self.stream = pipeline.open_stream(
            "claim", clips, "avatar", lambda outcome, now_s: self.told.append(outcome)
        )
        assert isinstance(self.stream, PooledStream)
        self._timeline = Timeline.start(clips.index)

    def frames(self, count: int, **how: bool) -> list[PlannedFrame]:
        """The next frames of an endless utterance, submitted."""
        planned = []
        for _ in range(count):
            before = self._timeline
            self._timeline, plan = before.advance(self.clips.index, Speech.READY)
            due_s = START_S + (1 + plan.frame) * FRAME_S
            window = AudioWindow(np.zeros(960, np.int16), frames=1)
            speech = SpeechFrame(640 * plan.frame, 640, window, None)
            planned.append(PlannedFrame(plan, before, due_s, due_s - 0.01, speech))
            self.stream.submit(planned[-1], **how)
        return planned

    def encoded(self) -> list[Encoded]:
        """The pictures that the session received up to now."""
        self.deadlines._let_happen()
        return [outcome for outcome in self.told if isinstance(outcome, Encoded)]

    def lumas(self) -> list[float]:
        """How bright the mouth is on each picture, as a viewer sees it."""
        decoder = av.CodecContext.create("h264", "r")
        decoder.thread_count = 1
        decoder.options = {"err_detect": "explode"}
        seen = []
        for each in self.encoded():
            (frame,) = decoder.decode(av.Packet(each.access_unit))
            seen.append(float(frame.to_ndarray(format="yuv420p")[MOUTH_MIDDLE].mean()))
        return seen


@pytest.fixture
def stage(avatars_dir: Path) -> Stage:
    clips = AvatarClips(avatars_dir / "test", PictureCache(), profile=DEFAULT_PROFILE)
    return Stage(clips)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_pictures_are_encoded_in_order_whichever_mouth_is_made_first(
    stage: Stage, order: tuple[int, ...]
) -> None:
    frames = stage.frames(3)
    for place in order:
        stage.engine.answer(place, 60 + 60 * place)
    assert [each.frame for each in stage.encoded()] == frames
    assert [each.is_idr for each in stage.encoded()] == [True, False, False]
    assert stage.lumas() == pytest.approx([60, 120, 180], abs=4)


def test_threads_that_answer_at_once_encode_one_after_the_other(stage: Stage) -> None:
    count = 40
    frames = stage.frames(count)
    together = threading.Barrier(8)
    places = list(range(count))
    np.random.default_rng(2).shuffle(places)

    def answer(place: int) -> None:
        together.wait(10)
        stage.engine.answer(place, 40 + 4 * place)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(answer, places))
    assert [each.frame for each in stage.encoded()] == frames
    assert stage.lumas() == pytest.approx([40 + 4 * place for place in range(count)], abs=5)


def test_the_session_learns_when_a_mouth_is_late(stage: Stage) -> None:
    late, in_time = stage.frames(2)
    stage.engine.answer(1, 100)
    stage.clock.stall(in_time.deadline_s - START_S)
    stage.encoded()
    assert [type(outcome) for outcome in stage.told] == [MouthLate]
    assert stage.told[0].frame is late


def test_what_is_cut_off_shows_the_last_mouth_and_lets_the_next_pass(stage: Stage) -> None:
    frames = stage.frames(3)
    stage.engine.answer(0, 60)
    stage.engine.answer(2, 180)
    stage.stream.cut_off(frames[1])
    assert stage.engine.withdrawn == [stage.engine.asked[1][0]]
    stage.engine.answer(1, 120)  # too late: it was in a call already
    assert [each.is_repeated for each in stage.encoded()] == [False, True, False]
    assert stage.lumas() == pytest.approx([60, 60, 180], abs=4)


def test_a_mouth_that_is_not_to_be_made_is_not_asked_for(stage: Stage) -> None:
    stage.frames(1)
    stage.engine.answer(0, 60)
    stage.frames(1, repeats_mouth=True)
    assert len(stage.engine.asked) == 1
    assert [each.is_repeated for each in stage.encoded()] == [False, True]
    assert stage.lumas() == pytest.approx([60, 60], abs=4)


@pytest.mark.parametrize("encoded", [0, 1, 3])
def test_withdrawing_tells_whether_an_encoder_saw_a_picture(stage: Stage, encoded: int) -> None:
    frames = stage.frames(3)
    for place in range(encoded):
        stage.engine.answer(place, 60)
    assert stage.stream.withdraw(frames[1:]) == (encoded > 1)
    assert len(stage.engine.withdrawn) == min(2, 3 - encoded)
    for place in range(encoded, 3):
        stage.engine.answer(place, 60)
    assert len(stage.encoded()) == max(encoded, 1)


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (MouthResult(RenderRefusal("it is being prepared"), None), "it is being prepared"),
        (EngineError("the engine is being restarted"), "the engine is being restarted"),
        (ZeroDivisionError("no business of the client's"), "engine_failed"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_mouth_that_cannot_be_made_leaves_the_base_video(
    stage: Stage, result: MouthResult | Exception, reason: str
) -> None:
    stage.frames(2 + FADE_FRAMES)
    stage.engine.answer(0, 200)
    for _, answer in stage.engine.asked[1:]:
        answer(result)
    first, *others = stage.encoded()
    assert first.failure is None
    assert {each.failure for each in others} == {reason}
    assert not any(each.is_repeated for each in others)
    bright, *fading, plain = stage.lumas()
    assert abs(bright - plain) > 30
    assert fading == pytest.approx(np.linspace(bright, plain, FADE_FRAMES + 1)[1:], abs=4)


def test_a_picture_that_cannot_be_decoded_is_reported(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(place: int) -> None:
        raise EngineError("the bytes are damaged")

    stage.frames(1)
    monkeypatch.setattr(type(stage.clips["idle_0"]), "picture", lambda self, index: fail(index))
    stage.engine.asked[0][1](MouthResult(None, None))
    stage.encoded()
    (told,) = stage.told
    assert isinstance(told, NotEncoded)
    assert str(told.error) == "the bytes are damaged"


def test_after_a_stretch_has_ended_the_next_picture_stands_alone(stage: Stage) -> None:
    stage.frames(2)
    stage.engine.answer(0, 60)
    stage.stream.end_stretch()  # one still waits, and needs its encoder
    stage.engine.answer(1, 60)
    stage.frames(1)
    stage.engine.answer(2, 60)
    assert [each.is_idr for each in stage.encoded()] == [True, False, True]
    assert stage.lumas() == pytest.approx([60, 60, 60], abs=4)


def test_a_thread_of_the_engine_finishes_the_picture(stage: Stage) -> None:
    """So that a frame is one piece of work on one thread."""
    by: list[str] = []
    encode: Callable[..., Encoded] = stage.stream._encode

    def noted(*arguments: object) -> Encoded:
        by.append(threading.current_thread().name)
        return encode(*arguments)

    stage.stream._encode = noted
    stage.frames(1)
    thread = threading.Thread(target=stage.engine.answer, args=(0, 60), name="engine_0")
    thread.start()
    thread.join()
    assert by == ["engine_0"]
