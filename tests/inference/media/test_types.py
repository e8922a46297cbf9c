import numpy as np

from inference.media.types import AudioWindow

EVERY_SAMPLE = np.arange(-32_768, 32_768).astype(np.int16)


def test_received_sound_is_converted_exactly_and_back() -> None:
    window = AudioWindow(EVERY_SAMPLE, frames=1)
    assert window.samples.dtype == np.float32
    np.testing.assert_array_equal(window.samples * 32_768, EVERY_SAMPLE)
    np.testing.assert_array_equal(AudioWindow(window.samples, frames=1).pcm, EVERY_SAMPLE)
    np.testing.assert_array_equal(window.pcm, EVERY_SAMPLE)


def test_sound_beyond_full_scale_is_bounded() -> None:
    loud = AudioWindow(np.array([-1.5, 0, 1.5], np.float32), frames=1)
    assert loud.pcm.tolist() == [-32_768, 0, 32_767]
