"""``python -m benchmarks.lipsync [--avatar DIR] [--server ws://HOST:PORT --user-id NAME]``

Scores lip-sync as a viewer sees it: held-out voices say held-out sentences, the stream is decoded,
the lips are measured in the pictures and compared with the phonemes (see `benchmarks.score`). By
default the engine's chain runs in this process; with ``--server`` the speech goes through a running
server, in real time. Prints a table; exits with 1 when it falls short, with 2 when there is no
stream to score.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.folders import PRESENTER
from benchmarks.held_out import Passage, passages
from benchmarks.machine import machine
from benchmarks.score import LipTruth, Score, lip_gap, score
from benchmarks.speaking import (
    StreamBroken,
    speaking_in_process,
    speaking_pictures,
    stream_from_a_server,
)
from inference import process_settings
from inference.engines.viseme.engine import VisemeEngine
from inference.faces.mesh import FaceMesh
from talking_avatar import AvatarError

_LEAST_CORRELATION, _GREATEST_LAG, _LEAST_SEPARATION, _LEAST_MARGIN = 0.75, 1, 0.95, 0.5


def measure_in_process(folder: Path, spoken: Sequence[Passage]) -> list[list[float]]:
    """Return the lips' gap in each frame of each passage."""
    engine = VisemeEngine()
    engine.load()
    gaps = []
    for passage in spoken:
        mesh = FaceMesh()
        pictures = speaking_in_process(engine, folder, passage.samples)
        gaps.append([lip_gap(mesh.find(picture)) for picture in pictures])
    return gaps


async def measure_on_a_server(
    server: str, user_id: str, spoken: Sequence[Passage]
) -> list[list[float]]:
    gaps = []
    for passage in spoken:
        # Decoded and measured only afterwards, so that it takes no time from the stream.
        frames = await stream_from_a_server(server, user_id, passage.to_pcm())
        mesh = FaceMesh()
        gaps.append([lip_gap(mesh.find(picture)) for picture in speaking_pictures(frames)])
    return gaps


def joined(truths: Sequence[LipTruth]) -> LipTruth:
    """One truth after the other."""
    return LipTruth(
        np.concatenate([truth.opening for truth in truths]),
        np.concatenate([truth.is_bilabial for truth in truths]),
    )


def scores(spoken: Sequence[Passage], gaps: Sequence[list[float]]) -> dict[str, Score]:
    """Of each voice, and of all speech together, in that order."""
    truths = [passage.truth for passage in spoken]
    table = {}
    for number, passage in enumerate(spoken):
        others = [truth for other, truth in enumerate(truths) if other != number]
        table[passage.voice] = score(gaps[number], passage.truth, others)
    turned = [joined(truths[turn:] + truths[:turn]) for turn in range(1, len(truths))]
    table["all"] = score(np.concatenate(gaps).tolist(), joined(truths), turned)
    return table


def shortcomings(total: Score) -> list[str]:
    """Return what the score falls short of, in words; nothing if it passes."""
    margin = total.correlation - total.wrong
    checks = (
        (total.correlation >= _LEAST_CORRELATION, f"r {total.correlation:.3f} < 0.75"),
        (abs(total.lag) <= _GREATEST_LAG, f"lag {total.lag} frames"),
        (total.separation >= _LEAST_SEPARATION, f"AUC {total.separation:.3f} < 0.95"),
        (margin >= _LEAST_MARGIN, f"right minus wrong {margin:.3f} < 0.5"),
    )
    return [words for passed, words in checks if not passed]


def print_table(table: dict[str, Score]) -> None:
    print(f"{'voice':25} {'frames':>6} {'missed':>7} {'r':>6} {'lag':>4} {'AUC':>6}", end="")
    print(f" {'wrong r':>8} {'r - wrong':>10}")
    for voice, row in table.items():
        print(
            f"{voice:25} {row.frames:6} {row.missed:7.1%} {row.correlation:6.3f} {row.lag:4}"
            f" {row.separation:6.3f} {row.wrong:8.3f} {row.correlation - row.wrong:10.3f}"
        )


def main() -> int:
    process_settings.for_streams()
    parser = argparse.ArgumentParser(description="Score lip-sync on the decoded stream.")
    parser.add_argument("--avatar", type=Path, default=PRESENTER, help="asset folder")
    parser.add_argument("--server", help="ws://HOST:PORT of a running server")
    parser.add_argument("--user-id", default="lipsync", help="whose avatar the server shows")
    parser.add_argument("--sentences", type=int, default=6, help="at most, of each voice")
    chosen = parser.parse_args()

    spoken = passages(chosen.sentences)
    if chosen.server:
        print(f"lip-sync of {chosen.server}, user {chosen.user_id}, measured on {machine()}")
        try:
            gaps = asyncio.run(measure_on_a_server(chosen.server, chosen.user_id, spoken))
        except (AvatarError, StreamBroken) as error:
            print(error, file=sys.stderr)
            return 2
    else:
        print(f"lip-sync of {chosen.avatar.name}, in process, on {machine()}")
        gaps = measure_in_process(chosen.avatar, spoken)
    table = scores(spoken, gaps)
    print_table(table)
    short = shortcomings(table["all"])
    print("short of: " + "; ".join(short) if short else "passed")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
