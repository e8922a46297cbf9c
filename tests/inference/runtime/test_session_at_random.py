"""Sessions at random: speech, interrupts, actions and stalls, and an engine that is late at will.

Whatever happens, what is sent can be decoded, no sample is lost or shown twice, and an action runs.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest

from inference.assets.clip_index import ClipInfo
from inference.media.types import AudioContext
from inference.messages import (
    ActionStart,
    AudioChunk,
    ClipChange,
    LateAudio,
    LayerMessage,
    ListeningChange,
    SessionAccepted,
    SessionStart,
    SpeechEnd,
    SpeechInterrupt,
    SpeechInterrupted,
    SpeechSkipped,
    VideoFrame,
)
from inference.runtime.capacity import Capacity
from inference.runtime.frame_queue import PlannedFrame
from inference.runtime.live_stream import Encoded, MouthLate, TakeOutcome
from inference.runtime.mouth_pace import MouthPace
from inference.runtime.session import WorkerSession
from inference.runtime.speech_queue import SpeechQueue
from inference.runtime.timeline import Source

CLIPS = {
    clip.name: clip
    for clip in (
        ClipInfo("idle_0", "idle", 100, frozenset(range(0, 100, 25)), (26, 51, 76, 100)),
        ClipInfo("idle_1", "idle", 60, frozenset({0, 25, 50}), (60,), is_attentive=True),
        ClipInfo("speaking_0", "speaking", 50, frozenset({0, 25}), (26, 50)),
        ClipInfo("speaking_1", "speaking", 1, frozenset({0}), (1,)),
        ClipInfo("action_1", "action", 30, frozenset({0, 25}), (30,)),
        ClipInfo("action_2", "action", 3, frozenset({0}), (3,)),
    )
}
ACTION_WITHIN_S = 8.0


@dataclass(frozen=True, slots=True)
class Unit:
    """An access unit: the frame of a clip, or a picture that was encoded."""

    clip: str
    """Empty: it was encoded."""
    index: int
    """In the clip, or among all that were encoded."""
    refers_to: int
    """The index of the picture before it that must have been sent, unless it is an IDR."""


class OneClip:
    def __init__(self, name: str) -> None:
        self.name = name

    def access_unit(self, index: int) -> Unit:
        return Unit(self.name, index, index - 1)

    def is_idr(self, index: int) -> bool:
        return index in CLIPS[self.name].idr


class Clips:
    index = CLIPS

    def __getitem__(self, name: str) -> OneClip:
        return OneClip(name)


class LateStream:
    """Makes mouths in any order, each as late as chance has it, and encodes in order."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.awaits_mouth: dict[PlannedFrame, bool] = {}
        self.encoding: PlannedFrame | None = None
        self.pictures = 0

    def open(self, take: TakeOutcome) -> "LateStream":
        self.take = take
        return self

    def submit(self, frame: PlannedFrame, *, repeats_mouth: bool = False) -> None:
        self.awaits_mouth[frame] = frame.needs_mouth and not repeats_mouth
        if self.awaits_mouth[frame]:
            self.world.after(self.world.mouth_s(), lambda: self.cut_off(frame))
            self.world.after(frame.deadline_s - self.world.now_s, lambda: self.look(frame))
        self.encode()

    def look(self, frame: PlannedFrame) -> None:
        if self.awaits_mouth.get(frame):
            self.take(MouthLate(frame), self.world.now_s)

    def cut_off(self, frame: PlannedFrame) -> None:
        if self.awaits_mouth.get(frame):
            self.awaits_mouth[frame] = False
            self.encode()

    def withdraw(self, frames: list[PlannedFrame]) -> bool:
        seen = [frame for frame in frames if self.awaits_mouth.pop(frame, None) is None]
        return any(frame.plan.source is Source.LIVE for frame in seen)

    def end_stretch(self) -> None:
        pass

    def decode_ahead(self, clip: str, index: int) -> None:
        assert clip in CLIPS

    def encode(self) -> None:
        if self.encoding is None and self.awaits_mouth:
            frame, awaits_mouth = next(iter(self.awaits_mouth.items()))
            if not awaits_mouth:
                del self.awaits_mouth[frame]
                self.encoding = frame
                self.world.after(self.world.encoding_s(), self.encoded)

    def encoded(self) -> None:
        frame, self.encoding = self.encoding, None
        assert frame is not None
        is_idr = frame.plan.must_be_idr or frame.begins_stretch
        self.pictures += 1
        unit = Unit("", self.pictures, self.pictures - 1)
        self.take(Encoded(frame, cast(bytes, unit), is_idr), self.world.now_s)
        self.encode()


