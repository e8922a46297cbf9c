"""The worker as a program: ``livekit-talking-avatar``, or ``python -m livekit_talking_avatar``.

All that it needs to know is in its environment, since every user of the machine can read the
arguments of processes.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Mapping

from livekit.rtc.room import ConnectError

from livekit_talking_avatar.worker import Connection, WorkerFailed, run_worker
from talking_avatar import AvatarError

REQUIRED = {
    "LIVEKIT_URL": "address of the LiveKit server, ws://HOST:PORT",
    "LIVEKIT_TOKEN": "token that admits the avatar to the room",
    "AVATAR_SERVER": "address of the talking avatar server, ws://HOST:PORT",
    "AVATAR_USER_ID": "whose avatar",
}
OPTIONAL = {
    "AVATAR_TOKEN": "API key or token of the talking avatar server",
    "AVATAR_AGENT_IDENTITY": "participant whose voice is spoken; default: the first agent",
    "AVATAR_SAMPLE_RATE": "Hz of the voice in the room; default: 24000",
}


def environment(connection: Connection) -> dict[str, str]:
    """Return the variables by which a worker is started."""
    values = {
        "LIVEKIT_URL": connection.livekit_url,
        "LIVEKIT_TOKEN": connection.livekit_token,
        "AVATAR_SERVER": connection.server,
        "AVATAR_USER_ID": connection.user_id,
        "AVATAR_TOKEN": connection.token,
        "AVATAR_AGENT_IDENTITY": connection.agent_identity,
        "AVATAR_SAMPLE_RATE": str(connection.sample_rate),
    }
    return {name: value for name, value in values.items() if value is not None}


def connection_of(variables: Mapping[str, str]) -> Connection:
    """Where the variables send the worker.

    Raises:
        ValueError: Some are missing or wrong; the message lists them.
    """
    missing = [f"  {name}: {what}" for name, what in REQUIRED.items() if not variables.get(name)]
    if missing:
        optional = [f"  {name}: {what}" for name, what in OPTIONAL.items()]
        raise ValueError("\n".join(["Set", *missing, "and, where needed,", *optional]))
    rate = variables.get("AVATAR_SAMPLE_RATE", "24000")
    if not rate.isdecimal():
        raise ValueError(f"AVATAR_SAMPLE_RATE={rate!r} is no rate: write Hz, such as 24000.")
    return Connection(
        livekit_url=variables["LIVEKIT_URL"],
        livekit_token=variables["LIVEKIT_TOKEN"],
        server=variables["AVATAR_SERVER"],
        user_id=variables["AVATAR_USER_ID"],
        token=variables.get("AVATAR_TOKEN"),
        agent_identity=variables.get("AVATAR_AGENT_IDENTITY"),
        sample_rate=int(rate),
    )


async def _run(connection: Connection) -> None:
    working = asyncio.ensure_future(run_worker(connection))
    with contextlib.suppress(NotImplementedError):  # Windows
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)
    await working


def main() -> None:
    """Run until the agent leaves, the room is closed, or SIGTERM or Ctrl-C comes."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(_run(connection_of(os.environ)))
    except (asyncio.CancelledError, KeyboardInterrupt):
        return
    except (ValueError, AvatarError, ConnectError, WorkerFailed) as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
