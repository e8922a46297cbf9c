"""A back end speaks, browsers watch: ``python back_end.py ws://localhost:8000 me 8080``.

Lines from the terminal are said, with espeak-ng as the voice. Browsers at http://localhost:8080 see
and hear the avatar; they get a token that lets them watch this session, and nothing else.
The avatar server must allow the page's origin: ``CORS_ORIGINS=http://localhost:8080 make run``.
"""

import asyncio
import sys
from urllib.parse import urlsplit

from talking_avatar import AvatarClient

PAGE = """<!doctype html>
<html lang="en">
  <meta charset="utf-8">
  <title>Watching</title>
  <talking-avatar server="{server}" user="{user}"
    watch-session="{session}" watch-token="{token}"></talking-avatar>
  <script type="module" src="{server}/static/avatar/talking-avatar-element.js"></script>
</html>
"""
RATE = 22_050
WAV_HEADER_BYTES = 44


async def synthesize(text: str) -> bytes:
    """Speech, s16le, mono, 22050 Hz."""
    process = await asyncio.create_subprocess_exec(
        "espeak-ng", "--stdout", text, stdout=asyncio.subprocess.PIPE
    )
    sound, _ = await process.communicate()
    return sound[WAV_HEADER_BYTES:]


async def serve_page(page: bytes, port: int) -> asyncio.Server:
    """Answer every request by the page."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\n"
        writer.write(f"{head}Connection: close\r\n\r\n".encode() + page)
        await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", port)


async def main(server: str, user_id: str, port: int) -> None:
    async with AvatarClient(server, user_id, receive=["events"], allow_watchers=True) as avatar:
        parts = urlsplit(server)
        page = PAGE.format(
            server=f"{parts.scheme.replace('ws', 'http')}://{parts.netloc}",
            user=user_id,
            session=avatar.session_id,
            token=avatar.watch_token,
        )
        async with await serve_page(page.encode(), port):
            print(f"http://localhost:{port}", flush=True)
            while line := await asyncio.to_thread(sys.stdin.readline):
                utterance = await avatar.speak(await synthesize(line), sample_rate=RATE)
                print(f"said {(await utterance).played_ms} ms", flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:3], int(sys.argv[3])))
    except KeyboardInterrupt:
        sys.exit(130)