class World:
    """A session, its gateway and a clock; everything follows from ``seed``."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now_s = 100.0
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.order = itertools.count()
        self.is_fast = bool(seed % 3)
        late_audio: LateAudio = self.random.choice(["keep", "drop"])
        start = SessionStart(
            claim_id="a",
            session_id=str(seed),
            reply_channel="a",
            avatar_folder="test",
            avatar_version="1",
            late_audio=late_audio,
        )
        context = AudioContext(before=1_280, after=self.random.choice([0, 640, 1_280]))
        lead_s = self.random.choice([0.03, 0.15, 0.4])
        self.session = WorkerSession(
            start,
            cast(Any, Clips()),
            SpeechQueue(context, late_audio=late_audio),
            cast(Any, LateStream(self).open),
            self.receive,
            worker_channel="w",
            lead_s=lambda: lead_s,
            capacity=Capacity(),
            pace=MouthPace(),
        )
        self.position = self.generation = self.shown = self.skipped = 0
        self.action_s: float | None = None
        """When an action was requested that has not ended."""
        self.latest: VideoFrame | None = None
        self.session.start_streaming(SessionAccepted(claim_id="a"), self.now_s, self.now_s)
        self.schedule()

    def mouth_s(self) -> float:
        return self.random.choice([0.003, 0.02] if self.is_fast else [0.003, 0.02, 0.1, 0.3])

    def encoding_s(self) -> float:
        return self.random.choice([0.001, 0.003] if self.is_fast else [0.003, 0.02])

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        when_s = self.now_s + max(seconds, 0.0)
        heapq.heappush(self.events, (when_s, next(self.order), event))

    def schedule(self) -> None:
        session = self.session
        self.after(session.newest_due_s - self.now_s, lambda: session.flush(self.now_s))
        self.after(session.next_tick_s - self.now_s, self.tick)

    def tick(self) -> None:
        self.session.tick(self.now_s)
        self.schedule()

    def run(self, seconds: float) -> None:
        self.after(0.1, self.act)
        end_s = self.now_s + seconds
        while self.events[0][0] < end_s:
            when_s, _, event = heapq.heappop(self.events)
            self.now_s = max(self.now_s, when_s)
            event()

    # What a client does.

    def act(self) -> None:
        acts = (self.speak, self.end, self.interrupt, self.start_action, self.change, self.stall)
        self.random.choices(acts, weights=(50, 5, 20, 30, 8, 2))[0]()
        self.after(self.random.expovariate(5), self.act)

    def speak(self) -> None:
        samples = self.random.choice([1, 100, 640, 1_920, 6_400, 16_000])
        sound = self.random.choice([b"\0\0", b"\1\50"])
        clip = self.random.choice([None, None, "speaking_1", "idle_1"])
        chunk = AudioChunk(
            claim_id="a",
            pcm=sound * samples,
            position=self.position,
            generation=self.generation,
            clip=clip,
        )
        self.position += samples
        self.session.push_audio(chunk, self.now_s)

    def end(self) -> None:
        end = SpeechEnd(claim_id="a", position=self.position, generation=self.generation)
        self.session.end_speech(end)

    def interrupt(self) -> None:
        self.generation += 1
        interrupt = SpeechInterrupt(claim_id="a", generation=self.generation)
        self.session.interrupt(interrupt, self.now_s)
        self.shown, self.skipped = self.position, 0

    def start_action(self) -> None:
        if self.action_s is None:
            self.action_s = self.now_s
            clip = self.random.choice(["action_1", "action_2"])
            self.session.start_action(ActionStart(claim_id="a", clip=clip, form="v1.1"))

    def change(self) -> None:
        is_active = self.random.random() < 0.5
        clip = self.random.choice(["idle_0", "idle_1", "speaking_0"])
        self.session.change_listening(ListeningChange(claim_id="a", is_active=is_active))
        self.session.change_clip(ClipChange(claim_id="a", clip=clip, is_chosen=is_active))
        if is_active:
            self.session.require_idr()

    def stall(self) -> None:
        self.now_s += self.random.choice([0.05, 0.5, 3.0])

    # What it is sent.

    def receive(self, message: LayerMessage) -> None:
        match message:
            case VideoFrame():
                self.see(message)
                self.latest = message
            case SpeechSkipped():
                self.skipped += message.samples
            case SpeechInterrupted():
                assert message.position <= self.shown + self.skipped

    def see(self, frame: VideoFrame) -> None:
        before, unit = self.latest, cast(Unit, frame.access_unit)
        assert before is None or frame.frame > before.frame
        assert self.now_s >= self.session.clock.due_s(frame.frame) - 1e-6, "not early"
        if not frame.is_idr:
            assert before is not None
            assert frame.frame == before.frame + 1, "it refers to a frame that was never sent"
            sent = cast(Unit, before.access_unit)
            assert (sent.clip, sent.index) == (unit.clip, unit.refers_to)
        if frame.position is not None:
            assert frame.position == self.shown + self.skipped
            self.shown, self.skipped = frame.position + frame.samples, 0
        if frame.action_progress is not None and frame.action_progress >= 1:
            self.action_s = None
        assert self.action_s is None or self.now_s - self.action_s < ACTION_WITHIN_S


@pytest.mark.lasting
@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_is_decodable_and_loses_nothing(seed: int) -> None:
    for number in range(10):
        World(6 * number + seed).run(20.0)
