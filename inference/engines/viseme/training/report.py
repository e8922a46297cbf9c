"""The report: every number of it measured when it is written."""

import time
from collections.abc import Sequence

import numpy as np

from inference.engines.viseme import net
from inference.engines.viseme.engine import VisemeEngine
from inference.engines.viseme.training import evaluation, robustness, sentences
from inference.media.types import AudioWindow
from inference.timing import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

_ROUNDS, _CALLS = 31, 20

_HEAD = """# How well the viseme net hears

Written by `python -m inference.engines.viseme.training`, which also trains the net; with
`--evaluate` it only measures. Do not edit.

The net turns sound into a mouth shape at 25 frames a second. It was trained on speech synthesized
by espeak-ng and flite, which know when each phoneme sounds, in many voices and {languages}
languages, mixed with noise and music. Then it was fitted again, first its last layer and then all
of it, to speech of which half is by two natural voices whose networks predict the times, hibari's
`heart` (as women, men and children: spectrum and pitch are stretched before the vocoder) and
Piper's `joe`; through Opus, with breath, held vowels, steps of level and bangs
([lips.md](lips.md)). What it is scored on here it has never heard: flite's voice `awb`, the
espeak-ng variants `Gene`, `shelby` and `belinda`, Spanish as a language, and all the sentences. The
truth is the mouth opening computed from the phonemes (`training/phonetics.py`); the
control scores the opening heard in another talk against it.
"""


_LEGEND = """
*r*: Pearson correlation of the opening with the truth. *lag*: positive where the mouth is late: the
sound is early; EBU R 37 allows 40 ms early to 60 ms late, ITU-R BT.1359 finds 45 ms early and 125
ms late detectable. *AUC f v*: how often the lip is more tucked at [f v] than elsewhere in speech.
*AUC rounding*: how often the lips are rounder at [w u o] than at spread [i e]. *AUC*: how often a
wide open vowel is more open than a bilabial. *p b m closed*: share of the bilabials within speech
at which the opening falls below .15, a frame early or late allowed. *vowels shut*: share of the
wide open vowel frames at which it is below .15 all the same. *restlessness*: mean second difference
of the opening over its spread, against that of the truth; 1 is as lively as the truth. *r lost to
music*: how much r falls when music plays 10 dB below the speech.
"""


def written(engine: VisemeEngine, machine: str) -> str:
    """Return the report of a loaded engine, as Markdown."""
    head = _HEAD.format(languages=len(sentences.languages()))
    parts = _voices(engine), _not_speech(engine), _changes(engine), _cost(engine, machine)
    return "\n".join([head, *parts])


def _voices(engine: VisemeEngine) -> str:
    talks = evaluation.talks()
    scores = [
        evaluation.score(engine, talk, other)
        for talk, other in zip(talks, [*talks[1:], talks[0]], strict=True)
    ]
    rows = [
        _row(talk.name, score, evaluation.music_loss(engine, talk))
        for talk, score in zip(talks, scores, strict=True)
    ]
    r, wrong_audio_r, auc, closures = (
        float(np.mean([getattr(score, name) for score in scores]))
        for name in ("r", "wrong_audio_r", "auc", "closures")
    )
    average = (
        f"\nOn average r {r:.3f}, with the wrong audio {wrong_audio_r:.2f}, "
        f"AUC {auc:.3f}, closures {closures:.2f}.\n"
    )
    return "\n".join(["## Voices never heard\n", _table(_COLUMNS, rows), average, _LEGEND])


_COLUMNS = (
    *("voice", "r", "r, wrong audio", "lag, ms", "AUC", "p b m closed"),
    *("vowels shut", "r wide", "r round", "AUC f v", "AUC rounding"),
    *("restlessness", "r lost to music"),
)


def _row(name: str, score: evaluation.Score, loss: float) -> list[str]:
    return [
        name,
        f"{score.r:.3f}",
        f"{score.wrong_audio_r:.2f}",
        f"{score.lag_ms:+.0f}",
        f"{score.auc:.3f}",
        f"{score.closures:.2f}",
        f"{score.wrongly_closed:.3f}",
        f"{score.wide_r:.2f}",
        f"{score.round_r:.2f}",
        f"{score.contact_auc:.2f}",
        f"{score.rounding_auc:.2f}",
        f"{score.restlessness:.2f}",
        f"{loss:+.3f}",
    ]


