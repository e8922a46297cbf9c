"""The processor that stands between a synthesizer and the output transport.

Voice (`TTSAudioRawFrame`) goes to the avatar server as fast as it comes, and comes back in real
time, 40 ms with each picture. Pictures come all the time, voice or not. Frames that arrive behind
voice wait in the `Script` until that voice was shown; the end of an utterance (`TTSStoppedFrame`)
is one of them.

An interruption drops all that waits, at once, and the sound of pictures that are on their way.

The voice never waits for a server that does not answer: without pictures for `AWAY_S`, all voice
is passed on as if there were no avatar, until pictures come again.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from loguru import logger
from pipecat.audio.utils import create_stream_resampler
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    OutputImageRawFrame,
    OutputTransportReadyFrame,
    StartFrame,
    SystemFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.ai_service import AIService
from pipecat.services.settings import ServiceSettings
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.utils.errors import ErrorCategory

from pipecat_talking_avatar.script import Script
from pipecat_talking_avatar.segment import Segment
from talking_avatar import (
    AvatarClient,
    AvatarError,
    Interrupted,
    Reopened,
    SessionRefused,
    SpeechFinished,
)
from talking_avatar import Frame as AvatarFrame
from talking_avatar.pictures import Picture, PictureDecoder

AWAY_S = 2.0
"""A server that sent no picture for so long does not hold the voice up any longer."""
WATCHED = 8
"""How often in that time pictures are looked for."""
FIRST_RETRY_S, MAX_RETRY_S = 0.5, 15.0
DRAIN_BEYOND_S = 2.0
"""How much longer than its voice lasts an ending pipeline waits for it."""
SAMPLE_RATES = frozenset({8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000})
"""What the server takes; other voice is converted."""
CONVERTED_RATE = 24_000
FINAL_REFUSALS = {
    "UNAUTHORIZED": ErrorCategory.AUTHENTICATION,
    "MODEL_NOT_FOUND": ErrorCategory.INVALID_REQUEST,
}


class TalkingAvatarService(AIService):
    """A talking avatar: place it between the synthesizer and ``transport.output()``."""

    def __init__(
        self,
        *,
        server: str,
        user_id: str,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        sync_with_audio: bool | None = None,
        **kwargs: Any,
    ) -> None:
        """Prepare; the connection is opened when the pipeline starts.

        Args:
            server: The talking avatar server, ``ws://HOST:PORT`` or with wss.
            user_id: Whose avatar.
            token: An API key or a token, where the server asks for one.
            headers: Of the connection's request, for proxies before the server.
            sync_with_audio: Pictures wait in the transport for the voice before them. None: unless
                the transport's ``video_out_is_live`` is set, which shows no such pictures.
            **kwargs: As for every pipecat service.
        """
        super().__init__(settings=ServiceSettings(model=None), **kwargs)
        self._make_client = partial(
            AvatarClient,
            server,
            user_id,
            token=token,
            headers=headers,
            receive=("video", "audio", "events"),
        )
        self._server = server
        self._sync_with_audio = sync_with_audio
        self._client: AvatarClient | None = None
        self._script = Script()
        self._segment: Segment | None = None
        self._to_speak: asyncio.Queue[Segment] = asyncio.Queue()
        self._resampler = create_stream_resampler(clear_after_secs=None)
        self._from_rate = CONVERTED_RATE
        """Of the voice that comes; a resampler is of one rate."""
        self._decoder_thread = ThreadPoolExecutor(1, thread_name_prefix="avatar")
        self._is_output_ready = False
        self._is_away = False
        self._is_measuring = False
        self._unanswered_interrupts = 0
        self._shown_at_s = 0.0
        """When the newest picture came, on the loop's clock."""
        self._has_progress = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._speaking_task: asyncio.Task[None] | None = None

    def can_generate_metrics(self) -> bool:
        """Time to first byte: from the first voice in to the first picture that shows it."""
        return True

    # The pipeline's life.

    async def start(self, frame: StartFrame) -> None:
        """Connect, without making the pipeline wait."""
        await super().start(frame)
        self._shown_at_s = self._now_s()
        self._spawn(self._stay_connected())
        self._spawn(self._watch())
        self._speaking_task = self.create_task(self._speak_all())

    async def stop(self, frame: EndFrame) -> None:
        """Stop with the pipeline, after everything that was said is shown."""
        self._end_segment()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._script.unheard_s + DRAIN_BEYOND_S):
                while not self._script.is_empty:
                    self._has_progress.clear()
                    await self._has_progress.wait()
        await self._push_all(self._script.lose_all())
        await super().stop(frame)
        await self._end()

    async def cancel(self, frame: CancelFrame) -> None:
        """Stop at once with the pipeline."""
        await super().cancel(frame)
        await self._end()

    async def cleanup(self) -> None:
        """Nothing is left behind."""
        await super().cleanup()
        await self._end()
        self._decoder_thread.shutdown(wait=False)

    async def _end(self) -> None:
        tasks = [*self._tasks, *([self._speaking_task] if self._speaking_task else [])]
        self._tasks.clear()
        self._speaking_task = None
        for task in tasks:
            await self.cancel_task(task)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()

    # What comes from the pipeline.

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Take voice; hold what belongs behind it; pass everything else on."""
        await super().process_frame(frame, direction)
        match frame:
            case InterruptionFrame():
                await self._interrupt()
            case OutputTransportReadyFrame():
                self._meet_output()
            case UserStartedSpeakingFrame() | UserStoppedSpeakingFrame():
                is_active = isinstance(frame, UserStartedSpeakingFrame)
                if self._client is not None and not self._is_away:
                    self._spawn(self._tell_user_speaking(self._client, is_active=is_active))
            case TTSAudioRawFrame() if not self._is_away:
                await self._say(frame)
                return
            case TTSStoppedFrame():
                await self._end_resampled()
                self._end_segment()
            case _:
                pass
        if isinstance(frame, SystemFrame) or direction is FrameDirection.UPSTREAM:
            await self.push_frame(frame, direction)
        elif self._script.is_empty:
            await self.push_frame(frame)
        else:
            self._script.add(frame)

    def _meet_output(self) -> None:
        """Show pictures as the output, which is ready for them, shows them."""
        self._is_output_ready = True
        after: FrameProcessor | None = self.next
        while after is not None and not isinstance(after, BaseOutputTransport):
            after = after.next
        if after is None:
            return
        parameters = after._params
        if not parameters.video_out_enabled:
            logger.warning(
                f"{self}: the transport's video_out_enabled is off: nobody sees pictures."
            )
        if self._sync_with_audio is None:
            self._sync_with_audio = not parameters.video_out_is_live

    async def _tell_user_speaking(self, client: AvatarClient, *, is_active: bool) -> None:
        with contextlib.suppress(AvatarError):
            await client.user_speaking(is_active=is_active)

    async def _say(self, frame: TTSAudioRawFrame) -> None:
        if frame.sample_rate != self._from_rate:
            await self._end_resampled()
            self._from_rate = frame.sample_rate
            self._resampler = create_stream_resampler(clear_after_secs=None)
        if frame.sample_rate not in SAMPLE_RATES or frame.num_channels > 1:
            frame = await self._converted(frame)
        segment = self._segment
        if segment is None or not segment.is_open or segment.sample_rate != frame.sample_rate:
            self._end_segment()
            if self._script.is_empty:
                self._is_measuring = True
                await self.start_ttfb_metrics()
            segment = Segment(frame.sample_rate)
            self._segment = segment
            self._script.begin(segment)
            self._to_speak.put_nowait(segment)
        self._script.add_voice(frame)
        segment.add(frame.audio)

    async def _converted(self, frame: TTSAudioRawFrame) -> TTSAudioRawFrame:
        """Return the frame as one channel at a rate that the server takes."""
        samples = np.frombuffer(frame.audio, np.int16).reshape(-1, frame.num_channels)
        audio = samples.mean(axis=1).round().astype(np.int16).tobytes()
        rate = frame.sample_rate
        if rate not in SAMPLE_RATES:
            audio = await self._resampler.resample(audio, rate, CONVERTED_RATE)
            rate = CONVERTED_RATE
        converted = TTSAudioRawFrame(audio, rate, 1, frame.context_id)
        converted.transport_destination = frame.transport_destination
        converted.interruptible = frame.interruptible
        return converted

    async def _end_resampled(self) -> None:
        """Add what the converter still holds: the segment's last voice."""
        tail = await self._resampler.flush()
        if tail and self._segment is not None and self._segment.is_open:
            self._script.add_voice(TTSAudioRawFrame(tail, CONVERTED_RATE, 1))
            self._segment.add(tail)

    def _end_segment(self) -> None:
        if self._segment is not None:
            self._segment.end()
            self._segment = None

    async def _interrupt(self) -> None:
        """Drop all voice that was not shown."""
        self._end_segment()
        await self._resampler.reset()
        was_speaking = not self._script.is_empty
        kept = self._script.interrupt()
        if was_speaking:
            self._drop_speech()
        self._is_measuring = False
        await self.cancel_ttfb_metrics()
        self._has_progress.set()
        await self._push_all(kept)

    def _drop_speech(self) -> None:
        """Have the server drop what it has, and send nothing of it any more."""
        self._to_speak = asyncio.Queue()
        if self._speaking_task is None:
            return
        self._speaking_task.cancel()
        if self._client is not None:
            self._unanswered_interrupts += 1
            self._spawn(self._send_interrupt(self._client))
        self._speaking_task = self.create_task(self._speak_all())

    async def _send_interrupt(self, client: AvatarClient) -> None:
        with contextlib.suppress(AvatarError):
            await client.interrupt()

    # What goes to the server.

    async def _speak_all(self) -> None:
        """Send one segment after the other."""
        to_speak = self._to_speak
        while True:
            segment = await to_speak.get()
            while self._client is None:
                self._has_progress.clear()
                await self._has_progress.wait()
            try:
                utterance = await self._client.speak(
                    segment.pieces(), sample_rate=segment.sample_rate
                )
            except AvatarError as error:
                await self._lose(segment, error)
            else:
                self._spawn(self._follow(segment, utterance))

    async def _follow(self, segment: Segment, utterance: Any) -> None:
        """Notice a refusal that comes when everything was sent."""
        try:
            await utterance
        except AvatarError as error:
            await self._lose(segment, error)

    async def _lose(self, segment: Segment, error: AvatarError) -> None:
        """Have the segment heard without lips."""
        if segment is self._segment:
            self._end_segment()
        segment.end()
        await self._push_all(self._script.lose(segment))
        await self.push_error(f"The avatar does not say this: {error}", exception=error)

    # What comes from the server.

    async def _stay_connected(self) -> None:
        """Open a session, and another one when it is over, until the server says never."""
        pause_s = FIRST_RETRY_S
        while True:
            try:
                async with self._make_client() as client:
                    self._client = client
                    self._unanswered_interrupts = 0
                    self._has_progress.set()
                    pause_s = FIRST_RETRY_S
                    await self._show_all(client)
                    reason = "the session is over"
            except SessionRefused as refusal:
                reason = str(refusal)
                if category := FINAL_REFUSALS.get(refusal.code):
                    self._client = None
                    await self.push_error(
                        f"No avatar of {self._server}: {reason}",
                        exception=refusal,
                        category=category,
                    )
                    return
            except AvatarError as error:
                reason = str(error)
            self._client = None
            logger.warning(f"{self}: {reason}; trying again in {pause_s:g} s")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, MAX_RETRY_S)

    async def _show_all(self, client: AvatarClient) -> None:
        decoder = PictureDecoder()
        loop = asyncio.get_running_loop()
        async for event in client.events():
            match event:
                case AvatarFrame():
                    picture = await loop.run_in_executor(
                        self._decoder_thread, decoder.decode, event
                    )
                    if picture is not None:
                        await self._show(picture)
                case SpeechFinished(interrupted=False) if not self._unanswered_interrupts:
                    await self._push_all(self._script.over())
                case Interrupted():
                    self._unanswered_interrupts = max(0, self._unanswered_interrupts - 1)
                case Reopened():
                    self._unanswered_interrupts = 0
                case _:
                    pass

    async def _show(self, picture: Picture) -> None:
        """Pass on a picture, its voice, and what waited for that."""
        self._shown_at_s = self._now_s()
        if self._is_away:
            self._is_away = False
            logger.info(f"{self}: the avatar is back")
        if self._is_output_ready:
            height, width = picture.pixels.shape[:2]
            image = OutputImageRawFrame(picture.pixels.tobytes(), (width, height), "RGB")
            image.sync_with_audio = self._sync_with_audio is not False
            await self.push_frame(image)
        if picture.sound is None or self._unanswered_interrupts:
            return
        if self._is_measuring:
            self._is_measuring = False
            await self.stop_ttfb_metrics()
        sound = picture.sound
        await self.push_frame(self._script.as_heard(sound.data, sound.sample_rate))
        await self._push_all(self._script.shown(len(sound.data) // 2))

    async def _push_all(self, frames: list[Frame]) -> None:
        for frame in frames:
            await self.push_frame(frame)
        self._has_progress.set()

    async def _watch(self) -> None:
        """Let the voice continue without pictures when none come."""
        missed = 0
        while True:
            seen_s = self._shown_at_s
            await asyncio.sleep(AWAY_S / WATCHED)
            # Counted in turns of the loop: a program that stood still missed no pictures.
            missed = missed + 1 if seen_s == self._shown_at_s else 0
            if self._is_away or missed < WATCHED:
                continue
            self._is_away = True
            self._end_segment()
            due = self._script.lose_all()
            if due:
                self._drop_speech()
            await self._push_all(due)
            await self.push_error(
                f"No picture from {self._server} for {AWAY_S:g} s: the voice continues without.",
                category=ErrorCategory.CONNECTIVITY,
            )
