"""Pictures of an avatar that speaks, as a viewer would see them: encoded and decoded again.

Two sources, both give one RGB picture for each frame of the speech: the engine's own chain in this
process (fast, no clock), and a running server, through its wire.
"""

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.assets.clips import AvatarClips, PictureCache
from inference.engines.base import Engine, Features, RenderJob
from inference.faces.tflite import RgbPicture
from inference.media.compositor import paste
from inference.media.encoder import Encoder
from inference.media.profile import DEFAULT_PROFILE
from inference.media.types import AudioWindow, Patch
from inference.timing import BYTES_PER_SAMPLE, FRAME_MS, SAMPLES_PER_FRAME
from talking_avatar import AvatarClient, Frame, ServerError
from talking_avatar.decoding import AccessUnitDecoder

_CACHE_BYTES = 256 * 1024 * 1024
_FRAMES_A_CALL = 25


class StreamBroken(Exception):
    """The stream did not show what was sent."""


def speaking_in_process(
    engine: Engine, folder: Path, samples: NDArray[np.float32], clip: str | None = None
) -> Iterator[RgbPicture]:
    """Yield the avatar in ``folder`` saying ``samples`` (float32, 16 kHz, whole frames)."""
    clips = AvatarClips(folder, PictureCache(_CACHE_BYTES), profile=DEFAULT_PROFILE)
    avatar = engine.open_avatar(folder, clips.manifest)
    name = clip or _speaking_clip(clips)
    encoder, decoder = Encoder(DEFAULT_PROFILE), AccessUnitDecoder()
    for frame, features in enumerate(hear(engine, samples)):
        index = frame % clips[name].entry.frames
        picture = clips[name].picture(index)
        (patch,) = engine.render([RenderJob(avatar, name, index, picture, features)])
        access_unit = encoder.encode(paste(picture, patch) if isinstance(patch, Patch) else picture)
        yield _decode(decoder, access_unit)


async def stream_from_a_server(server: str, user_id: str, pcm: bytes) -> list[Frame]:
    """Have a server say ``pcm``, in real time; all frames up to the last that shows it.

    StreamBroken if a frame of the speech is missing or the server reports an error.
    """
    frames = -(-len(pcm) // (SAMPLES_PER_FRAME * BYTES_PER_SAMPLE))
    received: list[Frame] = []
    shown = 0
    async with AvatarClient(server, user_id, reconnects=False) as client:
        # At once, as a voice that is synthesized faster than it is spoken: one utterance, no gap.
        speaking = asyncio.create_task(client.speak(pcm))
        try:
            async for event in client.events():
                if isinstance(event, ServerError):
                    raise StreamBroken(str(event))
                if not isinstance(event, Frame):
                    continue
                received.append(event)
                if event.audio_timestamp_ms is None:
                    continue
                if event.audio_timestamp_ms != shown * FRAME_MS:
                    raise StreamBroken(
                        f"{event.audio_timestamp_ms} ms of the speech came where frame {shown} "
                        "was due"
                    )
                shown += 1
                if shown == frames:
                    return received
        finally:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
    raise StreamBroken(f"the stream ended after {shown} of {frames} frames of the speech")


def speaking_pictures(frames: Iterable[Frame]) -> Iterator[RgbPicture]:
    """Yield the pictures of those frames that show speech; StreamBroken if one does not decode."""
    decoder = AccessUnitDecoder()
    for frame in frames:
        picture = _decode(decoder, frame.data)
        if frame.audio_timestamp_ms is not None:
            yield picture


def _speaking_clip(clips: AvatarClips) -> str:
    entries = clips.manifest.clips
    speaking = [entry.name for entry in entries if entry.state == "speaking"]
    return (speaking or [entry.name for entry in entries])[0]


def hear(engine: Engine, samples: NDArray[np.float32]) -> Iterator[Features]:
    """Yield what ``engine`` hears in each frame of ``samples``."""
    before, after = engine.context.before, engine.context.after
    known = np.pad(samples, (before, after))
    frames = len(samples) // SAMPLES_PER_FRAME
    for first in range(0, frames, _FRAMES_A_CALL):
        count = min(_FRAMES_A_CALL, frames - first)
        start = first * SAMPLES_PER_FRAME
        window = known[start : start + before + count * SAMPLES_PER_FRAME + after]
        yield from engine.listen([AudioWindow(window, count)])[0]


def _decode(decoder: AccessUnitDecoder, access_unit: bytes) -> RgbPicture:
    picture = decoder.decode(access_unit)
    if picture is None or decoder.errors:
        raise StreamBroken(f"an access unit does not decode: {decoder.last_error}")
    planes = picture.to_ndarray(format="yuv420p")
    return np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420), np.uint8)
