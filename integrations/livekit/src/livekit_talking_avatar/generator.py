"""A `VideoGenerator` of LiveKit agents whose pictures come from a talking avatar server.

`AvatarRunner` pushes an agent's voice and takes pictures and voice in step. Four of its habits
shape this module:

- It counts what it was given as played, and says so at once when the buffer is cleared. So voice
  leaves just before it is due (`playout`), and `clear_buffer` waits until the runner has handed the
  last piece on: otherwise that piece would count to the next segment.
- It knows one segment at a time. So a segment's end is taken from it only when it was played; the
  next segment waits in its receiver.
- It takes the first picture and then waits until a participant subscribes. Until it comes
  back nothing is said, so nothing is missed.
- It has no word for failures. Where the server says nothing of a segment for `STALL_S`, refuses
  it, or loses it, the voice goes to the room without it. A session that the server ends is followed
  by another one.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import Self

from livekit import rtc
from livekit.agents.voice.avatar import AudioSegmentEnd, AvatarOptions, VideoGenerator

from livekit_talking_avatar.pictures import PictureDecoder
from livekit_talking_avatar.playout import Picture, Playout, SegmentEnd, Voice
from livekit_talking_avatar.segment import Segment
from livekit_talking_avatar.voice_format import VoiceFormat
from talking_avatar import (
    AvatarClient,
    AvatarError,
    ConnectionLost,
    Event,
    Frame,
    Interrupted,
    Reopened,
    ServerError,
    SessionRefused,
    SpeechFinished,
    SpeechStarted,
)

SAMPLE_RATES = (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
FPS = 25.0
OPEN_WITHIN_S = 15.0
STALL_S = 2.0
"""Voice that the server does not show for so long is heard without lips."""
WATCH_S = 0.25
FIRST_RETRY_S, MAX_RETRY_S = 0.5, 15.0
FINAL_REFUSALS = frozenset({"UNAUTHORIZED", "MODEL_NOT_FOUND"})
HAND_OVER_S = 0.2
"""How long clearing waits for the runner to hand on what it took."""

logger = logging.getLogger(__name__)


def check_sample_rate(sample_rate: int) -> None:
    """Raise ValueError where the server does not offer the rate."""
    if sample_rate not in SAMPLE_RATES:
        offered = ", ".join(map(str, SAMPLE_RATES))
        raise ValueError(f"sample_rate={sample_rate} is not offered: take one of {offered}.")


class AvatarVideoGenerator(VideoGenerator):
    """One session with a server, as the video generator of one `AvatarRunner`."""

    def __init__(
        self,
        server: str,
        user_id: str,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        sample_rate: int = 24_000,
    ) -> None:
        """Prepare to connect.

        Args:
            server: ``ws://HOST:PORT``, or with wss.
            user_id: Whose avatar.
            token: An API key or a token, where the server asks for one.
            headers: Of the request, for proxies before the server.
            sample_rate: Of the voice in the room: 8000, 16000, 22050, 24000, 32000, 44100 or
                48000 Hz. Voice of another rate is converted.

        Raises:
            ValueError: The sample rate is another one.
        """
        check_sample_rate(sample_rate)
        self._make_client = partial(
            AvatarClient,
            server,
            user_id,
            token=token,
            headers=headers,
            receive=("video", "events"),
        )
        self._client = self._make_client()
        self._sample_rate = sample_rate
        self._decoder = PictureDecoder()
        self._format = VoiceFormat(sample_rate)
        self._playout = Playout(sample_rate)
        self._added = asyncio.Event()
        self._segment: Segment | None = None
        self._clears = 0
        self._unanswered_interrupts = 0
        self._interrupt: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_size = asyncio.Event()
        self._delivered: Voice | Picture | SegmentEnd | None = None
        """What the runner took and may not have handed on."""
        self._is_handed_on = asyncio.Event()
        self._is_taken = asyncio.Event()
        """The runner came back for more: the tracks are published."""

    @property
    def options(self) -> AvatarOptions:
        """For `AvatarRunner`, once started."""
        return AvatarOptions(
            video_width=self._decoder.width,
            video_height=self._decoder.height,
            video_fps=FPS,
            audio_sample_rate=self._sample_rate,
            audio_channels=1,
        )

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Open the session, and wait for its first picture.

        Raises:
            SessionRefused: The server opens no session; the message says why.
            ConnectionLost: The server cannot be reached, or sends no picture.
        """
        await self._client.__aenter__()
        reading = self._spawn(self._stay_connected())
        has_size = asyncio.create_task(self._has_size.wait())
        await asyncio.wait(
            {reading, has_size}, timeout=OPEN_WITHIN_S, return_when=asyncio.FIRST_COMPLETED
        )
        has_size.cancel()
        if not self._has_size.is_set():
            await self.aclose()
            raise ConnectionLost(f"The server sent no picture within {OPEN_WITHIN_S:g} s.")

    async def aclose(self) -> None:
        """End the session."""
        if self._segment is not None:
            self._segment.detach()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()

    async def user_speaking(self, *, is_active: bool) -> None:
        """Tell the avatar that the user began or stopped speaking: while idle it listens."""
        with contextlib.suppress(AvatarError):
            await self._client.user_speaking(is_active=is_active)

    # From the agent.

    async def push_audio(self, frame: rtc.AudioFrame | AudioSegmentEnd) -> None:
        """Take voice, or the end of its segment; the latter returns when it was played."""
        clears = self._clears
        await self._is_taken.wait()
        if clears != self._clears:
            return
        if isinstance(frame, AudioSegmentEnd):
            await self._end_segment()
        else:
            self._push(self._segment or self._begin_segment(), self._format.convert(frame))

    def _begin_segment(self) -> Segment:
        self._segment = segment = Segment(self._sample_rate)
        self._spawn(self._speak(segment, self._interrupt))
        self._spawn(self._watch(segment))
        return segment

    def _push(self, segment: Segment, pcm: bytes) -> None:
        segment.push(pcm)
        if segment.is_detached:
            self._play(segment.rest())

    async def _end_segment(self) -> None:
        segment = self._segment
        if segment is None:
            return  # it was cleared
        self._push(segment, self._format.flush())
        segment.end()
        self._check_complete(segment)
        await segment.over.wait()

    async def clear_buffer(self) -> None:
        """Drop all voice that the room was not given."""
        self._clears += 1
        self._playout.clear(self._now_s())
        self._added.set()
        self._format.flush()
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.over.set()
            self._detach(segment)
        if isinstance(self._delivered, Voice):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HAND_OVER_S):
                    await self._is_handed_on.wait()

    # To the server.

    async def _speak(self, segment: Segment, interrupt: asyncio.Task[None] | None) -> None:
        """Have the server say a segment, after the interrupt that came before it."""
        if interrupt is not None:
            await asyncio.wait({interrupt})
        try:
            while await segment.wait_for_more():
                utterance = await self._client.speak(
                    segment.pieces(), sample_rate=self._sample_rate
                )
                segment.settle((await utterance).played_ms)
        except AvatarError as error:
            self._go_without_picture(segment, str(error))

    async def _watch(self, segment: Segment) -> None:
        """Notice that the server shows nothing more of a segment."""
        heard, since_s = 0, self._now_s()
        while not segment.over.is_set():
            await asyncio.sleep(WATCH_S)
            if segment.heard != heard or not segment.is_waiting:
                heard, since_s = segment.heard, self._now_s()
            elif self._now_s() - since_s > STALL_S:
                self._go_without_picture(segment, f"nothing was shown for {STALL_S:g} s")
                return

    def _go_without_picture(self, segment: Segment, reason: str) -> None:
        """Let the voice of this segment, from here on, be heard without lips."""
        if segment is not self._segment or segment.is_detached:
            return
        logger.warning("voice continues without picture: %s", reason)
        self._detach(segment)
        self._play(segment.rest())
        self._check_complete(segment)

    def _detach(self, segment: Segment) -> None:
        if segment.is_detached:
            return
        segment.detach()
        self._unanswered_interrupts += 1
        self._interrupt = self._spawn(self._drop_speech())

    async def _drop_speech(self) -> None:
        try:
            await self._client.interrupt()
        except AvatarError as error:
            logger.info("speech is dropped with its session: %s", error)

    # From the server.

    async def _stay_connected(self) -> None:
        """Take what comes, and open another session when one that has shown pictures is over."""
        await self._read()
        while self._has_size.is_set():
            logger.error(
                "the avatar's session is over (%s): the voice continues without it until there is "
                "another one",
                self._client.closed,
            )
            if not await self._open_another():
                return
            await self._read()

    async def _open_another(self) -> bool:
        """Open another session as soon as the server does; False: it never will."""
        pause_s = FIRST_RETRY_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, MAX_RETRY_S)
            client = self._make_client()
            try:
                await client.__aenter__()
            except SessionRefused as refusal:
                if refusal.code in FINAL_REFUSALS:
                    logger.error("the server opens no other session: %s", refusal)
                    return False
            except AvatarError as error:
                logger.info("no session yet, another try in %g s: %s", pause_s, error)
            else:
                self._client = client
                self._unanswered_interrupts = 0
                logger.info("the avatar is back")
                return True

    async def _read(self) -> None:
        async for event in self._client.events():
            if isinstance(event, Frame):
                await self._take_frame(event)
            else:
                self._take_event(event)

    async def _take_frame(self, frame: Frame) -> None:
        picture = await asyncio.to_thread(self._decoder.decode, frame.data)
        voice = b""
        segment = self._shown_segment()
        if segment is not None and frame.audio_timestamp_ms is not None:
            voice = segment.show(frame.audio_timestamp_ms)
        if picture is None:
            self._play(voice)
            return
        self._has_size.set()
        self._playout.add(picture, voice, self._now_s())
        self._added.set()

    def _take_event(self, event: Event) -> None:
        segment = self._shown_segment()
        match event:
            case SpeechStarted(utterance_id) if segment is not None:
                segment.start(utterance_id)
            case SpeechFinished(utterance_id, played_ms) if segment is not None:
                self._play(segment.finish(utterance_id, played_ms))
                self._check_complete(segment)
            case Interrupted():
                self._unanswered_interrupts = max(0, self._unanswered_interrupts - 1)
            case Reopened():
                self._unanswered_interrupts = 0
            case ServerError(code, message):
                logger.warning("server: %s: %s", code, message)
            case _:
                pass

    def _shown_segment(self) -> Segment | None:
        """Return the segment that frames show now; None while they may show what was dropped."""
        segment = self._segment
        if segment is None or segment.is_detached or self._unanswered_interrupts:
            return None
        return segment

    def _play(self, voice: bytes) -> None:
        self._playout.add_voice(voice, self._now_s())
        self._added.set()

    def _check_complete(self, segment: Segment) -> None:
        if segment.is_complete:
            self._playout.end_segment()
            self._added.set()

    # To the room.

    def __aiter__(self) -> "AvatarVideoGenerator":
        return self

    async def __anext__(self) -> rtc.VideoFrame | rtc.AudioFrame | AudioSegmentEnd:
        self._hand_on()
        while isinstance(item := self._playout.next(self._now_s()), float):
            self._added.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(None if math.isinf(item) else item):
                    await self._added.wait()
        self._delivered = item
        self._is_handed_on.clear()
        match item:
            case Voice(pcm):
                return rtc.AudioFrame(pcm, self._sample_rate, 1, len(pcm) // 2)
            case Picture(i420):
                width, height = self._decoder.width, self._decoder.height
                return rtc.VideoFrame(width, height, rtc.VideoBufferType.I420, i420)
            case SegmentEnd():
                return AudioSegmentEnd()

    def _hand_on(self) -> None:
        """Take note that the runner handed on what it took last."""
        delivered, self._delivered = self._delivered, None
        self._is_handed_on.set()
        if delivered is not None:
            self._is_taken.set()
        if isinstance(delivered, SegmentEnd) and self._segment is not None:
            segment, self._segment = self._segment, None
            segment.over.set()

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
