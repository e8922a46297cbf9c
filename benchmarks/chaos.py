"""``python -m benchmarks.chaos [--steps 200] [--seed 1]``

One session is asked for everything, at random moments: utterances of all lengths, whole and in
pieces, state changes, actions in both forms, interrupts, and nonsense. Afterwards every access unit
must decode, every timestamp be exact, every question answered, every sample shown or dropped.
"""

import argparse
import asyncio
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import pairwise

from benchmarks.server import Server, add_server_arguments, judge_server
from benchmarks.speech import Speech, speech
from benchmarks.verdict import Verdict
from inference.timing import BYTES_PER_SAMPLE, FRAME_MS, SAMPLES_PER_FRAME, SAMPLES_PER_MS
from talking_avatar import (
    ActionTriggered,
    AvatarClient,
    Closed,
    Event,
    Frame,
    Interrupted,
    ServerError,
    StateChanged,
)
from talking_avatar.decoding import AccessUnitDecoder

LONGEST_PAUSE_S = 1.2
LONGEST_UTTERANCE_FRAMES = 60
MOST_QUEUED_S = 9.0
"""Less than the client keeps back by itself."""
SHOWN_WITHIN_S = 5.0
"""How much longer than its own length speech may take to be shown."""
STATES = ("idle", "speaking", "action")
MOST_FAULTS_TOLD = 10
ROUNDING_MS = 1
"""What a position loses on the wire, where it is written in whole milliseconds."""


@dataclass
class Session:
    """What was asked, and all that came back."""

    client: AvatarClient
    asked: Counter[str] = field(default_factory=Counter)
    events: list[Event] = field(default_factory=list)
    sent_samples: int = 0

    @property
    def frames(self) -> list[Frame]:
        return [event for event in self.events if isinstance(event, Frame)]

    def count(self, kind: type[Event]) -> int:
        return sum(isinstance(event, kind) for event in self.events)

    @property
    def shown_ms(self) -> int:
        for event in reversed(self.events):
            if isinstance(event, Frame) and event.audio_timestamp_ms is not None:
                return event.audio_timestamp_ms + FRAME_MS
        return 0

    async def listen(self) -> None:
        async for event in self.client.events():
            self.events.append(event)


class Monkey:
    """Asks for one thing after the other, each chosen by the seed."""

    def __init__(self, session: Session, spoken: Speech, seed: int) -> None:
        self._session = session
        self._client = session.client
        self._spoken = spoken
        self._random = random.Random(seed)
        self._clips = [*session.client.info.clips, None, None, None]

    async def run(self, steps: int) -> None:
        deeds: list[tuple[int, str, Callable[[], Awaitable[None]]]] = [
            (6, "utterance", self._speak),
            (4, "state change", self._change_state),
            (3, "action", self._act),
            (3, "interrupt", self._interrupt),
            (1, "nonsense", self._talk_nonsense),
        ]
        weights = [weight for weight, _, _ in deeds]
        for _ in range(steps):
            _, name, deed = self._random.choices(deeds, weights)[0]
            self._session.asked[name] += 1
            await deed()
            await asyncio.sleep(self._random.random() ** 2 * LONGEST_PAUSE_S)

    async def _speak(self) -> None:
        queued_s = self._session.sent_samples / 16_000 - self._session.shown_ms / 1_000
        if queued_s > MOST_QUEUED_S:
            return
        pcm = self._spoken.part(
            self._random.randrange(self._spoken.frames),
            self._random.randint(1, LONGEST_UTTERANCE_FRAMES),
        )
        # Lengths that are no whole number of frames are the rule, not the exception.
        pcm = pcm[: len(pcm) - BYTES_PER_SAMPLE * self._random.randrange(SAMPLES_PER_FRAME)]
        piece = self._random.choice((320, 640, 1_280, 2_048, 31_998, len(pcm)))
        clip = self._random.choice(self._clips)
        pieces = [pcm[start : start + piece] for start in range(0, len(pcm), piece)]
        self._session.sent_samples += len(pcm) // BYTES_PER_SAMPLE
        await self._client.speak(pieces, clip=clip)

    async def _change_state(self) -> None:
        clip = self._random.choice(self._clips)
        state = clip.partition("_")[0] if clip else self._random.choice(STATES)
        await self._client.change_state(state, clip)

    async def _act(self) -> None:
        await self._client.start_action(
            self._random.choice((1, 2)), with_progress=self._random.random() < 0.5
        )

    async def _interrupt(self) -> None:
        await self._client.interrupt()

    async def _talk_nonsense(self) -> None:
        await self._client.change_state("dancing", "idle_99")


async def torment(server: Server, user_id: str, spoken: Speech, steps: int, seed: int) -> Session:
    async with AvatarClient(server.address, user_id, reconnects=False) as client:
        session = Session(client)
        listening = asyncio.create_task(session.listen())
        await Monkey(session, spoken, seed).run(steps)
        # What is still queued is shown, and an action that runs comes to its end.
        queued_s = max(0.0, session.sent_samples / 16_000 - session.shown_ms / 1_000)
        await asyncio.wait([listening], timeout=queued_s + SHOWN_WITHIN_S)
        session.asked["session alive"] = not listening.done()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    return session


