"""A WebSocket client by hand, which sends what no library would."""

import base64
import json
import os
import socket
import struct
import uuid

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    is_final: bool = True,
    reserved: int = 0,
    is_masked: bool = True,
    length: int | None = None,
) -> bytes:
    """A frame of RFC 6455; ``length`` announces another one than the payload has."""
    size = len(payload) if length is None else length
    head = bytes([is_final << 7 | reserved << 4 | opcode])
    mask = 128 if is_masked else 0
    if size < 126:
        head += bytes([mask | size])
    elif size < 65_536:
        head += struct.pack(">BH", mask | 126, size)
    else:
        head += struct.pack(">BQ", mask | 127, size)
    return head + (b"\x00" * 4 if is_masked else b"") + payload


def message(type_: str, session_id: str, **data: object) -> bytes:
    """The frame of a proper message."""
    content = {"type": type_, "session_id": session_id, "data": data}
    return frame(TEXT, json.dumps(content).encode())


class RawSocket:
    """A connection that is upgraded, and may have a session."""

    def __init__(
        self,
        port: int,
        user_id: str = "mallory",
        *,
        has_session: bool = True,
        session_id: str | None = None,
    ) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /musetalk/v1/ws/{user_id} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
            "".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = self.socket.recv(4_096)
            if not piece:
                raise ConnectionError("the server hung up before the upgrade")
            answer += piece
        if b" 101 " not in answer.partition(b"\r\n")[0]:
            raise ConnectionError(answer.partition(b"\r\n")[0].decode())
        if has_session:
            self.socket.sendall(message("INIT", session_id or str(uuid.uuid4()), user_id=user_id))

    def is_closed_within(self, seconds: float) -> bool:
        """Whether the server ends the connection; what it sends until then is thrown away."""
        self.socket.settimeout(seconds)
        try:
            while self.socket.recv(65_536):
                pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True

    def reset(self) -> None:
        """Close with RST, as a process that is killed does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
