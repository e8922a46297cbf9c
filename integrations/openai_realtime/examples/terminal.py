"""A voice agent on a terminal: you type, the model answers, the avatar says it.

    OPENAI_API_KEY=… python terminal.py ws://localhost:8000 me

A line that is typed while the avatar speaks interrupts it. The line that is printed at the start
shows the avatar in a page of the avatar server's own origin. ``REALTIME_URL`` names another service
that speaks the Realtime API's events.
"""

import asyncio
import json
import os
import sys

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from realtime_talking_avatar import RealtimeAvatar
from talking_avatar import AvatarClient

URL = os.environ.get("REALTIME_URL", "wss://api.openai.com/v1/realtime?model=gpt-realtime")


async def read_answers(api: ClientConnection, bridge: RealtimeAvatar) -> None:
    """Hand the API's events to the avatar, and print the text of answers."""
    async for text in api:
        event = json.loads(text)
        await bridge.handle(event)
        if event["type"] == "response.output_audio_transcript.done":
            print(f"avatar: {event['transcript']}", flush=True)
        elif event["type"] == "error":
            print(f"error: {event['error']['message']}", file=sys.stderr)


async def ask(api: ClientConnection, line: str) -> None:
    """Send a line of the user's, and ask for an answer."""
    content = [{"type": "input_text", "text": line}]
    item = {"type": "message", "role": "user", "content": content}
    await api.send(json.dumps({"type": "conversation.item.create", "item": item}))
    await api.send(json.dumps({"type": "response.create"}))


async def main(server: str, user_id: str) -> None:
    """Talk until the input ends."""
    key = {"Authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', '')}"}
    async with (
        AvatarClient(server, user_id, receive=["events"], allow_watchers=True) as avatar,
        connect(URL, additional_headers=key, max_size=None) as api,
    ):
        print(
            f'<talking-avatar user="{user_id}" watch-session="{avatar.session_id}" '
            f'watch-token="{avatar.watch_token}"></talking-avatar>',
            flush=True,
        )
        bridge = RealtimeAvatar(avatar, lambda event: api.send(json.dumps(event)))
        reading = asyncio.create_task(read_answers(api, bridge))
        while line := await asyncio.to_thread(sys.stdin.readline):
            await bridge.interrupt()
            await ask(api, line.strip())
        await asyncio.sleep(1)  # the last answer begins
        await bridge.all_shown()
        reading.cancel()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, ConnectionClosed) as error:
        sys.exit(f"{URL}: {error}")
