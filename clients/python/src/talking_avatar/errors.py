"""What can go wrong; each message is a sentence for people. All of it can go to another process.

AvatarError
├── SessionRefused       the server opens no session; carries its code
├── SpeechRefused        the server did not take an utterance
├── ConnectionLost       the connection is gone, and with it what was said
│   └── ServerUnreachable   nothing answers there, or not with a WebSocket
├── ProtocolBroken       the server sent what is no message of the protocol
├── SoundUnreadable      no such file, or no sound in it
└── RecordingFailed      the MP4 cannot be written
"""

from typing import Any


class AvatarError(Exception):
    """Parent of what this library raises."""


class SessionRefused(AvatarError):
    """The server opens no session; says why, and when to try again."""

    def __init__(self, code: str, message: str, details: dict[str, Any]) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.details = details
        self._message = message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, self._message, self.details)


class ConnectionLost(AvatarError):
    """The connection is gone, and with it what was said."""


class ServerUnreachable(ConnectionLost):
    """Nothing answers at the address, or not with a WebSocket."""


class SpeechRefused(AvatarError):
    """The server did not take the speech."""

    def __init__(self, message: str, retry_after_ms: int | None) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms
        """When to try again; None: not with this utterance."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (*self.args, self.retry_after_ms)


class ProtocolBroken(AvatarError):
    """The server sent what is no message of the protocol."""


class SoundUnreadable(AvatarError):
    """There is no such file, or no sound in it."""


class RecordingFailed(AvatarError):
    """The MP4 cannot be written."""
