"""A session that continues on another connection.

Where its process lives the session itself waited, *detached*, and the client need only say what it
has seen. Where the process died nothing is left but what the client knows and the token proves:
`ClientState` is that, and the client sends again all speech it has not seen.

Pure.
"""

from dataclasses import dataclass
from typing import Protocol

from inference.assets.clip_index import ClipRequest
from inference.timing import FRAME_MS, SAMPLES_PER_MS
from streaming.protocol.client_messages import InitFields
from streaming.protocol.codec import invalid_message
from streaming.protocol.errors import ProtocolError
from streaming.session.clip_choice import Avatar, clip_named, first_clip


class ResumeTokens(Protocol):
    """Makes what lets the client of one session resume it."""

    def issue(self, session_id: str, number: int) -> str:
        """Return the token of the session's connection with this number, from 0."""


@dataclass(frozen=True, slots=True)
class ClientState:
    """What a client knows of the session that it resumes, where the server knows nothing."""

    number: int
    """Of the connection that was lost."""
    last_frame: int
    """-1: none was received."""
    next_position: int
    """The sample from which speech continues."""
    clip: ClipRequest | None = None
    """The base clip; None: the avatar's first idle clip."""

    @classmethod
    def of(cls, init: InitFields, avatar: Avatar, number: int) -> "ClientState":
        """Return the state that an INIT asks for.

        Args:
            init: The client's.
            avatar: The user's.
            number: Of the connection that was lost, by its token.
        """
        return cls(
            number=number,
            last_frame=(
                -1
                if init.last_frame_timestamp is None
                else int(init.last_frame_timestamp) // FRAME_MS
            ),
            next_position=(
                0
                if init.acknowledged_ms is None
                else (int(init.acknowledged_ms) + FRAME_MS) * SAMPLES_PER_MS
            ),
            clip=_clip(init, avatar),
        )


def _clip(init: InitFields, avatar: Avatar) -> ClipRequest | None:
    if init.base_video is not None:
        try:
            return ClipRequest(clip_named(avatar, init.base_video).name, is_chosen=True)
        except ProtocolError:
            pass  # the avatar was prepared again, with other clips
    if init.target_state is not None:
        return ClipRequest(first_clip(avatar, init.target_state).name, is_chosen=False)
    return None


def check_last_frame(init: InitFields, *, latest_ms: int) -> None:
    """Raise ProtocolError if the client claims to have received frames that cannot exist yet.

    Args:
        init: The client's.
        latest_ms: ``frame_timestamp`` of the newest frame that it may have received.
    """
    claimed_ms = init.last_frame_timestamp
    if claimed_ms is not None and claimed_ms > latest_ms:
        raise invalid_message(
            f"data.last_frame_timestamp is {claimed_ms:.0f}, but this session has come to "
            f"{latest_ms} at most."
        )
