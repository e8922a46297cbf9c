"""Record seconds of a session to MP4: ``python record.py ws://localhost:8000 me out.mp4 5``."""

import asyncio
import sys
from pathlib import Path

from talking_avatar import AvatarClient
from talking_avatar.recording import Recording


async def main(server: str, user_id: str, path: str, seconds: float) -> None:
    async with AvatarClient(server, user_id, receive=["video", "audio"]) as avatar:
        with Recording(Path(path)) as recording:
            first_ms = None
            async for frame in avatar.frames():
                recording.add_frame(frame)
                first_ms = frame.timestamp_ms if first_ms is None else first_ms
                if frame.timestamp_ms - first_ms >= seconds * 1_000:
                    break
    print(f"wrote {recording.pictures} pictures to {path}")


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:4], float(sys.argv[4])))
    except KeyboardInterrupt:
        sys.exit(130)
