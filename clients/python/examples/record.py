"""Record seconds of a session to MP4: ``python record.py ws://localhost:8000 me out.mp4 5``."""

import asyncio
import io
import sys
from fractions import Fraction
from typing import Any

import av

from talking_avatar import AvatarClient, Frame

MS = Fraction(1, 1_000)


def begin(container: Any, frame: Frame) -> Any:
    """The file's stream, described by the parameter sets of its first picture."""
    with av.open(io.BytesIO(frame.data), format="h264") as raw:
        stream = container.add_stream_from_template(raw.streams.video[0])
    stream.time_base = Fraction(1, 90_000)
    return stream


async def main(server: str, user_id: str, path: str, seconds: float) -> None:
    async with AvatarClient(server, user_id) as avatar:
        with av.open(path, "w") as container:
            stream, first_ms = None, 0
            async for frame in avatar.frames():
                if stream is None:
                    if not frame.is_keyframe:
                        continue
                    stream, first_ms = begin(container, frame), frame.timestamp_ms
                packet = av.Packet(frame.data)
                packet.stream, packet.time_base = stream, MS
                packet.pts = packet.dts = frame.timestamp_ms - first_ms
                packet.duration = 40
                packet.is_keyframe = frame.is_keyframe
                container.mux(packet)
                if frame.timestamp_ms - first_ms >= seconds * 1_000:
                    break
    print(f"wrote {path}")


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:4], float(sys.argv[4])))
    except KeyboardInterrupt:
        sys.exit(130)
