"""A session's speech on its way to whichever worker it has, and what an interrupt undoes of it.

Theory of operation
-------------------
The window keeps speech until it is shown. What the worker is sent of it is decided when its turn
comes, so an interrupt always overtakes the speech that it drops.

Each interrupt empties the window and raises the *generation*, by which old speech is known wherever
it is met. The client's answer waits for the worker's, which comes behind the last frame of the old
speech; where no worker is, or none answers, the door's own account serves.

Pure: no clock, no channel. Positions are in samples.
"""

from inference.messages import AudioChunk, SpeechInterrupt
from streaming.session.interrupts import Interrupts
from streaming.session.window import Window


class SpeechFeed:
    """One session's, from worker to worker."""

    def __init__(self, window: Window) -> None:
        self.generation = 0
        self._told_generation = 0
        """The one that the worker knows."""
        self._window = window
        self._interrupts = Interrupts()

    # ---- what the worker is sent

    @property
    def has_next(self) -> bool:
        return self._window.has_next or self._told_generation != self.generation

    def take(self, claim_id: str) -> SpeechInterrupt | AudioChunk | None:
        """What the worker of this claim is to be sent now; it counts as sent. None: nothing."""
        if self._told_generation != self.generation:
            self._told_generation = self.generation
            return SpeechInterrupt(claim_id=claim_id, generation=self.generation)
        if not self._window.has_next:
            return None
        position, pcm, clip = self._window.take()
        return AudioChunk(
            claim_id=claim_id, pcm=pcm, position=position, generation=self.generation, clip=clip
        )

    def unread(self, chunk: AudioChunk) -> bool:
        """It could not be sent: whether it comes again, or an interrupt dropped it meanwhile."""
        if chunk.generation != self.generation:
            return False
        self._window.unread(chunk.position)
        return True

    # ---- what is shown

    def shown(self, end: int) -> None:
        """All samples before ``end`` are on their way to the screen."""
        if not self._interrupts.acknowledge(end):
            self._window.acknowledge(end)

    # ---- from worker to worker

    def begin(self) -> None:
        """A worker was accepted, and told the generation."""
        self._told_generation = self.generation

    def rewind(self) -> None:
        """The worker is lost: what was not shown is for the next one."""
        self._window.rewind()

    # ---- interrupts

    @property
    def awaits_confirmation(self) -> bool:
        """Whether an interrupt was not answered yet."""
        return self._interrupts.is_pending

    def interrupt(self) -> None:
        """Drop all that was not shown."""
        self.generation += 1
        self._interrupts.add(self.generation, self._window.shown, self._window.accepted)
        self._window.drop()

    def confirm(self, generation: int, position: int) -> list[int]:
        """The worker has shown nothing old from ``position`` on.

        Returns how many ms of speech each interrupt up to ``generation`` dropped, unless it was
        answered before.
        """
        self._interrupts.acknowledge(position)
        return self._interrupts.answer(generation)

    def on_interrupt_timeout(self) -> list[int]:
        """As `confirm`, of all interrupts, by the frames that came."""
        return self._interrupts.answer(self.generation)
