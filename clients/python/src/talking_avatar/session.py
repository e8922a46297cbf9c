"""The protocol without a socket: messages to send, events of what came, what resuming needs.

Positions count samples at 16 kHz, as the server does: an utterance of n samples at another rate has
``ceil(n * 16000 / rate)`` of them. Speech that was sent is kept until a frame has shown it, since
after a lost connection the server may ask for it again.

Pure: no clock, no socket.
"""

import base64
import dataclasses
import json
import struct
import uuid
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from talking_avatar.events import (
    Closed,
    Event,
    Frame,
    Interrupted,
    ServerError,
    Sound,
    SpeechFinished,
    SpeechStarted,
    StateChanged,
    Warned,
)

VERSION = "1.2"
JSON_SUBPROTOCOL = "musetalk.v1.json"
BINARY_SUBPROTOCOL = "musetalk.v1.binary"
SAMPLES_PER_MS = 16
FRAME_MS = 40

_HEADER = struct.Struct(">BBHIQQ")
_SPEECH = struct.Struct(">IBB")
_KEYFRAME, _HAS_AUDIO_TIMESTAMP, _HAS_SOUND = 1, 2, 4
_KIND_ACTION, _KIND_SPEECH = 2, 3
_SOUND_RATE = struct.Struct(">I")

Message = dict[str, Any]


@dataclass(slots=True)
class _Chunk:
    """Speech that was sent and not shown yet."""

    number: int
    """Among all that were sent in this session."""
    utterance_id: str
    pcm: bytes
    sample_rate: int
    channels: int
    samples: int
    """At 16 kHz."""


@dataclass(slots=True)
class _Utterance:
    id: str
    sample_rate: int
    channels: int
    samples: int = 0
    """Sent, in the speaker's rate."""
    positions: int = 0
    """The same at 16 kHz."""
    start: int = 0
    """Position of its first sample."""
    is_ended: bool = False
    is_finished: bool = False