def _not_speech(engine: VisemeEngine) -> str:
    introduction = (
        "Share of the frames in which the mouth opens less than "
        f"{evaluation.OPEN_IN_NOISE}\nat {evaluation.NOISE_DBFS:.0f} dBFS. The music is played by "
        "instruments that training does not have, unless it\nsays so.\n"
    )
    shares = evaluation.shut_shares(engine)
    table = _table(["sound", "shut"], [[name, f"{share:.3f}"] for name, share in shares.items()])
    return "\n".join(["## What is not speech\n", introduction, table])


def _changes(engine: VisemeEngine) -> str:
    introduction = (
        "Share of the opening that is shown all the same in the second from 200 ms after it on, in "
        "frames that are\nopen by .25 without it; flite's `awb` and `slt`.\n"
    )
    table = _table(["change", "opening kept"], _disturbed(engine))
    return "\n".join(["\n## After a change of level\n", introduction, table])


def _cost(engine: VisemeEngine, machine: str) -> str:
    context = engine.context
    return "\n".join(
        [
            "\n## Cost\n",
            f"It hears {_ms(context.before)} ms before a frame and {_ms(context.after)} ms after "
            f"it. {_parameters():,} weights in\n"
            f"{net.WEIGHTS_PATH.stat().st_size / 1e6:.2f} MB. "
            f"One frame of one session: {_cost_ms(engine, 1):.2f} ms of CPU; of eight sessions "
            f"together\n{_cost_ms(engine, 8):.2f} ms each ({machine}, numpy {np.__version__}).\n",
        ]
    )


def _disturbed(engine: VisemeEngine) -> list[list[str]]:
    changes: dict[str, robustness.Disturbance] = {
        "20 dB quieter": robustness.stepped_down(20),
        "25 dB quieter": robustness.stepped_down(25),
        "30 dB quieter": robustness.stepped_down(30),
        "a pop 20 dB above the speech": robustness.popped(20),
        "a pop 30 dB above the speech": robustness.popped(30),
        "nothing before a vowel's middle": robustness.begun_in_a_vowel,
    }
    voices = "awb", "slt"
    rows = [
        [name, f"{robustness.opening_kept(engine, voices, change):.2f}"]
        for name, change in changes.items()
    ]
    for name, is_first in (("nothing", True), ("its sentence", False)):
        held = robustness.held_opening_shown(engine, voices, is_first=is_first)
        rows.append([f"{name} before a vowel that is held; of the truth's opening", f"{held:.2f}"])
    return rows


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    ruler = "|".join("---" for _ in head)
    return "\n".join(
        [f"| {' | '.join(head)} |", f"|{ruler}|", *(f"| {' | '.join(row)} |" for row in rows)]
    )


def _ms(samples: int) -> int:
    return samples * 1_000 // SAMPLE_RATE_HZ


def _parameters() -> int:
    with np.load(net.WEIGHTS_PATH, allow_pickle=False) as stored:
        return sum(int(stored[name].size) for name in stored.files)


def _cost_ms(engine: VisemeEngine, sessions: int) -> float:
    """CPU time, all threads, of hearing one frame, in ms a session; the median of many rounds."""
    count = engine.context.before + SAMPLES_PER_FRAME + engine.context.after
    generator = np.random.default_rng(3)
    streams = [
        0.1 * generator.standard_normal(count + _CALLS * SAMPLES_PER_FRAME).astype(np.float32)
        for _ in range(sessions)
    ]
    spent_s = []
    for _ in range(_ROUNDS):
        started_s = time.process_time()
        for start in range(0, _CALLS * SAMPLES_PER_FRAME, SAMPLES_PER_FRAME):
            engine.listen([AudioWindow(sound[start : start + count], 1) for sound in streams])
        spent_s.append(time.process_time() - started_s)
    return float(np.median(spent_s)) / _CALLS / sessions * 1_000