def undecodable(frames: list[Frame]) -> list[str]:
    """Return what is wrong with each access unit that is not whole, and where it came."""
    decoder, faults = AccessUnitDecoder(), list[str]()
    for number, frame in enumerate(frames):
        decoder.decode(frame.data)
        if decoder.errors > len(faults):
            before = frames[max(0, number - 1)]
            faults.append(
                f"{frame.timestamp_ms} ms, {before.clip} → {frame.clip}, sound "
                f"{before.audio_timestamp_ms} → {frame.audio_timestamp_ms}: {decoder.last_error}"
            )
    return faults


def inexact_timestamps(frames: list[Frame]) -> list[str]:
    """Where a frame is not 40 ms after the one before it."""
    return [
        f"{earlier.timestamp_ms} ms is followed by {later.timestamp_ms} ms, "
        f"{(later.received_s - earlier.received_s) * 1_000:.0f} ms later"
        for earlier, later in pairwise(frames)
        if later.timestamp_ms - earlier.timestamp_ms != FRAME_MS
    ]


def lost_sound_ms(session: Session) -> int:
    """Sound neither shown nor dropped by an interrupt; also what was shown twice.

    Frames of one utterance follow each other by 40 ms of sound. The first of the next begins where
    the utterance ended, which is no later; with an interrupt between, later by what it dropped.
    """
    lost_ms, expected_ms, dropped_ms, interrupts = 0, 0, 0, 0
    for event in session.events:
        if isinstance(event, Interrupted):
            dropped_ms += event.dropped_ms
            interrupts += 1
        elif isinstance(event, Frame) and event.audio_timestamp_ms is not None:
            at_ms = event.audio_timestamp_ms
            slack_ms = ROUNDING_MS * (1 + interrupts)
            lost_ms += max(0, at_ms - (expected_ms + dropped_ms + slack_ms))
            if at_ms <= expected_ms - FRAME_MS:
                lost_ms += expected_ms - at_ms
            expected_ms, dropped_ms, interrupts = at_ms + FRAME_MS, 0, 0
    end_ms = session.sent_samples // SAMPLES_PER_MS
    slack_ms = ROUNDING_MS * (1 + interrupts)
    return lost_ms + max(0, end_ms - (expected_ms + dropped_ms + slack_ms))


def broken_progress(frames: list[Frame]) -> int:
    """Actions of protocol 1.0 that do not rise from above 0 to exactly 1."""
    broken, last = 0, None
    for frame in frames:
        progress = frame.action_progress
        if progress is None:
            broken += last not in (None, 1.0)
        elif last in (None, 1.0):
            broken += not 0 <= progress < 1
        else:
            broken += progress <= last or progress > 1
        last = progress
    return broken


def judge(session: Session) -> Verdict:
    verdict = Verdict("chaos")
    frames, asked = session.frames, session.asked
    errors = Counter(event.code for event in session.events if isinstance(event, ServerError))
    answers = (
        session.count(ActionTriggered) + session.count(StateChanged) + session.count(Interrupted)
    )
    questions = asked["action"] + asked["state change"] + asked["interrupt"] + asked["nonsense"]
    asked_words = ", ".join(f"{asked[name]} {name}s" for name in asked if name != "session alive")
    verdict.notes.append(
        f"{asked_words}; {sum(f.action_progress == 1.0 for f in frames)} actions "
        "of protocol 1.0 seen to their end"
    )
    verdict.told("frames", len(frames))
    verdict.told("frames with speech", sum(f.audio_timestamp_ms is not None for f in frames))
    faults, gaps = undecodable(frames), inexact_timestamps(frames)
    verdict.notes += faults[:MOST_FAULTS_TOLD] + gaps[:MOST_FAULTS_TOLD]
    verdict.none_of("access units not decodable", len(faults))
    verdict.none_of("timestamps not exact", len(gaps))
    verdict.none_of("sound lost or shown twice, ms", lost_sound_ms(session))
    verdict.none_of("action_progress not rising to 1", broken_progress(frames))
    verdict.near("questions answered", questions, 0, answers + errors["INVALID_MESSAGE"])
    verdict.near("interrupts answered", asked["interrupt"], 0, session.count(Interrupted))
    verdict.none_of("errors but INVALID_MESSAGE", sum(errors.values()) - errors["INVALID_MESSAGE"])
    verdict.at_least("nonsense refused", asked["nonsense"], errors["INVALID_MESSAGE"])
    verdict.none_of("sessions closed by the server", session.count(Closed))
    verdict.near("session alive at the end", 1, 0, int(asked["session alive"]))
    return verdict


async def measure(server: Server, options: argparse.Namespace) -> Verdict:
    spoken = speech()
    session = await torment(server, options.user_id, spoken, options.steps, options.seed)
    verdict = judge(session)
    verdict.notes.append(f"seed {options.seed}, {options.steps} steps, {spoken.source}")
    return verdict


def main() -> int:
    parser = argparse.ArgumentParser(description="Does the stream stay whole, whatever is asked?")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    add_server_arguments(parser)
    options = parser.parse_args()
    return judge_server(measure, options)


if __name__ == "__main__":
    sys.exit(main())
