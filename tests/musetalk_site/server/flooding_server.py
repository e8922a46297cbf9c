"""A `StreamServer` with a small application, run as a process of its own by `test_server`.

The application at /echo says back what it hears. At /flood it sends pictures of 50 kB without
waiting, but leaves them out while the transport says that it is paused, and reports how many it
sent and left out when the client asks. At /raise it raises at the first message. At /slow it takes
ten milliseconds for each message. At /stuck it reads nothing.
"""

import asyncio
import json
import logging
import sys

from daphne.endpoints import build_endpoint_description_strings

from musetalk_site.server import backpressure
from musetalk_site.server.daphne_server import TRANSPORT_EXTENSION, StreamServer

PICTURE = b"\x00" * 50_000
say_goodbye = asyncio.Event()


async def application(scope, receive, send):
    if scope["type"] != "websocket":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"here"})
        return
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    farewell = asyncio.create_task(close_at_goodbye(send))
    try:
        if scope["path"] == "/flood":
            await flood(scope["extensions"][TRANSPORT_EXTENSION], receive, send)
        if scope["path"] == "/stuck":
            await asyncio.Event().wait()
        while (message := await receive())["type"] == "websocket.receive":
            if scope["path"] == "/raise":
                raise RuntimeError("a fault in the application")
            if scope["path"] == "/slow":
                await asyncio.sleep(0.01)
            await send({"type": "websocket.send", "text": message["text"][:10]})
    finally:
        farewell.cancel()


async def close_at_goodbye(send):
    await say_goodbye.wait()
    await send({"type": "websocket.send", "text": "goodbye"})
    await send({"type": "websocket.close", "code": 4012})


async def flood(write_side, receive, send):
    changes = []
    write_side.on_change(changes.append)
    sent = left_out = 0
    asked = asyncio.create_task(receive())
    while not asked.done():
        if write_side.paused:
            left_out += 1
            if left_out % 1_000 == 0:  # as a server that pings its clients
                await send({"type": "websocket.send", "text": "still there?"})
        else:
            sent += 1
            await send({"type": "websocket.send", "bytes": PICTURE})
        await asyncio.sleep(0.001)
    report = {"sent": sent, "left_out": left_out, "changes": changes}
    await send({"type": "websocket.send", "text": json.dumps(report)})


async def started():
    if "--fail" in sys.argv:
        raise RuntimeError("the engine is not there")
    print("started", flush=True)


async def closing():
    say_goodbye.set()


async def ended():
    print("ended", flush=True)


logging.basicConfig(level=logging.INFO)
if "--impatient" in sys.argv:
    backpressure.PAUSED_LIMIT_S = 3.0

StreamServer(
    application,
    endpoints=build_endpoint_description_strings(host="127.0.0.1", port=int(sys.argv[1])),
    on_started=started,
    on_closing=closing,
    on_ended=ended,
).run()
print("run returned", flush=True)
