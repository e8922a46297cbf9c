"""The way of an agent's voice to an `AvatarRunner`, on which every segment ends exactly once.

The runner tells the end of a segment that it has begun. Of segments that were cleared before it
took any of their voice it knows nothing, and an agent would wait for their end: those are counted
here, and ended with the position 0.
"""

from collections.abc import AsyncIterator, Callable

from livekit import rtc
from livekit.agents.utils import aio
from livekit.agents.voice.avatar import AudioSegmentEnd


class VoiceQueue:
    """Voice that waits for the runner; its consumer is one runner."""

    def __init__(self, on_finished: Callable[[float, bool], None]) -> None:
        """Begin with nothing.

        Args:
            on_finished: Is given each segment's end: seconds that were played, and whether it
                was interrupted.
        """
        self._on_finished = on_finished
        self._channel = aio.Chan[rtc.AudioFrame | AudioSegmentEnd]()
        self._unfinished = 0
        """Segments that have begun and not ended."""
        self._unknown = 0
        """Those of them that were cleared, and of which the runner knows nothing."""
        self._is_empty = True
        """Whether the segment that began last has no voice yet."""
        self._is_playing = False
        """Whether the runner has taken voice of a segment that has not ended."""

    def begin_segment(self) -> None:
        """Begin a segment; its voice follows."""
        self._unfinished += 1
        self._is_empty = True

    def put(self, frame: rtc.AudioFrame) -> None:
        """Voice of the segment that began last."""
        self._is_empty = False
        self._channel.send_nowait(frame)

    def end_segment(self) -> None:
        """All voice of the segment was put."""
        if self._is_empty:
            self._unfinished -= 1
            self._on_finished(0.0, False)
            return
        self._channel.send_nowait(AudioSegmentEnd())

    def clear(self, clear_runner: Callable[[], None]) -> None:
        """Drop what the runner has not taken.

        Args:
            clear_runner: Makes the runner drop what it has taken.
        """
        while not self._channel.empty():
            self._channel.recv_nowait()
        is_told = self._is_playing
        self._is_playing = False
        self._unknown = self._unfinished - is_told
        clear_runner()
        if not is_told:
            self._finish_unknown()

    def finished(self, position_s: float, *, is_interrupted: bool) -> None:
        """Take note that the runner ended a segment."""
        self._unfinished -= 1
        if not is_interrupted:
            self._is_playing = False
        self._on_finished(position_s, is_interrupted)
        if is_interrupted:
            self._finish_unknown()

    def _finish_unknown(self) -> None:
        unknown, self._unknown = self._unknown, 0
        for _ in range(unknown):
            self._unfinished -= 1
            self._on_finished(0.0, True)

    def close(self) -> None:
        """No more voice comes."""
        self._channel.close()

    async def __aiter__(self) -> AsyncIterator[rtc.AudioFrame | AudioSegmentEnd]:
        async for item in self._channel:
            if isinstance(item, rtc.AudioFrame):
                self._is_playing = True
            yield item
