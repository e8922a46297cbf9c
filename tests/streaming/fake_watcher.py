"""A watcher of a session, and what its client was sent."""

import base64
import json
from typing import Any

from streaming.protocol import codec
from streaming.protocol.client_messages import InitFields
from streaming.session.audience import Audience
from streaming.session.effects import CloseConnection, Effect, SendPayload, SendToClient
from streaming.session.limits import SessionLimits
from streaming.session.metrics import SessionMetrics
from streaming.session.watcher import Watcher
from tests.streaming.fakes import (
    SESSION_ID,
    USER,
    FakeGateway,
    FakeWorker,
    text,
)

TOKEN = f"watch {SESSION_ID}"


class FakeWatcher:
    """A watcher, and what its client was sent."""

    def __init__(self, audience: Audience, *, is_binary: bool = False, **init: Any) -> None:
        self.news = 0
        self.received: list[dict[str, Any]] = []
        self.packed: list[bytes] = []
        self.payloads: list[SendPayload] = []
        self.closed: int | None = None
        self.now_s = 1_000.0
        fields = InitFields(user_id=USER, role="watch", watch_token=TOKEN, **init)
        self.watcher = Watcher(
            SESSION_ID,
            fields,
            is_binary=is_binary,
            metrics=SessionMetrics(),
            on_news=self._count,
            on_closed=audience.leave,
            now_s=self.now_s,
        )
        audience.join(self.watcher)

    def _count(self) -> None:
        self.news += 1

    def read(self) -> "FakeWatcher":
        """The connection takes what there is."""
        return self.do(self.watcher.take())

    def do(self, effects: list[Effect]) -> "FakeWatcher":
        for effect in effects:
            assert self.closed is None, "nothing follows the close"
            match effect:
                case SendPayload(str() as payload):
                    self.payloads.append(effect)
                    self.received.append(json.loads(payload))
                case SendPayload(bytes() as payload):
                    self.payloads.append(effect)
                    self.packed.append(payload)
                case SendToClient(message):
                    self.received.append(json.loads(codec.dump(message)))
                case CloseConnection(code):
                    self.closed = int(code)
        return self

    def send(self, type_: str, **data: Any) -> None:
        self.do(self.watcher.text(text(type_, **data), self.now_s))

    @property
    def types(self) -> list[str]:
        return [message["type"] for message in self.received]

    @property
    def frames(self) -> list[int]:
        return [
            message["data"]["frame_timestamp"] // 40
            for message in self.received
            if message["type"] == "VIDEO_FRAME"
        ]

    def sound(self) -> bytes:
        return b"".join(
            base64.b64decode(message["data"]["audio"]["data"])
            for message in self.received
            if "audio" in message["data"]
        )


def open_watched(rules: SessionLimits | None = None, **data: Any) -> tuple[FakeGateway, FakeWorker]:
    gateway = FakeGateway(rules)
    gateway.init(protocol_version="1.2", allow_watchers=True, **data)
    return gateway, gateway.worker_claims()
