"""Where the numbers of this machine's processes come from.

The command that puts a serving process together says so once; a process that serves nothing has its
own numbers alone.
"""

from collections.abc import Callable

import msgspec

from musetalk_site.telemetry.families import Snapshot

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Snapshot)

_own: Callable[[], Snapshot] = tuple
_others: Callable[[], list[bytes]] = list


def use(own: Callable[[], Snapshot], others: Callable[[], list[bytes]] = list) -> None:
    """Take numbers from here.

    Args:
        own: Those of this process; called in any thread.
        others: What `packed` gave in each of the others; waits for them, in any thread.
    """
    global _own, _others
    _own, _others = own, others


def pack(snapshot: Snapshot) -> bytes:
    """Pack numbers for another process."""
    return _encoder.encode(snapshot)


def packed() -> bytes:
    """Return the numbers of this process, for another one."""
    return _encoder.encode(_own())


def all_processes() -> list[Snapshot]:
    """Return the numbers of each process of this machine."""
    return [_own(), *map(_decoder.decode, _others())]
