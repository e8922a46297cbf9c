"""Say a WAV file: ``python say.py ws://localhost:8000 me speech.wav``; Ctrl-C interrupts."""

import asyncio
import sys
import wave

from talking_avatar import AvatarClient


async def main(server: str, user_id: str, path: str) -> None:
    with wave.open(path) as file:
        rate, channels = file.getframerate(), file.getnchannels()
        pcm = file.readframes(file.getnframes())
    async with AvatarClient(server, user_id, receive=["events"]) as avatar:
        utterance = await avatar.speak(pcm, sample_rate=rate, channels=channels)
        try:
            played = await utterance
        except asyncio.CancelledError:
            await avatar.interrupt()
            raise
        print(f"played {played.played_ms} ms{', interrupted' if played.interrupted else ''}")


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:4]))
    except KeyboardInterrupt:
        sys.exit(130)
