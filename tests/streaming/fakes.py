"""A client, workers and a clock around one session, recorded, without I/O."""

import base64
import itertools
import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import msgspec

from inference.assets.manifest import STANDARD_CLIPS, ClipState
from inference.messages import (
    AudioChunk,
    LayerMessage,
    SessionAccepted,
    SessionClaimed,
    SessionStart,
    SessionStop,
    VideoFrame,
)
from streaming.protocol.codec import dump
from streaming.session.effects import (
    CloseConnection,
    Effect,
    FlushSpeech,
    OpenSession,
    SendClaim,
    SendToClient,
    SendToWorker,
)
from streaming.session.limits import SessionLimits
from streaming.session.session import Session

USER = "ada"
SESSION_ID = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
FRAME_SAMPLES = 640


@dataclass(frozen=True)
class FakeAvatar:
    folder: str = "presenter"
    version: str = "v1"
    clips: dict[ClipState, tuple[str, ...]] = field(default_factory=lambda: dict(STANDARD_CLIPS))
    titles: dict[str, str] = field(default_factory=dict)
    codec: str = "avc1.42C01E"
    width: int = 512
    height: int = 512


def text(type_: str, session_id: object = SESSION_ID, **data: Any) -> str:
    return json.dumps({"type": type_, "session_id": session_id, "data": data})


def chunk(pcm: bytes, **fields: Any) -> dict[str, Any]:
    return {
        "format": "pcm_s16le",
        "sample_rate": 16000,
        "channels": 1,
        "duration_ms": 40,
        "data": base64.b64encode(pcm).decode(),
        **fields,
    }


def numbered(first: int, samples: int) -> bytes:
    """Speech whose samples tell their own position."""
    return b"".join((n % 65_536).to_bytes(2, "little") for n in range(first, first + samples))


def claimed(claim: SessionStart, channel: str = "w1", **fields: Any) -> SessionClaimed:
    return SessionClaimed(
        claim_id=claim.claim_id,
        worker_channel=channel,
        worker=channel,
        engine="viseme",
        is_lipsync_ready=bool(fields.get("is_lipsync_ready", True)),
    )


def frame(claim_id: str, number: int, *, is_idr: bool | None = None, **fields: Any) -> VideoFrame:
    values: dict[str, Any] = {
        "claim_id": claim_id,
        "frame": number,
        "access_unit": b"\x00\x00\x00\x01",
        "is_idr": number % 25 == 0 if is_idr is None else is_idr,
        "state": "idle",
        "clip": "idle_0",
        **fields,
    }
    return msgspec.convert(values, VideoFrame)


class FakeResumeTokens:
    def issue(self, session_id: str, number: int) -> str:
        return f"resume {session_id} {number}"


class FakeWatchTokens:
    opened_at = 1_000.0

    def issue(self, session_id: str) -> str:
        return f"watch {session_id}"

    def admits(self, token: str, session_id: str) -> bool:
        return token == self.issue(session_id)


