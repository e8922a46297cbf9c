"""When each phoneme of a recording sounds: forced alignment by pocketsphinx.

Two acoustic models align the same recording: the English one that pocketsphinx brings, and the
small one trained on AN4, of Debian's test data. They share nothing but the dictionary,
so how far their alignments agree is what any truth of this kind is worth.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme.training.speech import Phoneme
from inference.timing import SAMPLE_RATE_HZ

_HOP_S = 0.01
_PAD_S = 0.3
_SILENT = {"SIL", "+NSN+", "+SPN+"}


class NotAligned(Exception):
    """The recognizer did not find the text in the recording."""


def align(
    samples: NDArray[np.float32], text: str, model: Path | None = None
) -> tuple[Phoneme, ...]:
    """Align a recording with what is said in it.

    Args:
        samples: float32 16 kHz mono in -1..1.
        text: The words, as the English dictionary spells them.
        model: Folder of an acoustic model; None: the one of pocketsphinx.

    Returns:
        The phonemes in ARPAbet, lower case, an empty symbol for a pause.

    Raises:
        NotAligned: The words were not found.
        ImportError: pocketsphinx is not installed.
    """
    from pocketsphinx import Decoder

    # With no silence before the first word the aligner stretches its first sound to the beginning.
    noise = np.random.default_rng(5).standard_normal(round(_PAD_S * SAMPLE_RATE_HZ))
    quiet = 2e-4 * noise
    pcm = (np.concatenate([quiet, samples, quiet]) * 32_767).astype("<i2").tobytes()
    settings = {} if model is None else {"hmm": str(model)}
    decoder = Decoder(loglevel="FATAL", lm=None, **settings)
    try:
        decoder.set_align_text(text)
        _decode(decoder, pcm)
        decoder.set_alignment()
        _decode(decoder, pcm)
        found = [phone for word in decoder.get_alignment() for phone in word]
    except RuntimeError as error:
        raise NotAligned(f"{text!r}: {error}") from error
    return tuple(
        Phoneme(
            max(phone.start * _HOP_S - _PAD_S, 0.0),
            max((phone.start + phone.duration) * _HOP_S - _PAD_S, 0.0),
            "" if phone.name in _SILENT else phone.name.lower(),
        )
        for phone in found
    )


def _decode(decoder: object, pcm: bytes) -> None:
    decoder.start_utt()  # type: ignore[attr-defined]
    decoder.process_raw(pcm, full_utt=True)  # type: ignore[attr-defined]
    decoder.end_utt()  # type: ignore[attr-defined]
