"""Where an agent's voice comes from: this process, or another participant of the room.

LiveKit has a class for each, `QueueAudioOutput` and `DataStreamAudioReceiver`. These two take their
places because of what happens when an agent is interrupted before the avatar has begun, or with
several segments waiting: there LiveKit's report one end, or none, and the agent waits.
"""

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from livekit import rtc
from livekit.agents import utils
from livekit.agents.utils.audio import AudioByteStream
from livekit.agents.voice.avatar import AudioReceiver, AudioSegmentEnd, DataStreamAudioOutput
from livekit.agents.voice.io import AudioOutput, AudioOutputCapabilities

from livekit_talking_avatar.voice_queue import VoiceQueue

AUDIO_TOPIC = "lk.audio_stream"
CLEAR_BUFFER = "lk.clear_buffer"
PLAYBACK_STARTED = "lk.playback_started"
PLAYBACK_FINISHED = "lk.playback_finished"
FRAME_MS = 40
"""Voice is taken in pieces of this length; the first one makes the avatar speak."""
IDLE_S = 10.0
"""A stream from which nothing comes for so long has ended, and its trailer was lost."""
CLEAR_BUFFER_TIMEOUT_S = 2.0
"""Finite: an agent whose worker does not answer must not wait for ever."""
RPC_TRIES = 3
RPC_RETRY_S = 0.1

logger = logging.getLogger(__name__)


class WorkerVoice(DataStreamAudioOutput):
    """An `AgentSession`'s output whose other end is a worker's `RoomVoice`.

    A worker that is lost ends the segments that it had, or the agent would wait for their end; what
    comes later waits for the next worker.
    """

    def __init__(self, room: rtc.Room, *, avatar_identity: str, sample_rate: int) -> None:
        """Prepare.

        Args:
            room: The agent's.
            avatar_identity: Of the worker.
            sample_rate: Of the voice, Hz; the agent converts it.
        """
        super().__init__(
            room,
            destination_identity=avatar_identity,
            sample_rate=sample_rate,
            wait_remote_track=rtc.TrackKind.KIND_VIDEO,
            clear_buffer_timeout=CLEAR_BUFFER_TIMEOUT_S,
            wait_playback_start=True,
        )
        self._avatar_identity = avatar_identity
        self._is_lost = False
        room.on("participant_disconnected", self._on_participant_disconnected)

    def _on_participant_disconnected(self, participant: rtc.RemoteParticipant) -> None:
        if participant.identity == self._avatar_identity:
            self._is_lost = True
            self.clear_buffer()

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """Take the agent's voice."""
        while self._is_lost:
            try:
                await utils.wait_for_track_publication(
                    room=self._room,
                    identity=self._avatar_identity,
                    kind=rtc.TrackKind.KIND_VIDEO,
                )
                self._is_lost = False
            except RuntimeError:  # the next one was lost, too, or the agent has left
                if not self._room.isconnected():
                    raise
        await super().capture_frame(frame)


class LocalVoice(AudioOutput, AudioReceiver):
    """An `AgentSession`'s output that is an `AvatarRunner`'s input."""

    def __init__(self, sample_rate: int) -> None:
        """Begin.

        Args:
            sample_rate: Of the voice, Hz; the agent converts it.
        """
        super().__init__(
            label="TalkingAvatar",
            next_in_chain=None,
            sample_rate=sample_rate,
            capabilities=AudioOutputCapabilities(pause=False),
        )
        self._queue = VoiceQueue(self.notify_of_end)
        self._is_in_segment = False

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """Take the agent's voice."""
        await super().capture_frame(frame)
        if not self._is_in_segment:
            self._is_in_segment = True
            self._queue.begin_segment()
        self._queue.put(frame)

    def flush(self) -> None:
        """End the segment."""
        super().flush()
        if self._is_in_segment:
            self._is_in_segment = False
            self._queue.end_segment()

    def clear_buffer(self) -> None:
        """Drop all voice that was not played."""
        self._is_in_segment = False
        self._queue.clear(lambda: self.emit("clear_buffer"))  # type: ignore[arg-type]

    def notify_of_end(self, position_s: float, is_interrupted: bool) -> None:
        """Tell the agent of a segment's end."""
        self.on_playback_finished(playback_position=position_s, interrupted=is_interrupted)

    def notify_playback_finished(self, playback_position: float, interrupted: bool) -> None:
        """Take note that the runner ended a segment."""
        self._queue.finished(playback_position, is_interrupted=interrupted)

    def notify_playback_started(self) -> None:
        """Take note that the runner began a segment."""
        self.on_playback_started(created_at=time.time())  # noqa: TID251  # LiveKit's clock

    def __aiter__(self) -> AsyncIterator[rtc.AudioFrame | AudioSegmentEnd]:
        return self._queue.__aiter__()

    async def aclose(self) -> None:
        """No more voice comes."""
        self._queue.close()


@dataclass(slots=True)
class _Stream:
    """A byte stream with the voice of one segment."""

    reader: rtc.ByteStreamReader
    rate: int
    channels: int
    is_over: asyncio.Event = field(default_factory=asyncio.Event)
    """It has ended, whether its trailer comes or not."""
    is_cleared: bool = False

    async def next(self) -> bytes:
        """Return what comes next; nothing: it has ended."""
        chunk = asyncio.ensure_future(anext(self.reader, b""))
        over = asyncio.create_task(self.is_over.wait())
        try:
            await asyncio.wait({chunk, over}, timeout=IDLE_S, return_when=asyncio.FIRST_COMPLETED)
            if self.is_cleared:
                return b""
            if chunk.done():  # what has come counts, even if another stream has begun
                return chunk.result()
            logger.warning("a stream of voice ended without its trailer")
        except rtc.StreamError as error:
            logger.warning("a stream of voice was cut off: %s", error)
        finally:
            for task in (chunk, over):
                task.cancel()
            await asyncio.gather(chunk, over, return_exceptions=True)
        return b""


