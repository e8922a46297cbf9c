"""Error concealment: what replaces a mouth that the engine did not make in time.

* In mid-speech the last mouth is repeated, and its 640 samples count as shown, so that the sound
  need not stop.
* An utterance that was to begin waits: nothing of it was shown yet, so it may start later.
* Neither lasts for ever, or an engine that is far too slow would hold speech back and let a mouth
  of long ago float over the face: past `MAX_START_DELAY_FRAMES` an utterance begins with the source
  picture's mouth, and past `MAX_REPEATS` that is what is shown.

What an engine makes now and then must not flash over the face. So a mouth gives way to the source
picture's by fading, and comes back by fading, once `MADE_AGAIN` were made with at most `GAP` frames
between them: an engine that makes fewer shows no mouths. A repeated mouth was made for another
picture, whose head was elsewhere: it is pasted with soft edges.

Pure.
"""

from dataclasses import dataclass

from inference.media.types import Patch

MAX_START_DELAY_FRAMES = 15
"""So often does an utterance wait for its first mouth."""

MAX_REPEATS = 12
"""So many frames in a row may show the mouth of an earlier one."""

FADE_FRAMES = 5
"""So long does a mouth take to give way to the source picture's, or to come back."""

MADE_AGAIN = 3
GAP = 2


@dataclass(frozen=True, slots=True)
class ShownMouth:
    """What is pasted over the source picture."""

    patch: Patch
    opacity: float = 1.0
    """1: as the patch is; less: mixed with the source picture."""
    is_repeated: bool = False
    """It was made for another picture."""


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
        self._patch: Patch | None = None
        self._opacity = 1.0
        self._is_given_up = False
        self._repeats = 0
        self._made = 0

    @property
    def is_given_up(self) -> bool:
        """Whether the source picture's mouth is shown, or will be after the fade."""
        return self._is_given_up

    def made(self, patch: Patch | None) -> ShownMouth | None:
        """Take over a mouth that was made in time; None: the source picture's.

        Returns:
            What is shown, which is that mouth, but for one that fades out or comes back.
        """
        self._repeats = 0
        self._made += 1
        if self._made >= MADE_AGAIN:
            self._is_given_up = False
        if patch is None and self._is_given_up and self._patch is not None:
            return self._faded(is_repeated=True)
        self._patch = patch
        return self._faded(is_repeated=False)

    def repeat(self, *, begins_utterance: bool) -> ShownMouth | None:
        """Return the last mouth once more, or less and less of it if that was too often."""
        self._repeats += 1
        if begins_utterance or self._repeats > MAX_REPEATS:
            return self.give_up()
        if self._repeats > GAP:
            self._made = 0
        return self._faded(is_repeated=True)

    def give_up(self) -> ShownMouth | None:
        """Let the source picture's mouth be seen instead."""
        self._made = 0
        self._is_given_up = True
        return self._faded(is_repeated=True)

    def _faded(self, *, is_repeated: bool) -> ShownMouth | None:
        step = -1 / FADE_FRAMES if self._is_given_up else 1 / FADE_FRAMES
        self._opacity = min(max(round(self._opacity + step, 6), 0.0), 1.0)
        if not self._opacity:
            self._patch = None
        if self._patch is None:
            return None
        return ShownMouth(self._patch, self._opacity, is_repeated)
