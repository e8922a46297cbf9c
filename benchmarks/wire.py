"""``python -m benchmarks.wire [--seconds 10]``

What the wire costs, without a server: bytes and processor time of frames as JSON and as binary
messages, of speech taken apart, and how long the event loop stands still while twenty sessions send
a second of 24 kHz speech each, all at the same moment.

The frames are the shipped presenter's own, so their sizes are those of a stream.
"""

import argparse
import asyncio
import base64
import json
import logging
import struct
import sys
import time
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.folders import PRESENTER
from benchmarks.processor_time import best_s
from benchmarks.server import add_json_argument
from benchmarks.verdict import Verdict
from inference.assets.clips import AvatarClips, PictureCache
from inference.media.profile import DEFAULT_PROFILE
from inference.messages import VideoFrame
from inference.timing import FRAME_S
from streaming.gateway.turns import turn
from streaming.protocol import binary, codec
from streaming.protocol.server_messages import FrameSound, frame_message
from streaming.session.session import Session
from talking_avatar.session import SessionState

SESSION_ID = "3f2b8c1e-5d4a-4e6f-9a7b-0c1d2e3f4a5b"
SESSIONS = 20
RATE = 24_000
STALL_MS = 10.0
SAVED = 0.24
CPU_SHARE = 0.9
_FRAMES = 500
_HEARTBEAT_S = 0.0005


@dataclass(frozen=True, slots=True)
class FormCost:
    """What frames cost in one form."""

    bytes_a_frame: float
    encode_us: float
    """At the server."""
    decode_us: float
    """At a client: the Python library, from the message to the frame."""


def presenter_frames(count: int) -> list[VideoFrame]:
    """Frames of all clips of the presenter, as a worker sends them."""
    clips = AvatarClips(PRESENTER, PictureCache(0), profile=DEFAULT_PROFILE)
    names = [entry.name for entry in clips.manifest.clips]
    found = [(name, index) for name in names for index in range(clips[name].entry.frames)]
    return [
        VideoFrame(
            claim_id="c",
            frame=number,
            access_unit=clips[name].access_unit(index),
            is_idr=number % 25 == 0,
            state=clips[name].entry.state,
            clip=name,
            position=number * 640,
            samples=640,
        )
        for number, (name, index) in enumerate(islice(cycle(found), count))
    ]


def cost(frames: list[VideoFrame], sound: FrameSound | None, *, is_binary: bool) -> FormCost:
    """Serialize frames as the server does, and parse them as a client does."""
    messages = [frame_message(frame, SESSION_ID, sound) for frame in frames]

    def encode() -> list[str | bytes]:
        if is_binary:
            return [binary.pack_message(message) for message in messages]
        return [codec.dump(message) for message in messages]

    sent = encode()

    def decode() -> None:
        state = SessionState("me")
        for message in sent:
            if isinstance(message, bytes):
                state.binary(message)
            else:
                state.text(message)

    return FormCost(
        sum(map(len, sent)) / len(frames),
        best_s(encode) / len(frames) * 1e6,
        best_s(decode) / len(frames) * 1e6,
    )


def spoken_second() -> bytes:
    wave = np.random.default_rng(1).normal(0, 3_000, RATE)
    return wave.clip(-32_768, 32_767).astype("<i2").tobytes()


def speech_text(pcm: bytes) -> str:
    chunk = {"format": "pcm_s16le", "sample_rate": RATE, "channels": 1}
    data = {"audio_chunk": {**chunk, "data": base64.b64encode(pcm).decode()}}
    return json.dumps({"type": "GENERATE", "session_id": SESSION_ID, "data": data})


def speech_packed(pcm: bytes) -> bytes:
    header = binary.HEADER.pack(binary.VERSION, binary.SPEECH_KIND, 0, 0, 0, 0)
    return header + struct.pack(">IBB", RATE, 1, 0) + pcm


class Avatar:
    """What a session needs of an avatar."""

    folder, version, codec, width, height = "presenter", "1", "avc1.42C01E", 512, 512
    clips = {"idle": ("idle_0",), "speaking": ("speaking_0",), "action": ("action_1",)}


def open_session() -> Session:
    now_s = time.monotonic()
    session = Session(user_id="u", reply_channel="r", now_s=now_s)
    init = {"user_id": "u", "protocol_version": "1.2"}
    session.text(json.dumps({"type": "INIT", "session_id": SESSION_ID, "data": init}), now_s)
    session.opened(Avatar(), now_s)  # type: ignore[arg-type]  # its fields are never set
    return session


