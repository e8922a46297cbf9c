"""From windows of sound to features: the net, its gate, and the emphasis.

Two windows of a session that follow each other share all but a frame. What was computed of the
first is kept, so that of the second only the new frame is computed. Which window a new one follows
is found by its sound and confirmed sample by sample. So the features of a window depend on nothing
but the window, whatever was heard before, and by whom.
"""

from collections import OrderedDict
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme import emphasis as melodies
from inference.engines.viseme import features, net
from inference.engines.viseme.shape import MouthShape
from inference.engines.viseme.silence_gate import mouth_shapes
from inference.media.types import AudioContext, AudioWindow
from inference.timing import SAMPLES_PER_FRAME

_SILENT_SAMPLES = 3 * SAMPLES_PER_FRAME
"""How long nothing at all must have sounded for the mouth to rest: longer than any closure."""
_OPEN = MouthShape._fields.index("open")
_REMEMBERED = 64
"""Windows that are kept, one for each session that speaks; of some 90 KB each."""
_TAIL = max(_SILENT_SAMPLES, features.TAIL, melodies.TAIL)
"""Samples of a window before its look-ahead that its last frame sees beyond what is kept."""
_PROBE_STEP = 397
"""Every so many samples are enough to find the window before: prime, so that no pitch fits it."""

Sound = NDArray[np.float32] | NDArray[np.int16]


class _Heard(NamedTuple):
    """A window, and what is needed of it to hear the frame after it."""

    sound: Sound
    energies: NDArray[np.float32]
    memory: net.Memory
    melody: melodies.Melody | None


class Hearing:
    """Hears windows. Any thread may call it."""

    def __init__(self, trained: net.Net, context: AudioContext, *, has_emphasis: bool) -> None:
        """Prepare to hear; see `VisemeEngine`."""
        self._net = trained
        self._context = context
        self._has_emphasis = has_emphasis
        self._heard: OrderedDict[bytes, _Heard] = OrderedDict()
        self._lock = Lock()

    def hear(self, window: AudioWindow) -> NDArray[np.float32]:
        """Return float32 ``[frames, 11]`` (or 8), see `VisemeEngine.listen`.

        Raises:
            ValueError: The window has another size than it says.
        """
        context = self._context
        expected = context.before + window.frames * SAMPLES_PER_FRAME + context.after
        if len(window.sound) != expected:
            raise ValueError(f"a window of {window.frames} frames has {expected} samples")
        return self._hear_many(window) if window.frames > 1 else self._hear_one(window.sound)

    def _hear_one(self, sound: Sound) -> NDArray[np.float32]:
        """Hear a window of one frame, ``[1, 11]`` (or 8)."""
        before = self._window_before(sound)
        if before is None:
            samples = AudioWindow(sound, 1).samples[None]
            mels, energies = features.log_mels_and_energies(samples)
            outputs, memory = self._net.begin(mels)
            after = self._context.after
            melody = melodies.melody(samples[0], after) if self._has_emphasis else None
        else:
            samples = AudioWindow(sound[-_TAIL - self._context.after :], 1).samples[None]
            mels, energies = features.next_log_mels(samples[:, -features.TAIL :], before.energies)
            outputs, memory = self._net.follow(mels, before.memory)
            melody = before.melody and melodies.next_melody(
                samples[0], self._context.after, before.melody
            )
        self._remember(_Heard(sound, energies, memory, melody))
        shapes = self._shapes(outputs, samples)
        return shapes if melody is None else _with_emphasis(shapes, [melody])

    def _hear_many(self, window: AudioWindow) -> NDArray[np.float32]:
        """Hear a window of several frames, ``[frames, 11]`` (or 8)."""
        samples = window.samples[None]
        shapes = self._shapes(self._net(features.log_mels(samples)), samples)
        if not self._has_emphasis:
            return shapes
        after = self._context.after
        later = range((window.frames - 1) * SAMPLES_PER_FRAME, -1, -SAMPLES_PER_FRAME)
        return _with_emphasis(shapes, [melodies.melody(samples[0], after + end) for end in later])

    def _shapes(
        self, outputs: NDArray[np.float32], samples: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the shapes ``[frames, 8]`` of what the net said of them."""
        shapes = mouth_shapes(outputs[0])
        silent = _silent_frames(samples, len(shapes), self._context.after)
        if silent.any():
            shapes[silent] = 0
        return shapes

    def _window_before(self, sound: Sound) -> _Heard | None:
        """Take out what is known of the window a frame before ``sound``; None: nothing."""
        shared = sound[:-SAMPLES_PER_FRAME]
        with self._lock:
            before = self._heard.pop(shared[::_PROBE_STEP].tobytes(), None)
        if before is None or not np.array_equal(before.sound[SAMPLES_PER_FRAME:], shared):
            return None
        return before

    def _remember(self, heard: _Heard) -> None:
        probe = heard.sound[SAMPLES_PER_FRAME:][::_PROBE_STEP].tobytes()
        with self._lock:
            self._heard[probe] = heard
            if len(self._heard) > _REMEMBERED:
                self._heard.popitem(last=False)


def _with_emphasis(
    shapes: NDArray[np.float32], of_frames: list[melodies.Melody]
) -> NDArray[np.float32]:
    """``[frames, 8]`` → ``[frames, 11]``; the mouth opens as far as the voice is loud."""
    found = np.empty((len(shapes), shapes.shape[1] + len(melodies.Emphasis._fields)), np.float32)
    found[:, : shapes.shape[1]] = shapes
    for row, melody in zip(found, of_frames, strict=True):
        row[shapes.shape[1] :], effort = melodies.emphasis(melody)
        row[_OPEN] = min(row[_OPEN] * effort, 1.0)
    return found


def _silent_frames(samples: NDArray[np.float32], frames: int, after: int) -> NDArray[np.bool_]:
    """Which frames, bool ``[frames]``, end a stretch without any sound."""
    first = samples.shape[1] - after - (frames - 1) * SAMPLES_PER_FRAME - _SILENT_SAMPLES
    stretches = features.strided(
        samples, (frames, _SILENT_SAMPLES), (SAMPLES_PER_FRAME, 1), first=first
    )[0]
    return np.asarray(np.abs(stretches).max(1) < features.AUDIBLE)
