"""``python -m benchmarks.drift [--minutes 60]``

Speech for an hour without a pause, on a simulated clock. Nothing is believed that the
stream says of itself: every two seconds there is a loud frame in the sound, the engine paints
loudness, and the flash has to be found in the decoded picture, where it belongs. That is real
timeline, encoding and decoding; only the clock, the layer and the mouth are the fakes of the tests.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.pictures import decoded_luma
from benchmarks.server import add_json_argument
from benchmarks.verdict import Verdict
from inference.assets.library import AvatarLibrary
from inference.core_turns import CoreTurns
from inference.engines.in_process import InProcessEngine
from inference.messages import (
    AudioChunk,
    ClipChange,
    LayerMessage,
    SessionAccepted,
    SessionStart,
    VideoFrame,
)
from inference.runtime.host import Host
from inference.timing import FRAME_S, FRAMES_PER_SECOND, SAMPLES_PER_FRAME
from talking_avatar.decoding import AccessUnitDecoder
from tests.factories import make_avatar
from tests.fakes import MOUTH, InlinePool, LoudnessEngine, ManualClock, settle

CLAIM = "drift"
FLASH_EVERY_FRAMES = 2 * FRAMES_PER_SECOND
FLASH_LUMA = 150
SOFT, LOUD = 0.1, 0.9
LEAD_FRAMES = 5
"""How far the sound runs ahead, so that no jitter of its arrival makes the mouth wait."""
CLIP_EVERY_S = 7


class FlashObserver:
    """Decodes what the host delivers, and notes the flashes."""

    def __init__(self) -> None:
        self._decoder = AccessUnitDecoder()
        self.frames = 0
        self.misnumbered = 0
        self.flashes: list[int] = []
        """Numbers of the frames that begin a flash."""
        self.first_spoken: int | None = None
        self.last_offset: int | None = None
        self._was_bright = False

    async def deliver(self, channel: str, message: LayerMessage) -> None:
        if not isinstance(message, VideoFrame):
            return
        self.misnumbered += message.frame != self.frames
        self.frames += 1
        is_bright = decoded_luma(self._decoder, message.access_unit)[MOUTH].mean() > FLASH_LUMA
        if is_bright and not self._was_bright:
            self.flashes.append(message.frame)
        self._was_bright = bool(is_bright)
        if message.position is not None:
            if self.first_spoken is None:
                self.first_spoken = message.frame
            self.last_offset = message.frame - message.position // SAMPLES_PER_FRAME


def sound_of(frame: int) -> bytes:
    """Return a frame of even loudness: loud every two seconds, soft else."""
    loudness = LOUD if frame % FLASH_EVERY_FRAMES == 0 else SOFT
    return np.full(SAMPLES_PER_FRAME, round(32_767 * loudness), "<i2").tobytes()


async def speak(minutes: float, folder: Path) -> FlashObserver:
    """Run a session for that long; sound comes a frame at a time, irregularly."""
    make_avatar(folder / "test")
    clock, observer = ManualClock(), FlashObserver()
    host = Host(
        engine=InProcessEngine(
            LoudnessEngine(), pool=InlinePool(), avatar_pool=InlinePool(), now_s=clock.now_s
        ),
        library=AvatarLibrary(folder, folder),
        clock=clock,
        deliver=observer.deliver,
        media_pool=InlinePool(),
        turns=CoreTurns(1),
        name="drift",
    )
    running = asyncio.create_task(host.run())
    start = SessionStart(
        claim_id=CLAIM,
        session_id=CLAIM,
        reply_channel=CLAIM,
        avatar_folder="test",
        avatar_version="1",
    )
    host.claim(start, worker_channel=CLAIM)
    await settle()
    host.submit(SessionAccepted(claim_id=CLAIM))
    await send_sound(host, clock, round(minutes * 60 * FRAMES_PER_SECOND))
    await clock.advance(1.0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return observer


async def send_sound(host: Host, clock: ManualClock, frames: int) -> None:
    """Send so many frames of sound while their time passes, and change the clip now and then."""
    dice = random.Random(1)
    for frame in range(-LEAD_FRAMES, frames):
        chunk = frame + LEAD_FRAMES
        if chunk < frames:
            pcm, position = sound_of(chunk), chunk * SAMPLES_PER_FRAME
            host.submit(AudioChunk(claim_id=CLAIM, pcm=pcm, position=position, generation=0))
        if frame % (CLIP_EVERY_S * FRAMES_PER_SECOND) == 0:
            clip = dice.choice(("idle_0", "idle_1", "speaking_0"))
            host.submit(ClipChange(claim_id=CLAIM, clip=clip))
        if frame >= 0:
            # Early and late by turns, and never longer than the lead.
            early_s = FRAME_S * dice.random()
            await clock.advance(FRAME_S - early_s)
            await clock.advance(early_s)


def judge(observer: FlashObserver, minutes: float) -> Verdict:
    verdict = Verdict("drift")
    first = observer.flashes[0] if observer.flashes else 0
    due = [first + n * FLASH_EVERY_FRAMES for n in range(len(observer.flashes))]
    drifts = [abs(seen - wanted) for seen, wanted in zip(observer.flashes, due, strict=True)]
    wanted_flashes = -(-round(minutes * 60 * FRAMES_PER_SECOND) // FLASH_EVERY_FRAMES)
    verdict.notes.append(f"{minutes:g} minutes of speech, simulated clock")
    verdict.told("frames", observer.frames)
    verdict.near("flashes seen", wanted_flashes, 0, len(observer.flashes))
    verdict.none_of("frames from sound to picture, worst drift", max(drifts, default=None))
    offset = None
    if observer.first_spoken is not None and observer.last_offset is not None:
        offset = observer.last_offset - observer.first_spoken
    verdict.none_of("drift of the stamps, frames", offset)
    verdict.none_of("frame numbers not exact", observer.misnumbered)
    return verdict


def main() -> int:
    parser = argparse.ArgumentParser(description="Do sound and picture stay together for an hour?")
    parser.add_argument("--minutes", type=float, default=60.0)
    add_json_argument(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        observer = asyncio.run(speak(options.minutes, Path(folder)))
    return judge(observer, options.minutes).conclude(options.json)


if __name__ == "__main__":
    sys.exit(main())