async def longest_stall_s(text: str, seconds: float) -> tuple[float, float]:
    """Twenty sessions are sent a message a second, all at once; each has a task of its own.

    Returns:
        The longest time between two looks at the clock: by the processor time of this thread, and
        by the wall, where other programs of the machine count as well.
    """
    loop = asyncio.get_running_loop()
    queues: list[asyncio.Queue[str]] = [asyncio.Queue() for _ in range(SESSIONS)]

    async def serve(queue: asyncio.Queue[str], session: Session) -> None:
        while True:
            received = await queue.get()
            async with turn(len(received)):
                session.text(received, loop.time())

    tasks = [asyncio.create_task(serve(queue, open_session())) for queue in queues]
    longest_s = longest_wall_s = 0.0
    end_s = next_s = loop.time()
    end_s += seconds
    while (now_s := loop.time()) < end_s:
        if now_s >= next_s:
            next_s = now_s + 1
            for queue in queues:
                queue.put_nowait(text)
        before_s, before_wall_s = time.thread_time(), loop.time()
        await asyncio.sleep(_HEARTBEAT_S)
        longest_s = max(longest_s, time.thread_time() - before_s)
        longest_wall_s = max(longest_wall_s, loop.time() - before_wall_s - _HEARTBEAT_S)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return longest_s, longest_wall_s


def measure(seconds: float) -> Verdict:
    verdict = Verdict("wire")
    frames = presenter_frames(_FRAMES)
    verdict.notes.append(f"{_FRAMES} frames of the presenter; encoding: best of 7 rounds")
    sound = FrameSound(sample_rate=RATE, data=spoken_second()[: int(RATE * FRAME_S) * 2])
    for name, piece in (("frame", None), ("frame with 24 kHz sound", sound)):
        text = cost(frames, piece, is_binary=False)
        packed = cost(frames, piece, is_binary=True)
        verdict.told(f"bytes, {name}, JSON", text.bytes_a_frame)
        verdict.told(f"bytes, {name}, binary", packed.bytes_a_frame)
        saved = 1 - packed.bytes_a_frame / text.bytes_a_frame
        verdict.at_least(f"saved by binary, {name}", SAVED, saved)
        verdict.told(f"encoding, {name}, JSON", text.encode_us, "µs")
        verdict.told(f"encoding, {name}, binary", packed.encode_us, "µs")
        verdict.told(f"decoding, {name}, JSON", text.decode_us, "µs")
        verdict.told(f"decoding, {name}, binary", packed.decode_us, "µs")
        took = (packed.encode_us + packed.decode_us) / (text.encode_us + text.decode_us)
        verdict.at_most(f"both, {name}, binary of JSON", CPU_SHARE, took)
    pcm = spoken_second()
    as_text, as_bytes = speech_text(pcm), speech_packed(pcm)
    verdict.told("bytes, 1 s of 24 kHz speech, JSON", len(as_text))
    verdict.told("bytes, 1 s of 24 kHz speech, binary", len(as_bytes))
    text_s = best_s(lambda: [codec.parse(as_text) for _ in range(100)]) / 100
    packed_s = best_s(lambda: [binary.unpack_speech(as_bytes, SESSION_ID) for _ in range(100)])
    verdict.told("parsing, 1 s of 24 kHz speech, JSON", text_s * 1e6, "µs")
    verdict.told("parsing, 1 s of 24 kHz speech, binary", packed_s / 100 * 1e6, "µs")
    threadpool_limits(1, user_api="blas")  # as the server does
    stall_s, wall_s = asyncio.run(longest_stall_s(as_text, seconds))
    verdict.at_most("longest stall, 20 sessions at once", STALL_MS, stall_s * 1_000, "ms")
    verdict.told("the same, by the wall", wall_s * 1_000, "ms")
    return verdict


def main() -> int:
    parser = argparse.ArgumentParser(description="What do the messages cost?")
    parser.add_argument("--seconds", type=float, default=10.0, help="of sending speech")
    add_json_argument(parser)
    options = parser.parse_args()
    logging.disable()
    return measure(options.seconds).conclude(options.json)


if __name__ == "__main__":
    sys.exit(main())