class RoomVoice(AudioReceiver):
    """The voice that an agent sends to this participant of the room."""

    def __init__(self, room: rtc.Room, *, agent_identity: str | None = None) -> None:
        """Prepare.

        Args:
            room: Joined.
            agent_identity: Whose voice; None: the first agent's in the room.
        """
        super().__init__()
        self._room = room
        self._agent_identity = agent_identity
        self._queue = VoiceQueue(self._report_end)
        self._streams: deque[_Stream] = deque()
        """The first one is read."""
        self._has_streams = asyncio.Event()
        self._reports: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Wait for the agent, and be there for its voice."""
        is_agent = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
        agent = await utils.wait_for_participant(
            room=self._room,
            identity=self._agent_identity,
            kind=None if self._agent_identity else is_agent,
        )
        self._agent_identity = agent.identity
        self._room.local_participant.register_rpc_method(CLEAR_BUFFER, self._on_clear_buffer)
        self._room.register_byte_stream_handler(AUDIO_TOPIC, self._on_stream)
        self._tasks = [
            asyncio.create_task(self._read_streams()),
            asyncio.create_task(self._send_reports()),
        ]

    async def wait(self) -> None:
        """Wait for ever; raises what ended the taking of voice, once started."""
        await asyncio.gather(*self._tasks)

    async def aclose(self) -> None:
        """Take no more voice."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._tasks:
            self._room.unregister_byte_stream_handler(AUDIO_TOPIC)
            self._room.local_participant.unregister_rpc_method(CLEAR_BUFFER)
        self._queue.close()

    # From the agent.

    def _on_stream(self, reader: rtc.ByteStreamReader, identity: str) -> None:
        attributes = reader.info.attributes or {}
        if identity != self._agent_identity:
            logger.warning("voice of %s is not taken, only %s's", identity, self._agent_identity)
            reader.close()
            return
        try:
            rate, channels = int(attributes["sample_rate"]), int(attributes["num_channels"])
        except (KeyError, ValueError):
            rate = channels = 0
        if rate < 1_000 or channels < 1:
            logger.error("voice without sample_rate and num_channels is not taken: %s", attributes)
            reader.close()
            return
        self._queue.begin_segment()
        if self._streams:  # an agent's streams do not overlap
            self._streams[-1].is_over.set()
        self._streams.append(_Stream(reader, rate, channels))
        self._has_streams.set()

    def _on_clear_buffer(self, call: rtc.RpcInvocationData) -> str:
        if call.caller_identity != self._agent_identity:
            logger.warning("%s may not clear this voice", call.caller_identity)
            return "reject"
        for stream in self._streams:
            stream.is_cleared = True
            stream.is_over.set()
        self._queue.clear(lambda: self.emit("clear_buffer"))
        return "ok"

    async def _read_streams(self) -> None:
        while True:
            await self._has_streams.wait()
            self._has_streams.clear()
            while self._streams:
                try:
                    await self._read_stream(self._streams[0])
                finally:
                    self._streams.popleft().reader.close()

    async def _read_stream(self, stream: _Stream) -> None:
        cutter = AudioByteStream(stream.rate, stream.channels, stream.rate * FRAME_MS // 1_000)
        while data := await stream.next():
            for frame in cutter.push(data):
                self._queue.put(frame)
        if not stream.is_cleared:
            for frame in cutter.flush():
                self._queue.put(frame)
            self._queue.end_segment()

    def __aiter__(self) -> AsyncIterator[rtc.AudioFrame | AudioSegmentEnd]:
        return self._queue.__aiter__()

    # To the agent.

    def notify_playback_started(self) -> None:
        """Take note that the runner began a segment."""
        self._reports.put_nowait((PLAYBACK_STARTED, ""))

    def notify_playback_finished(self, playback_position: float, interrupted: bool) -> None:
        """Take note that the runner ended a segment."""
        self._queue.finished(playback_position, is_interrupted=interrupted)

    def _report_end(self, position_s: float, is_interrupted: bool) -> None:
        payload = {"playback_position": position_s, "interrupted": is_interrupted}
        self._reports.put_nowait((PLAYBACK_FINISHED, json.dumps(payload)))

    async def _send_reports(self) -> None:
        while True:
            method, payload = await self._reports.get()
            for attempt in range(RPC_TRIES):
                if attempt:
                    await asyncio.sleep(RPC_RETRY_S)
                if await self._call(method, payload):
                    break
            else:
                logger.error("%s did not answer %s %s", self._agent_identity, method, payload)

    async def _call(self, method: str, payload: str) -> bool:
        assert self._agent_identity is not None, "it was started"
        try:
            await self._room.local_participant.perform_rpc(
                destination_identity=self._agent_identity, method=method, payload=payload
            )
        except rtc.RpcError as error:
            if error.code == rtc.RpcError.ErrorCode.UNSUPPORTED_METHOD:
                return method == PLAYBACK_STARTED  # agents need not listen to it
            logger.warning("%s: %s", method, error)
            return False
        return True
