import shutil

import numpy as np
import pytest

from benchmarks.speech import FRAME_BYTES, Speech, babble, speech


def test_babble_sounds_in_the_voice_range_and_pauses():
    pcm = babble(4)
    assert len(pcm) % FRAME_BYTES == 0
    frames = np.frombuffer(pcm, "<i2").astype(float).reshape(-1, 640)
    loudness = np.sqrt((frames**2).mean(1))
    assert loudness.max() > 2_000
    assert 0.05 < (loudness < 10).mean() < 0.4


def test_without_a_synthesizer_it_babbles_and_says_so(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "babble" in speech().source


@pytest.mark.skipif(
    not (shutil.which("espeak-ng") or shutil.which("flite")), reason="needs espeak-ng or flite"
)
def test_with_one_it_speaks():
    spoken = speech()
    assert spoken.frames > 250
    assert "babble" not in spoken.source


def test_parts_go_round():
    spoken = Speech(bytes(FRAME_BYTES) + b"\x01" * FRAME_BYTES + b"\x02" * FRAME_BYTES, "")
    part = spoken.part(2, 5)
    assert [part[n * FRAME_BYTES] for n in range(5)] == [2, 0, 1, 2, 0]