class FakeGateway:
    """A session with its effects carried out at once."""

    def __init__(
        self,
        rules: SessionLimits | None = None,
        avatar: FakeAvatar | None = None,
        *,
        is_resumable: bool = False,
    ) -> None:
        ids = itertools.count()
        self.now_s = 1_000.0
        self.avatar = avatar or FakeAvatar()
        self.session = Session(
            user_id=USER,
            reply_channel="gateway",
            now_s=self.now_s,
            rules=rules,
            tokens=FakeResumeTokens() if is_resumable else None,
            watch_tokens=FakeWatchTokens(),
            new_id=lambda: f"id-{next(ids)}",
        )
        self.sent_to_client: list[dict[str, Any]] = []
        """Everything the client was sent, as JSON objects."""
        self.texts: list[str] = []
        """The same, as it goes over the wire."""
        self.sent_to_workers: list[tuple[str, LayerMessage]] = []
        """Everything workers were sent: channel, message."""
        self.claims: list[SessionStart] = []
        self.closed: int | None = None
        self.opens_at_once = True
        self.full_channels: set[str] = set()

    def do(self, effects: list[Effect]) -> None:
        todo = deque(effects)
        while todo:
            effect = todo.popleft()
            match effect:
                case SendToClient(message):
                    assert self.closed is None, "nothing follows the close"
                    self.texts.append(dump(message))
                    self.sent_to_client.append(json.loads(self.texts[-1]))
                case SendClaim(message):
                    self.claims.append(message)
                case SendToWorker(channel, message):
                    self.sent_to_workers.append((channel, message))
                case FlushSpeech(claim_id):
                    self._flush_speech(claim_id, todo)
                case OpenSession():
                    if self.opens_at_once:
                        todo.extend(self.session.opened(self.avatar, self.now_s))
                case CloseConnection(code):
                    self.closed = int(code)

    def _flush_speech(self, claim_id: str, todo: deque[Effect]) -> None:
        while (sending := self.session.next_for_worker(claim_id, self.now_s)) is not None:
            if sending.channel in self.full_channels:
                todo.extend(self.session.undelivered(sending.message, self.now_s))
                return
            self.sent_to_workers.append((sending.channel, sending.message))

    def client_sends(self, type_: str, session_id: object = SESSION_ID, **data: Any) -> None:
        self.do(self.session.text(text(type_, session_id, **data), self.now_s))

    def client_speaks(self, pcm: bytes, **data: Any) -> None:
        self.client_sends("GENERATE", audio_chunk=chunk(pcm), **data)

    def client_speaks_at(self, pcm: bytes, rate: int, **data: Any) -> None:
        self.client_sends("GENERATE", audio_chunk=chunk(pcm, sample_rate=rate), **data)

    def worker_sends(self, message: LayerMessage) -> None:
        self.do(self.session.from_worker(message, self.now_s))

    def wait(self, seconds: float) -> None:
        """Let time pass, with every timer rung when it is due."""
        until_s = self.now_s + seconds
        while (due_s := self.session.next_deadline_s) is not None and due_s <= until_s:
            self.now_s = max(self.now_s, due_s)
            self.do(self.session.timer(self.now_s))
        self.now_s = until_s

    def init(self, **data: Any) -> None:
        self.client_sends("INIT", user_id=USER, **data)

    def start(self, channel: str = "w1") -> "FakeWorker":
        """INIT, and a worker that takes the session."""
        self.init()
        return self.worker_claims(channel)

    def worker_claims(self, channel: str = "w1") -> "FakeWorker":
        """A worker takes the newest claim."""
        claim = self.claims[-1]
        self.worker_sends(claimed(claim, channel))
        return FakeWorker(self, channel, claim)

    def accepted(self, channel: str) -> SessionAccepted:
        """The message that began the session at the worker on ``channel``."""
        return next(m for m in self.sent_to_worker(channel) if isinstance(m, SessionAccepted))

    def of_type(self, *types: str) -> list[dict[str, Any]]:
        return [message for message in self.sent_to_client if message["type"] in types]

    @property
    def last(self) -> dict[str, Any]:
        return self.sent_to_client[-1]

    @property
    def errors(self) -> list[str]:
        return [message["data"]["code"] for message in self.of_type("ERROR")]

    @property
    def frame_numbers(self) -> list[int]:
        """Of the frames that were sent to the client."""
        return [m["data"]["frame_timestamp"] // 40 for m in self.of_type("VIDEO_FRAME")]

    def sent_to_worker(self, channel: str) -> list[LayerMessage]:
        return [message for to, message in self.sent_to_workers if to == channel]

    def audio_to(self, channel: str) -> list[AudioChunk]:
        return [m for m in self.sent_to_worker(channel) if isinstance(m, AudioChunk)]

    def was_accepted(self, channel: str, claim: SessionStart) -> bool:
        return any(
            isinstance(m, SessionAccepted) and m.claim_id == claim.claim_id
            for m in self.sent_to_worker(channel)
        )

    def was_stopped(self, channel: str, claim: SessionStart) -> bool:
        return any(
            isinstance(m, SessionStop) and m.claim_id == claim.claim_id
            for m in self.sent_to_worker(channel)
        )


class FakeWorker:
    """A worker that claimed the session, and sends frames."""

    def __init__(self, gateway: FakeGateway, channel: str, claim: SessionStart) -> None:
        self.gateway = gateway
        self.channel = channel
        self.claim = claim
        told = (m for m in gateway.sent_to_worker(channel) if isinstance(m, SessionAccepted))
        self.accepted = next((m for m in told if m.claim_id == claim.claim_id), None)
        self.next_frame = self.accepted.next_frame if self.accepted else 0

    def show(self, count: int = 1, **fields: Any) -> None:
        """The next frames, one each 40 ms; the first one is an IDR."""
        for _ in range(count):
            number = self.next_frame
            is_idr = self.accepted is None or number == self.accepted.next_frame
            is_idr = is_idr or number % 25 == 0
            self.gateway.worker_sends(frame(self.claim.claim_id, number, is_idr=is_idr, **fields))
            self.next_frame += 1
            self.gateway.wait(0.04)

    def speak(self, position: int, **fields: Any) -> None:
        """One frame that shows the samples from ``position`` on."""
        self.show(state="speaking", position=position, **{"samples": 640, **fields})