@dataclass(slots=True)
class SessionState:
    """One session, over all its connections."""

    user_id: str
    session_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    auth_token: str | None = None
    receive: tuple[str, ...] | None = None
    late_audio: str | None = None
    allow_watchers: bool = False
    watch_token: str | None = None
    """Watch the session of this id instead of opening one."""
    resume_token: str | None = None
    resume_window_s: float = 0.0
    offered_watch_token: str | None = None
    """What others watch this session with."""
    is_binary: bool = False
    _utterances: dict[str, _Utterance] = field(default_factory=dict)
    """Those that are not finished, oldest first."""
    _chunks: deque[_Chunk] = field(default_factory=deque)
    _sent_chunks: int = 0
    _shown: int = 0
    """Position up to which speech was shown, or dropped."""
    _accepted: int = 0
    _last_frame_ms: int | None = None
    _acknowledged_ms: int | None = None
    _choice: Message = field(default_factory=dict)
    """The state and clip that were asked for last."""

    # To the server.

    def init(self) -> str:
        """INIT: open, resume or watch."""
        data: Message = {"user_id": self.user_id, "protocol_version": VERSION}
        optional: Message = {
            "auth_token": self.auth_token,
            "receive": None if self.receive is None else list(self.receive),
            "late_audio": self.late_audio,
            "allow_watchers": self.allow_watchers or None,
        }
        if self.watch_token is not None:
            optional |= {"role": "watch", "watch_token": self.watch_token}
        elif self.resume_token is not None:
            unfinished = next(iter(self._utterances), None)
            optional |= {
                "resume_token": self.resume_token,
                "last_frame_timestamp": self._last_frame_ms,
                "acknowledged_ms": self._acknowledged_ms,
                "utterance_id": unfinished,
                **self._choice,
            }
        data |= {key: value for key, value in optional.items() if value is not None}
        return self._message("INIT", data)

    def begin_utterance(self, utterance_id: str, sample_rate: int, channels: int) -> None:
        """Speech with this id follows; its id is new in this session."""
        self._utterances[utterance_id] = _Utterance(utterance_id, sample_rate, channels)

    def speech(self, utterance_id: str, pcm: bytes) -> str | bytes:
        """GENERATE: the next chunk of an utterance, s16le; it is kept until it was shown."""
        utterance = self._utterances[utterance_id]
        rate, channels = utterance.sample_rate, utterance.channels
        if not utterance.samples:
            utterance.start = self._accepted
        utterance.samples += len(pcm) // (2 * channels)
        positions = -(-utterance.samples * 16_000 // rate)
        chunk = _Chunk(
            self._sent_chunks, utterance_id, pcm, rate, channels, positions - utterance.positions
        )
        utterance.positions = positions
        self._accepted += chunk.samples
        return self._send_chunk(chunk)

    def _send_chunk(self, chunk: _Chunk) -> str | bytes:
        chunk.number, self._sent_chunks = self._sent_chunks, self._sent_chunks + 1
        self._chunks.append(chunk)
        if self.is_binary:
            name = chunk.utterance_id.encode()
            head = _HEADER.pack(1, _KIND_SPEECH, 0, 0, 0, 0)
            return (
                head + _SPEECH.pack(chunk.sample_rate, chunk.channels, len(name)) + name + chunk.pcm
            )
        audio = {
            "format": "pcm_s16le",
            "sample_rate": chunk.sample_rate,
            "channels": chunk.channels,
            "data": base64.b64encode(chunk.pcm).decode(),
        }
        return self._message("GENERATE", {"audio_chunk": audio, "utterance_id": chunk.utterance_id})

    def end_utterance(self, utterance_id: str) -> str | None:
        """END_OF_SPEECH; None if the server ended the utterance already, or another follows it."""
        utterance = self._utterances.get(utterance_id)
        if utterance is None or not utterance.samples or utterance.is_ended:
            return None
        utterance.is_ended = True
        if next(reversed(self._utterances)) != utterance_id:
            return None
        return self._message("END_OF_SPEECH", {"utterance_id": utterance_id})

    def interrupt(self) -> str:
        """INTERRUPT: all speech that was not shown is dropped."""
        self._chunks.clear()
        self._shown = self._accepted
        return self._message("INTERRUPT", {})

    def change_state(self, state: str, clip: str | None) -> str:
        """STATE_CHANGE."""
        self._choice = {"target_state": state} | ({} if clip is None else {"base_video": clip})
        return self._message("STATE_CHANGE", self._choice)

    def simple(self, type_: str, **data: object) -> str:
        """Any other message."""
        return self._message(type_, data)

    def _message(self, type_: str, data: Message) -> str:
        return json.dumps({"type": type_, "session_id": self.session_id, "data": data})

    @property
    def unshown_ms(self) -> int:
        """Speech that was sent and not shown."""
        return (self._accepted - self._shown) // SAMPLES_PER_MS

    # From the server.

    def opened(self, data: Message) -> list[str | bytes]:
        """INIT_SUCCESS came.

        Returns:
            What to send again, where the session was resumed.
        """
        if offer := data.get("resume"):
            self.resume_token = offer["token"]
            self.resume_window_s = offer["window_ms"] / 1_000
        if offer := data.get("watch"):
            self.offered_watch_token = offer["token"]
        if not data.get("resumed"):
            return []
        return list(self._again(int(data["next_audio_ms"]) * SAMPLES_PER_MS))

    def take_settled(self) -> list[SpeechFinished]:
        """After a resumption: the utterances that were seen to their end, though nobody said so.

        A server that knew of it said so in a message that was lost, and may say it again; one that
        took the session over from a process that died knows nothing of them.
        """
        settled = [
            SpeechFinished(one.id, one.positions // SAMPLES_PER_MS, interrupted=False)
            for one in self._utterances.values()
            if one.is_ended and self._seen_ms(one) == one.positions // SAMPLES_PER_MS
        ]
        for event in settled:
            del self._utterances[event.utterance_id]
        return settled

    def _again(self, position: int) -> Iterable[str | bytes]:
        """The speech from ``position`` on, and the end of the last utterance if it had one."""
        chunks, self._chunks = self._chunks, deque()
        start = self._accepted - sum(chunk.samples for chunk in chunks)
        last: str | None = None
        for chunk in chunks:
            skip = min(max(position - start, 0), chunk.samples)
            start += chunk.samples
            if skip == chunk.samples:
                self._chunks.append(chunk)  # the server has it; it was not shown yet
                continue
            frame_bytes = 2 * chunk.channels
            cut = -(-skip * chunk.sample_rate // 16_000) * frame_bytes
            if skip:  # this part the server has
                kept = dataclasses.replace(chunk, pcm=chunk.pcm[:cut], samples=skip)
                self._chunks.append(kept)
            rest = dataclasses.replace(chunk, pcm=chunk.pcm[cut:], samples=chunk.samples - skip)
            last = chunk.utterance_id
            yield self._send_chunk(rest)
        if last is not None and self._utterances[last].is_ended:
            yield self._message("END_OF_SPEECH", {"utterance_id": last})

    def text(self, text: str | bytes) -> tuple[str, Message, Event | None]:
        """A text message came: its type, its data, and the event that it is, if any."""
        message: Message = json.loads(text)
        type_, data = message["type"], message.get("data") or {}
        return type_, data, self._event(type_, data)

    def _event(self, type_: str, data: Message) -> Event | None:
        match type_:
            case "VIDEO_FRAME" | "ACTION_FRAME":
                sound = data.get("audio")
                return self._take(
                    Frame(
                        base64.b64decode(data["frame_data"]),
                        data["frame_timestamp"],
                        data["keyframe"],
                        data.get("audio_timestamp"),
                        Sound(sound["sample_rate"], base64.b64decode(sound["data"]))
                        if sound
                        else None,
                        data.get("action_progress"),
                    )
                )
            case "SPEECH_STARTED":
                return SpeechStarted(data["utterance_id"])
            case "SPEECH_FINISHED":
                return self._finish(data)
            case "INTERRUPTED":
                return Interrupted(data["dropped_ms"])
            case "STATE_CHANGED":
                return StateChanged(data["current_state"], data["current_video"])
            case "WARNING":
                return Warned(data["reason"], data.get("in_ms"), data.get("ms"))
            case "ERROR":
                return self._error(data)
            case "CLOSE_ACK":
                return Closed(data["reason"])
            case _:
                return None  # a newer server may have more to say

    def binary(self, message: bytes) -> Frame:
        """A binary message came: a frame."""
        _, kind, flags, sound_bytes, timestamp, audio_timestamp = _HEADER.unpack_from(message)
        at = _HEADER.size
        progress: float | None = None
        if kind == _KIND_ACTION:
            progress = int.from_bytes(message[at : at + 2], "big") / 65_535
            at += 2
        sound: Sound | None = None
        if flags & _HAS_SOUND:
            (rate,) = _SOUND_RATE.unpack_from(message, at)
            at += _SOUND_RATE.size
            sound = Sound(rate, message[at : at + sound_bytes])
            at += sound_bytes
        return self._take(
            Frame(
                message[at:],
                timestamp,
                bool(flags & _KEYFRAME),
                audio_timestamp if flags & _HAS_AUDIO_TIMESTAMP else None,
                sound,
                progress,
            )
        )

    def _take(self, frame: Frame) -> Frame:
        self._last_frame_ms = frame.timestamp_ms
        if frame.audio_timestamp_ms is not None:
            self._acknowledged_ms = frame.audio_timestamp_ms
            self._acknowledge(frame.audio_timestamp_ms * SAMPLES_PER_MS)
        return frame

    def _acknowledge(self, position: int) -> None:
        """What is before ``position`` was shown: it need not be kept."""
        self._shown = max(self._shown, min(position, self._accepted))
        start = self._accepted - sum(chunk.samples for chunk in self._chunks)
        while self._chunks and start + self._chunks[0].samples <= position:
            start += self._chunks.popleft().samples

    def _finish(self, data: Message) -> SpeechFinished | None:
        utterance = self._utterances.pop(data["utterance_id"], None)
        if utterance is None:
            return None  # told again after a resumption
        played_ms = max(data["played_ms"], self._seen_ms(utterance))
        if not self._utterances:
            self._chunks.clear()
            self._shown = self._accepted
        return SpeechFinished(utterance.id, played_ms, data["interrupted"])

    def _seen_ms(self, utterance: _Utterance) -> int:
        """How much of an utterance was seen in frames.

        A server that took the session over from a process that died knows of its own part only.
        """
        if self._acknowledged_ms is None:
            return 0
        seen = (self._acknowledged_ms + FRAME_MS) * SAMPLES_PER_MS - utterance.start
        return min(max(seen, 0), utterance.positions) // SAMPLES_PER_MS

    def _error(self, data: Message) -> ServerError:
        details = data.get("details") or {}
        number = details.get("chunk")
        if number is not None:
            for chunk in self._chunks:
                if chunk.number == number:
                    self._chunks.remove(chunk)
                    self._accepted -= chunk.samples
                    break
        return ServerError(data["code"], data["message"], details)

    def forget(self) -> list[str]:
        """Begin a new session: the old one is gone.

        Returns:
            The utterances that are lost.
        """
        lost = list(self._utterances)
        self.session_id = str(uuid.uuid4())
        self.resume_token = None
        self._utterances.clear()
        self._chunks.clear()
        self._sent_chunks = self._shown = self._accepted = 0
        self._last_frame_ms = self._acknowledged_ms = None
        return lost
