"""What supervisor, fork server and app processes tell each other, as msgpack on control sockets."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final, Literal

import msgspec

from avatars_app.access.rates import Charge, Refusal

MAX_BYTES: Final = 128 * 1024
"""Of one message; a request head that is handed over is the largest part of any."""
_SUBJECTS_AT_ONCE: Final = 200
"""In a message of what waits; a subject's name has some hundred bytes at most."""


Question = Literal["refresh", "numbers", "still"]
"""Write down your sessions now; what do you count; what does the session ``about`` show?"""


class FromProcess(msgspec.Struct, frozen=True, tag=True):
    """Parent of what an app process sends."""


class Beat(FromProcess, frozen=True):
    """What the process does, every second."""

    streams: int
    """WebSocket connections that are open."""
    adopted: int
    """Connections that it was given and took over, ever."""
    speaking: int
    """Sessions that show speech now."""
    is_ready: bool
    """Its worker takes sessions."""


class PlaceConnection(FromProcess, frozen=True):
    """A stream's request came here; its descriptor comes with this message."""

    head: bytes
    """All that was read from it: request line and headers."""
    session: str | None = None
    """The key of the session that it names, to be placed where that is."""


class ConnectionAnswered(FromProcess, frozen=True):
    """A connection that was sent here needs nobody else: it was answered, or its client left."""

    transfer: int


class OwnSession(FromProcess, frozen=True):
    """A connection here opens this session. Answered by `SessionOwned`."""

    request: int
    session: str
    """`streaming.gateway.takeover.key_of` its id."""
    user_id: str
    limits: dict[str, int] = {}
    """How many sessions each of its holders may have."""


class ReleaseSession(FromProcess, frozen=True):
    """The session is no longer here."""

    session: str


class AskOthers(FromProcess, frozen=True):
    """Ask the other processes: each answer is an `AnswerOfOther`, the end `OthersDone`."""

    request: int
    what: Question
    about: str = ""


class SpendCharges(FromProcess, frozen=True):
    """A client wants to do something that is counted. Answered by `ChargesSpent`."""

    request: int
    charges: list[Charge]


class SpeechWaits(FromProcess, frozen=True):
    """How much speech waits here, of some subjects: what has changed."""

    samples: dict[str, int]


class Answer(FromProcess, frozen=True):
    """The answer to `Asked`."""

    request: int
    content: bytes = b""


class ToProcess(msgspec.Struct, frozen=True, tag=True):
    """Parent of what the supervisor sends."""


class AdoptConnection(ToProcess, frozen=True):
    """Serve this connection; its descriptor comes with this message.

    Answered by `ConnectionAnswered`.
    """

    head: bytes
    transfer: int


class SessionOwned(ToProcess, frozen=True):
    """The answer to `OwnSession`."""

    request: int
    is_granted: bool
    """False: another user has it, or a holder has no more left."""
    full: str | None = None
    """The holder that has as many sessions as it may have."""


class ChargesSpent(ToProcess, frozen=True):
    """The answer to `SpendCharges`."""

    request: int
    refusal: Refusal | None = None


class SpeechWaitsElsewhere(ToProcess, frozen=True):
    """How much speech waits in all other processes together, of some subjects."""

    samples: dict[str, int]


class SupersedeSession(ToProcess, frozen=True):
    """The same user opened the session in another process."""

    session: str


class Asked(ToProcess, frozen=True):
    """Another process asks. Answered by `Answer`."""

    request: int
    what: Question
    about: str = ""


class AnswerOfOther(ToProcess, frozen=True):
    """What another process answered."""

    request: int
    content: bytes


class OthersDone(ToProcess, frozen=True):
    """All others have answered, or their time is over."""

    request: int


class ProcessEnded(ToProcess, frozen=True):
    """Another process ended: close its history."""

    pid: int


def in_messages(samples: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Split what waits of many subjects into what fits into a message each."""
    items = iter(samples.items())
    while some := dict(islice(items, _SUBJECTS_AT_ONCE)):
        yield some


ProcessMessage = (
    Beat
    | PlaceConnection
    | ConnectionAnswered
    | OwnSession
    | ReleaseSession
    | AskOthers
    | SpendCharges
    | SpeechWaits
    | Answer
)
SupervisorMessage = (
    AdoptConnection
    | SessionOwned
    | ChargesSpent
    | SpeechWaitsElsewhere
    | SupersedeSession
    | Asked
    | AnswerOfOther
    | OthersDone
    | ProcessEnded
)


class Fork(msgspec.Struct, frozen=True, tag=True):
    """The supervisor has the fork server start an app process. Answered by `Forked` or `NotForked`.

    The descriptor of its control socket comes with this message.
    """

    number: int
    engines: list[str]
    """The addresses of engine processes, one for each device."""


class FromForkServer(msgspec.Struct, frozen=True, tag=True):
    """Parent of what the fork server says."""


class Forked(FromForkServer, frozen=True):
    """The app process with this number runs."""

    number: int
    pid: int


class NotForked(FromForkServer, frozen=True):
    """The system made no app process with this number: it has no memory for one, or too many."""

    number: int
    reason: str


class Exited(FromForkServer, frozen=True):
    """A process ended."""

    pid: int
    status: int
    """Less than 0: it was ended by that signal."""


ForkServerMessage = Forked | NotForked | Exited
