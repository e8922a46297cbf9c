"""A session without a socket: messages to send, what comes, and what resuming needs.

Positions count samples at 16 kHz, as the server does: an utterance of n samples at another rate has
``ceil(n * 16000 / rate)`` of them. Speech that was sent is kept until a frame has shown it, since
after a lost connection the server may ask for it again.

Pure: no clock, no socket.
"""

import dataclasses
import uuid
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from talking_avatar import wire
from talking_avatar.events import (
    Event,
    Frame,
    ServerError,
    SessionInfo,
    SpeechFinished,
    StateChanged,
)
from talking_avatar.wire import Message

VERSION = "1.2"
SAMPLES_PER_MS = 16
FRAME_MS = 40


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
    sent_s: float
    clip: str | None
    """The one to run under it."""


@dataclass(slots=True)
class _Utterance:
    id: str
    sample_rate: int
    channels: int
    clip: str | None
    """The one to run under it."""
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
    info: SessionInfo | None = None
    """What the server said when it opened the session."""
    _utterances: dict[str, _Utterance] = field(default_factory=dict)
    """Those that are not finished, oldest first."""
    _chunks: deque[_Chunk] = field(default_factory=deque)
    _sent_chunks: int = 0
    _shown: int = 0
    """Position up to which speech was shown, or dropped."""
    _showing: tuple[int, float] | None = None
    """Where the utterance begins that is shown, and since when."""
    _accepted: int = 0
    _interrupts: int = 0
    """How many were sent."""
    _last_frame_ms: int | None = None
    _acknowledged_ms: int | None = None
    _asked: Message = field(default_factory=dict)
    """The state and clip that were asked for last."""
    _choice: Message = field(default_factory=dict)
    """Those that the server took."""
    _frame_state: str = ""
    _frame_clip: str = ""
    """What binary frames show, as FRAME_INFO said."""

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

    def begin_utterance(
        self, utterance_id: str, sample_rate: int, channels: int, clip: str | None = None
    ) -> None:
        """Speech with this id follows; its id is new in this session."""
        self._utterances[utterance_id] = _Utterance(utterance_id, sample_rate, channels, clip)

    def speech(self, utterance_id: str, pcm: bytes, sent_s: float = 0.0) -> str | bytes:
        """GENERATE: the next chunk of an utterance, s16le; it is kept until it was shown."""
        utterance = self._utterances[utterance_id]
        rate, channels = utterance.sample_rate, utterance.channels
        if not utterance.samples:
            utterance.start = self._accepted
        utterance.samples += len(pcm) // (2 * channels)
        positions = -(-utterance.samples * 16_000 // rate)
        added = positions - utterance.positions
        chunk = _Chunk(
            self._sent_chunks, utterance_id, pcm, rate, channels, added, sent_s, utterance.clip
        )
        utterance.positions = positions
        self._accepted += chunk.samples
        return self._send_chunk(chunk)

    def _send_chunk(self, chunk: _Chunk) -> str | bytes:
        chunk.number, self._sent_chunks = self._sent_chunks, self._sent_chunks + 1
        self._chunks.append(chunk)
        if self.is_binary and chunk.clip is None:
            return wire.dump_speech(
                chunk.utterance_id, chunk.pcm, chunk.sample_rate, chunk.channels
            )
        data: Message = {
            "audio_chunk": wire.audio_chunk(chunk.pcm, chunk.sample_rate, chunk.channels),
            "utterance_id": chunk.utterance_id,
        }
        if chunk.clip is not None:
            state = chunk.clip.partition("_")[0]
            data["video_state"] = {"type": state, "base_video": chunk.clip}
        return self._message("GENERATE", data)

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
        """INTERRUPT: all speech that was not shown is dropped.

        It is numbered: the server knows it again if it is sent again on another connection.
        """
        self._chunks.clear()
        self._shown = self._accepted
        self._showing = None
        self._interrupts += 1
        return self._message("INTERRUPT", {"number": self._interrupts})

    def change_state(self, state: str, clip: str | None) -> str:
        """STATE_CHANGE."""
        self._asked = {"target_state": state} | ({} if clip is None else {"base_video": clip})
        return self._message("STATE_CHANGE", self._asked)

    def action(self, index: int, *, with_progress: bool) -> str:
        """Have an action shown.

        Its older form is answered by frames that say how far it has come.
        """
        form: Message = {"action_index": index}
        if with_progress:
            form = {"action_type": f"action_{index}"}
        return self._message("ACTION", form)

    def simple(self, type_: str, **data: object) -> str:
        """Any other message."""
        return self._message(type_, data)

    def _message(self, type_: str, data: Message) -> str:
        return wire.dump(type_, self.session_id, data)

    @property
    def sees_frames(self) -> bool:
        """Whether frames tell what was shown."""
        return self.receive is None or "video" in self.receive

    def unshown_ms(self, now_s: float) -> int:
        """Speech that was sent and not shown: as frames tell, or else as time passes.

        Args:
            now_s: Now, on the clock of `speech_started`.
        """
        shown = self._shown
        if not self.sees_frames and self._showing is not None:
            position, since_s = self._showing
            passed = int((now_s - since_s) * 1_000) * SAMPLES_PER_MS
            shown = max(shown, min(position + passed, self._accepted))
        return (self._accepted - shown) // SAMPLES_PER_MS

    def speech_started(self, utterance_id: str, now_s: float) -> None:
        """SPEECH_STARTED came: from now on this utterance is shown."""
        if utterance := self._utterances.get(utterance_id):
            self._showing = (utterance.start, now_s)

    # From the server.

    def opened(self, data: Message) -> list[str | bytes]:
        """INIT_SUCCESS came.

        Returns:
            The speech to send: again where the session was resumed; in another session, what was
            said before it was open.

        Raises:
            ProtocolBroken: Fields are missing.
        """
        self.info = wire.session_info(data)
        if offer := data.get("resume"):
            self.resume_token = offer["token"]
            self.resume_window_s = offer["window_ms"] / 1_000
        if offer := data.get("watch"):
            self.offered_watch_token = offer["token"]
        next_audio_ms = int(data["next_audio_ms"]) if data.get("resumed") else 0
        return list(self._again(next_audio_ms * SAMPLES_PER_MS))

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
        """Return the speech from ``position`` on, and the last utterance's end if it had one."""
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
            if last is None:
                self._sent_chunks = chunk.number  # the server counts what it received
            cut = -(-skip * chunk.sample_rate // 16_000) * frame_bytes
            if skip:  # this part the server has
                kept = dataclasses.replace(chunk, pcm=chunk.pcm[:cut], samples=skip)
                self._chunks.append(kept)
            rest = dataclasses.replace(chunk, pcm=chunk.pcm[cut:], samples=chunk.samples - skip)
            last = chunk.utterance_id
            yield self._send_chunk(rest)
        utterance = None if last is None else self._utterances.get(last)
        if utterance is not None and utterance.is_ended:
            yield self._message("END_OF_SPEECH", {"utterance_id": last})

    def text(self, text: str | bytes, received_s: float = 0.0) -> tuple[str, Message, Event | None]:
        """Take a text message: its type, its data, and the event that it is, if any.

        Raises:
            ProtocolBroken: It is no message of the protocol.
        """
        type_, data, event = wire.parse(text, received_s)
        match event:
            case Frame():
                return type_, data, self._take(event)
            case SpeechFinished():
                return type_, data, self._finish(event)
            case StateChanged(state) if state == self._asked.get("target_state"):
                self._choice = self._asked
            case ServerError():
                self._take_back(event)
            case None if type_ == "FRAME_INFO":
                self._frame_state = data.get("state", "")
                self._frame_clip = data.get("base_video", "")
            case _:
                pass
        return type_, data, event

    def binary(self, message: bytes, received_s: float = 0.0) -> Frame:
        """Take a binary message, a frame.

        Raises:
            ProtocolBroken: It is none.
        """
        return self._take(
            wire.parse_frame(message, self._frame_state, self._frame_clip, received_s)
        )

    def _take(self, frame: Frame) -> Frame:
        self._last_frame_ms = frame.timestamp_ms
        if frame.audio_timestamp_ms is None:
            return frame
        position = frame.audio_timestamp_ms * SAMPLES_PER_MS
        self._acknowledged_ms = frame.audio_timestamp_ms
        self._acknowledge(position)
        sent_s = self._sent_s(min(position + FRAME_MS * SAMPLES_PER_MS, self._accepted) - 1)
        if sent_s is None:
            return frame
        return dataclasses.replace(frame, latency_s=frame.received_s - sent_s)

    def _sent_s(self, position: int) -> float | None:
        """When the sample at a position was sent; None where that is not kept."""
        start = self._accepted - sum(chunk.samples for chunk in self._chunks)
        for chunk in self._chunks:
            if start <= position < start + chunk.samples:
                return chunk.sent_s
            start += chunk.samples
        return None

    def _acknowledge(self, position: int) -> None:
        """Forget what is before ``position``: it was shown and need not be kept."""
        self._shown = max(self._shown, min(position, self._accepted))
        start = self._accepted - sum(chunk.samples for chunk in self._chunks)
        while self._chunks and start + self._chunks[0].samples <= position:
            start += self._chunks.popleft().samples

    def _finish(self, event: SpeechFinished) -> SpeechFinished | None:
        utterance = self._utterances.pop(event.utterance_id, None)
        if utterance is None:
            # Of the session that is watched; otherwise it is sent again after a resumption.
            return event if self.watch_token is not None else None
        played_ms = max(event.played_ms, self._seen_ms(utterance))
        self._acknowledge(utterance.start + utterance.positions)
        self._showing = None
        if not self._utterances:
            self._chunks.clear()
            self._shown = self._accepted
        return dataclasses.replace(event, played_ms=played_ms)

    def _seen_ms(self, utterance: _Utterance) -> int:
        """How much of an utterance was seen in frames.

        A server that took the session over from a process that died knows of its own part only.
        """
        if self._acknowledged_ms is None:
            return 0
        seen = (self._acknowledged_ms + FRAME_MS) * SAMPLES_PER_MS - utterance.start
        return min(max(seen, 0), utterance.positions) // SAMPLES_PER_MS

    def _take_back(self, error: ServerError) -> None:
        """Take back a chunk that was refused: it is not kept, and does not count."""
        number, name = error.details.get("chunk"), error.details.get("utterance_id")
        sent = [chunk for chunk in self._chunks if chunk.utterance_id == name]
        if number is None or not sent:
            return
        # A process that took the session over counts from 0.
        refused = next((chunk for chunk in sent if chunk.number == number), sent[0])
        self._chunks.remove(refused)
        self._accepted -= refused.samples
        self._shorten(refused)

    def _shorten(self, refused: _Chunk) -> None:
        """Take a chunk out of its utterance, and forget one of which nothing is left."""
        if (utterance := self._utterances.get(refused.utterance_id)) is None:
            return
        utterance.samples -= len(refused.pcm) // (2 * refused.channels)
        utterance.positions -= refused.samples
        if utterance.positions <= 0:
            self.forget_utterance(utterance.id)

    def has_utterance(self, utterance_id: str) -> bool:
        """Whether an utterance has begun and is not over."""
        return utterance_id in self._utterances

    def forget_utterance(self, utterance_id: str) -> None:
        """The server knows nothing of an utterance: it will not say that it is over."""
        self._utterances.pop(utterance_id, None)

    def forget(self) -> list[str]:
        """Begin a new session, as the old one is gone; a watcher watches the same one again.

        Returns:
            The utterances that are lost.
        """
        lost = list(self._utterances)
        if self.watch_token is None:
            self.session_id = str(uuid.uuid4())
        self.resume_token = None
        self._utterances.clear()
        self._chunks.clear()
        self._sent_chunks = self._shown = self._accepted = 0
        self._last_frame_ms = self._acknowledged_ms = None
        return lost
