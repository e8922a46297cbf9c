"""An output transport that notes what a user would see and hear, and when."""

import asyncio
import time
from dataclasses import dataclass, field

import numpy as np
from pipecat.frames.frames import Frame, OutputAudioRawFrame, OutputImageRawFrame, StartFrame
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams

PICTURE = (512, 512)


@dataclass
class Noted:
    """Something that the user saw or heard."""

    at_s: float
    pixels: "np.ndarray | None" = None
    audio: bytes = b""


@dataclass
class Heard:
    """All of it, in order."""

    pictures: list[Noted] = field(default_factory=list)
    audio: list[Noted] = field(default_factory=list)

    @property
    def pcm(self) -> bytes:
        return b"".join(one.audio for one in self.audio)


class Screen(BaseOutputTransport):
    """Plays voice in real time, and shows pictures, for nobody."""

    def __init__(self, *, is_live: bool = False, sample_rate: int = 24_000) -> None:
        super().__init__(
            TransportParams(
                audio_out_enabled=True,
                audio_out_sample_rate=sample_rate,
                audio_out_end_silence_secs=0,
                video_out_enabled=True,
                video_out_is_live=is_live,
                video_out_framerate=25,
                video_out_width=PICTURE[0],
                video_out_height=PICTURE[1],
            )
        )
        self.heard = Heard()
        self.passed: list[tuple[float, Frame]] = []
        """What left the transport downstream, and when."""
        self._plays_until_s = 0.0
        self._has_news = asyncio.Event()

    async def has_shown(self, count: int) -> None:
        """Wait until so many pictures were shown."""
        while len(self.heard.pictures) < count:
            self._has_news.clear()
            await self._has_news.wait()

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        now_s = time.monotonic()
        self.heard.audio.append(Noted(now_s, audio=frame.audio))
        duration_s = len(frame.audio) / 2 / frame.sample_rate
        self._plays_until_s = max(self._plays_until_s, now_s) + duration_s
        await asyncio.sleep(max(0.0, self._plays_until_s - time.monotonic() - 0.02))
        return True

    async def write_video_frame(self, frame: OutputImageRawFrame) -> bool:
        width, height = frame.size
        pixels = np.frombuffer(frame.image, np.uint8).reshape(height, width, 3)
        self.heard.pictures.append(Noted(time.monotonic(), pixels=pixels))
        self._has_news.set()
        return True

    async def push_frame(self, frame: Frame, *direction: object) -> None:
        self.passed.append((time.monotonic(), frame))
        await super().push_frame(frame, *direction)
