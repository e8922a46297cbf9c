"""Everything that the client can raise on purpose; each message is a sentence for people.

ClientError
├── ServerUnreachable   nobody answers there, or not with this protocol
├── SessionRefused      the server answered, and said no; carries its code
├── ConnectionLost      the connection ended in the middle of the session
├── ProtocolBroken      the server sent what the protocol does not know
├── SoundUnreadable     no such file, or nothing to hear in it
└── RecordingFailed     the MP4 cannot be written
"""


class ClientError(Exception):
    """Parent of all; never raised itself."""


class ServerUnreachable(ClientError):
    pass


class SessionRefused(ClientError):
    """``code`` is the server's error code, ``close_code`` the WebSocket's; None where not given."""

    def __init__(
        self, message: str, code: str | None = None, close_code: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.close_code = close_code


class ConnectionLost(ClientError):
    """``close_code`` as the WebSocket reported it; 1006 when the peer just vanished."""

    def __init__(self, message: str, close_code: int | None = None) -> None:
        super().__init__(message)
        self.close_code = close_code


class ProtocolBroken(ClientError):
    pass


class SoundUnreadable(ClientError):
    pass


class RecordingFailed(ClientError):
    pass
