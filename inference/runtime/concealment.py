"""Error concealment: what replaces a mouth that the engine did not make in time.

* In mid-speech the last mouth is repeated, and its 640 samples count as shown, so that the sound
  need not stop.
* An utterance that was to begin waits: nothing of it was shown yet, so it may start later.
* Neither lasts for ever, or an engine that is far too slow would hold speech back and let a mouth
  of long ago float over the face: past `MAX_START_DELAY_FRAMES` an utterance begins with the source
  picture's mouth, and past `MAX_REPEATS` that is what is shown.

Pure.
"""

from inference.media.types import Patch

MAX_START_DELAY_FRAMES = 15
"""So often does an utterance wait for its first mouth."""

MAX_REPEATS = 12
"""So many frames in a row may show the mouth of an earlier one."""


class StartDelay:
    """How long the utterance that is to begin has waited for its first mouth."""

    def __init__(self) -> None:
        self._frames = 0

    def delay(self) -> bool:
        """Let it wait a frame; False: it has waited long enough."""
        if self._frames == MAX_START_DELAY_FRAMES:
            return False
        self._frames += 1
        return True

    def reset(self) -> None:
        """Start over: it has begun, or is not wanted any more."""
        self._frames = 0


class LastMouth:
    """What a session shows where a mouth is missing.

    Mouths can be made in any order, but what was shown last is known only in the order of the
    frames: so it is noted, and asked for, when a picture goes to the encoder.
    """

    def __init__(self) -> None:
        self.patch: Patch | None = None
        """None: the source picture's mouth."""
        self._repeats = 0

    def made(self, patch: Patch | None) -> None:
        """Take over the mouth that is shown as it was planned; None: the source picture's."""
        self.patch = patch
        self._repeats = 0

    def repeat(self, *, begins_utterance: bool) -> bool:
        """Show ``patch`` once more; False: that was too often, and from now on it is None."""
        self._repeats += 1
        if not begins_utterance and self._repeats <= MAX_REPEATS:
            return True
        self.patch = None
        return False
