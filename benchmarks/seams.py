"""``python -m benchmarks.seams [--rounds 3]``

A seam is where the source of the picture changes: from one clip to another, into an action and out
of it, from a clip to live pictures when speech begins, and back. The step from picture to picture
at a seam, the mouth left out, is compared with the steps inside the two clips that it joins: it is
invisible if it is not above their 99th percentile.
"""

import argparse
import asyncio
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.folders import PRESENTER
from benchmarks.pictures import AvatarPictures, Luma, decoded_luma, step
from benchmarks.server import Server, add_server_arguments, judge_server
from benchmarks.speech import Speech, speech
from benchmarks.verdict import Verdict
from talking_avatar import AvatarClient, Frame
from talking_avatar.decoding import AccessUnitDecoder

SETTLE_S = 2.6
"""Long enough for a clip that was asked for to be reached, and to be looked at."""
UTTERANCE_FRAMES = 40
OWN_PICTURE = 1.5
"""Nearer than this to a clip's own picture, in levels, a picture is no cross-fade."""
LONGEST_FADE = 4


@dataclass(frozen=True, slots=True)
class Seam:
    """One change of source: the largest ``step`` at it, and the one that is ``usual``ly largest."""

    kind: str
    clips: str
    timestamp_ms: int
    step: float
    usual: float

    @property
    def is_seen(self) -> bool:
        return self.step > self.usual


async def play(
    server: Server, user_id: str, spoken: Speech, rounds: int, clips: Sequence[str] = ()
) -> list[Frame]:
    """Everything that makes a seam, several times, at moments that have nothing in common.

    ``clips``: those to go through, instead of all that are not actions.
    """
    frames: list[Frame] = []
    async with AvatarClient(server.address, user_id) as client:

        async def listen() -> None:
            async for frame in client.frames():
                frames.append(frame)

        listening = asyncio.create_task(listen())
        quiet = [name for name in client.info.clips if not name.startswith("action")]
        await asyncio.sleep(1.0)
        for round_ in range(rounds):
            for number, clip in enumerate(clips or quiet):
                place = (round_ * 997 + number * 61) % spoken.frames
                # The odd pauses keep the moments from falling together with the clips' lengths.
                await client.change_state(clip.partition("_")[0], clip)
                await asyncio.sleep(SETTLE_S + 0.13 * number)
                await client.speak(spoken.part(place, UTTERANCE_FRAMES))
                await asyncio.sleep(SETTLE_S + 0.17 * round_)
                if number % 3 == round_ % 3:
                    await client.start_action(1 + number % 2)
                    await asyncio.sleep(2 * SETTLE_S)
                if number % 3 == (round_ + 1) % 3:
                    await client.speak(spoken.part(place, 3 * UTTERANCE_FRAMES))
                    await client.start_action(1 + number % 2)
                    await asyncio.sleep(3 * SETTLE_S)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    return frames


def kind_of(earlier: Frame, later: Frame) -> str | None:
    """Return what changed between two frames, in words; None if nothing did."""
    if earlier.clip != later.clip:
        if later.state == "action":
            return "action in"
        if earlier.state == "action":
            return "action out"
        return "clip to clip"
    was_speech, is_speech = (f.audio_timestamp_ms is not None for f in (earlier, later))
    if is_speech and not was_speech:
        return "speech begins"
    if was_speech and not is_speech:
        return "speech ends"
    return None


def seams(frames: list[Frame], pictures: AvatarPictures) -> Iterator[Seam]:
    """All of a stream, in order."""

    @cache
    def counted(first: str, second: str) -> NDArray[np.bool_]:
        return pictures.outside(first) & pictures.outside(second)

    @cache
    def usual_step(first: str, second: str) -> float:
        mask = counted(first, second)
        steps = [*pictures.steps(first, mask), *pictures.steps(second, mask)]
        return float(np.percentile(steps, 99))

    lumas: list[Luma] = []
    decoder = AccessUnitDecoder()
    for number, frame in enumerate(frames):
        lumas.append(decoded_luma(decoder, frame.data))
        begin = number - LONGEST_FADE
        if begin < 1:
            continue
        # The seam at `begin` is judged only now, since a fade continues for some pictures after it.
        earlier, later = frames[begin - 1], frames[begin]
        if (kind := kind_of(earlier, later)) is not None:
            mask = counted(earlier.clip, later.clip)
            fading = faded(lumas[-LONGEST_FADE - 1 :], later.clip, pictures)
            shown = lumas[-LONGEST_FADE - 2 :][: fading + 2]
            worst = max(step(a, b, mask) for a, b in pairwise(shown))
            yield Seam(
                kind,
                earlier.clip if earlier.clip == later.clip else f"{earlier.clip} → {later.clip}",
                later.timestamp_ms,
                worst,
                usual_step(earlier.clip, later.clip),
            )
        del lumas[: -LONGEST_FADE - 2]


def faded(lumas: list[Luma], clip: str, pictures: AvatarPictures) -> int:
    """How many of the pictures from a seam on are not yet the new clip's own."""
    for number, luma in enumerate(lumas[:LONGEST_FADE]):
        if pictures.locate(luma, clip).distance < OWN_PICTURE:
            return number
    return LONGEST_FADE - 1


async def measure(server: Server, options: argparse.Namespace) -> Verdict:
    verdict = Verdict("seams")
    spoken = speech()
    frames = await play(server, options.user_id, spoken, options.rounds)
    by_kind = defaultdict[str, list[Seam]](list)
    for seam in seams(frames, AvatarPictures(options.avatar)):
        by_kind[seam.kind].append(seam)
        if options.all or seam.is_seen:
            print(
                f"{seam.timestamp_ms / 1_000:8.2f} s  {seam.kind:<14} {seam.clips:<26}"
                f" step {seam.step:5.2f}, usual up to {seam.usual:5.2f}"
                f"  {'SEEN' if seam.is_seen else ''}"
            )
    verdict.notes.append(
        f"{len(frames)} frames, {spoken.source}; a step is a mean absolute difference of luma"
    )
    for kind in ("speech begins", "speech ends", "clip to clip", "action in", "action out"):
        found = by_kind[kind]
        ratios = [seam.step / max(seam.usual, 1e-9) for seam in found]
        verdict.at_least(f"{kind}: seams", 1, len(found))
        verdict.at_most(f"{kind}: worst step / usual", 1.0, max(ratios, default=None))
        verdict.told(f"{kind}: median step / usual", float(np.median(ratios)) if ratios else None)
    return verdict


def main() -> int:
    parser = argparse.ArgumentParser(description="Can one see where the picture's source changes?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--avatar", type=Path, default=PRESENTER, help="asset folder that is seen")
    parser.add_argument("--all", action="store_true", help="list every seam, not only those seen")
    add_server_arguments(parser)
    options = parser.parse_args()
    return judge_server(measure, options)


if __name__ == "__main__":
    sys.exit(main())
