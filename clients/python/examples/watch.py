"""Speak in one connection and watch it in another: ``python watch.py ws://localhost:8000 me``."""

import asyncio
import math
import struct
import sys

from talking_avatar import AvatarClient

RATE = 24_000


def hum(seconds: float) -> bytes:
    samples = range(int(RATE * seconds))
    return b"".join(struct.pack("<h", int(9_000 * math.sin(n * 0.06))) for n in samples)


async def main(server: str, user_id: str) -> None:
    async with AvatarClient(server, user_id, receive=["events"], allow_watchers=True) as speaker:
        assert speaker.watch_token is not None, "this server allows no watchers"
        async with AvatarClient.watch(
            server, user_id, speaker.session_id, speaker.watch_token
        ) as watcher:
            heard = 0
            utterance = await speaker.speak(hum(1.0), sample_rate=RATE)
            async for frame in watcher.frames():
                heard += len(frame.sound.data) // 2 if frame.sound else 0
                if utterance.is_over:
                    break
            print(f"heard {heard} samples of {RATE} Hz")


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:3]))
    except KeyboardInterrupt:
        sys.exit(130)
