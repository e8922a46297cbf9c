"""A bot that reads a text file aloud, to a video file: no key, no network beyond your server.

    python speak_text.py ws://localhost:8000 me text.txt out.mp4

Needs espeak-ng. A real bot has a microphone, a language model and a voice before the avatar, and a
transport to its users behind it; the avatar's place between them is the same.
"""

import asyncio
import shutil
import sys
import wave
from collections.abc import AsyncGenerator
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    OutputAudioRawFrame,
    OutputImageRawFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TTSService
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

from pipecat_talking_avatar import TalkingAvatarService


class EspeakTTSService(TTSService):
    """A local synthesizer."""

    def __init__(self) -> None:
        super().__init__(
            push_start_frame=True,
            push_stop_frames=True,
            settings=TTSSettings(model=None, voice="en", language=None),
        )

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame, None]:
        process = await asyncio.create_subprocess_exec(
            "espeak-ng", "--stdout", text, stdout=asyncio.subprocess.PIPE
        )
        sound, _ = await process.communicate()
        with wave.open(BytesIO(sound)) as wav:
            # Written to a pipe, the header does not know how long the sound is.
            voice, rate = sound[44:], wav.getframerate()
        for at in range(0, len(voice), rate // 5):
            yield TTSAudioRawFrame(voice[at : at + rate // 5], rate, 1, context_id)


class Mp4Transport(BaseOutputTransport):
    """Writes what a user would see and hear to a file, in real time."""

    def __init__(self, path: str, width: int = 512, height: int = 512) -> None:
        super().__init__(
            TransportParams(
                audio_out_enabled=True,
                audio_out_sample_rate=24_000,
                video_out_enabled=True,
                video_out_framerate=25,
                video_out_width=width,
                video_out_height=height,
            )
        )
        self._container: Any = av.open(path, "w")
        self._video: Any = self._container.add_stream("libx264", rate=25)
        self._video.width, self._video.height, self._video.pix_fmt = width, height, "yuv420p"
        self._audio: Any = self._container.add_stream("aac", rate=24_000, layout="mono")
        self._origin_s: float | None = None
        self._heard = 0
        self._last_tick = -1

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def stop(self, frame: EndFrame) -> None:
        await super().stop(frame)
        for stream in (self._video, self._audio):
            self._container.mux(stream.encode(None))
        self._container.close()

    def _now_s(self) -> float:
        now_s = asyncio.get_running_loop().time()
        if self._origin_s is None:
            self._origin_s = now_s
        return now_s - self._origin_s

    async def write_video_frame(self, frame: OutputImageRawFrame) -> bool:
        tick = round(self._now_s() * 25)
        if tick > self._last_tick:
            self._last_tick = tick
            width, height = frame.size
            pixels = np.frombuffer(frame.image, np.uint8).reshape(height, width, 3)
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            picture.pts, picture.time_base = tick, Fraction(1, 25)
            self._container.mux(self._video.encode(picture))
        return True

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        self._heard = max(self._heard, round(self._now_s() * frame.sample_rate))  # after silence
        sound = av.AudioFrame.from_ndarray(
            np.frombuffer(frame.audio, np.int16)[None, :], format="s16", layout="mono"
        )
        sound.sample_rate, sound.pts = frame.sample_rate, self._heard
        self._container.mux(self._audio.encode(sound))
        self._heard += sound.samples
        await asyncio.sleep(max(0.0, self._heard / frame.sample_rate - self._now_s()))
        return True


async def main(server: str, user_id: str, text: str, path: str) -> None:
    if shutil.which("espeak-ng") is None:
        sys.exit("espeak-ng is missing: apt install espeak-ng")
    tts = EspeakTTSService()
    avatar = TalkingAvatarService(server=server, user_id=user_id)
    worker = PipelineWorker(Pipeline([tts, avatar, Mp4Transport(path)]))
    runner = WorkerRunner()
    await runner.add_workers(worker)
    await worker.queue_frames([TTSSpeakFrame(text), EndFrame()])
    await runner.run()
    print(f"wrote {path}")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    server, user_id, text, path = sys.argv[1:]
    asyncio.run(main(server, user_id, Path(text).read_text(), path))
