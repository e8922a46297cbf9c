"""A small server that keeps the protocol's promises, for tests of the client alone.

It streams real H.264: a gray picture with a bar that moves, and a white square where the mouth
would be while speech is shown; utterances begin and end as in version 1.2. No engine, no worker, no
Django.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

import msgspec
import numpy as np
from websockets.asyncio.server import Request, Response, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from inference.media.encoder import Encoder, is_idr
from inference.media.profile import VideoProfile
from inference.timing import (
    BYTES_PER_SAMPLE,
    FRAME_S,
    SAMPLES_PER_FRAME,
    audio_timestamp_ms,
    frame_timestamp_ms,
)
from streaming.protocol.client_messages import (
    Action,
    AnyClientMessage,
    Close,
    EndOfSpeech,
    Generate,
    Init,
    Interrupt,
    StateChange,
)
from streaming.protocol.codec import dump, parse
from streaming.protocol.errors import ProtocolError
from streaming.protocol.server_messages import (
    ActionTriggered,
    ActionTriggeredFields,
    CloseAck,
    CloseAckFields,
    Error,
    FrameFields,
    InitSuccess,
    InitSuccessFields,
    Interrupted,
    InterruptedFields,
    Ping,
    ServerMessage,
    SpeechFinished,
    SpeechFinishedFields,
    StateChanged,
    StateChangedFields,
    VideoDescription,
    VideoFrame,
)

PROFILE = VideoProfile(preset="ultrafast")


@dataclass
class Manners:
    """How this server differs from a correct one."""

    refusal: ProtocolError | None = None
    close_code: int = 4404
    lost_frames: frozenset[int] = frozenset()
    """Encoded, but not sent, and without an IDR after them: what a broken server does."""
    stops_after_frames: int | None = None
    pauses_at_frame: int | None = None
    """There nothing is sent for ``pause_s``, as where a worker is lost."""
    pause_s: float = 0.0
    says_first: str | None = None
    """Raw text that comes before the first frame."""
    says_before_frame: dict[int, str] = field(default_factory=dict)
    """Raw texts that come later."""
    is_down: bool = False
    """A proxy answers in its place that it is not there."""
    refuses_speech: ProtocolError | None = None
    received: list[AnyClientMessage] = field(default_factory=list)


@dataclass
class _Utterance:
    id: str
    samples: int = 0
    shown: int = 0
    is_ended: bool = False

    @property
    def is_over(self) -> bool:
        return self.is_ended and self.shown == self.samples


class _Session:
    def __init__(self, socket: ServerConnection, manners: Manners) -> None:
        self.socket = socket
        self.manners = manners
        self.session_id: str | None = None
        self.utterances: list[_Utterance] = []
        self.position = 0
        self.chunks = 0

    async def send(self, message: ServerMessage) -> None:
        await self.socket.send(dump(message))

    async def stream(self) -> None:
        loop = asyncio.get_running_loop()
        encoder, origin_s, frame = Encoder(PROFILE), loop.time(), 0
        while frame != self.manners.stops_after_frames:
            await asyncio.sleep(origin_s + frame * FRAME_S - loop.time())
            if frame == self.manners.pauses_at_frame:
                await asyncio.sleep(self.manners.pause_s)
            if text := self.manners.says_before_frame.get(frame):
                await self.socket.send(text)
            position = await self._next_position()
            access_unit = encoder.encode(_picture(frame, is_speaking=position is not None))
            fields = FrameFields(
                frame_data=access_unit,
                frame_timestamp=frame_timestamp_ms(frame),
                keyframe=is_idr(access_unit),
                state="idle",
                base_video="idle_0",
            )
            if position is not None:
                stamp = audio_timestamp_ms(position)
                fields = msgspec.structs.replace(fields, audio_timestamp=stamp)
            if frame not in self.manners.lost_frames:
                await self.send(VideoFrame(session_id=self.session_id, data=fields))
            frame += 1
        await self.socket.close(4500)

    async def _next_position(self) -> int | None:
        """The position of the next frame's speech, None without any."""
        if not self.utterances:
            return None
        utterance = self.utterances[0]
        if utterance.is_over:
            await self._finish(self.utterances.pop(0), is_interrupted=False)
            return await self._next_position()
        shown = min(SAMPLES_PER_FRAME, utterance.samples - utterance.shown)
        utterance.shown += shown
        position, self.position = self.position, self.position + shown
        return position if shown else None

    async def _finish(self, utterance: "_Utterance", *, is_interrupted: bool) -> None:
        finished = SpeechFinishedFields(
            utterance_id=utterance.id,
            played_ms=audio_timestamp_ms(utterance.shown),
            interrupted=is_interrupted,
            frame_timestamp=0,
        )
        await self.send(SpeechFinished(session_id=self.session_id, data=finished))

    def _refusal(self, utterance_id: str | None) -> ProtocolError | None:
        number, self.chunks = self.chunks, self.chunks + 1
        if (refusal := self.manners.refuses_speech) is not None:
            refusal.details.update(chunk=number, utterance_id=utterance_id)
        return refusal

    def _queue(self, utterance_id: str, samples: int) -> None:
        if not self.utterances or self.utterances[-1].id != utterance_id:
            self.utterances.append(_Utterance(utterance_id))
        self.utterances[-1].samples += samples

    async def _interrupt(self) -> int:
        """End all utterances; returns how many samples were not shown."""
        dropped = sum(utterance.samples - utterance.shown for utterance in self.utterances)
        for utterance in self.utterances:
            await self._finish(utterance, is_interrupted=True)
        self.utterances.clear()
        self.position += dropped
        return dropped

    async def answer(self, message: AnyClientMessage) -> None:
        match message:
            case Generate(data=fields) if refusal := self._refusal(fields.utterance_id):
                await self.send(Error.of(refusal, self.session_id))
            case Generate(data=fields):
                samples = len(fields.audio_chunk.data) // BYTES_PER_SAMPLE
                self._queue(fields.utterance_id or "#1", samples)
            case EndOfSpeech() if self.utterances:
                self.utterances[-1].is_ended = True
            case StateChange(data=fields):
                changed = StateChangedFields(
                    current_state=fields.target_state, current_video=fields.base_video or "idle_0"
                )
                await self.send(StateChanged(session_id=self.session_id, data=changed))
            case Action(data=fields):
                triggered = ActionTriggeredFields(action_index=int(fields.action_index or 1))
                await self.send(ActionTriggered(session_id=self.session_id, data=triggered))
            case Interrupt():
                dropped_ms = audio_timestamp_ms(await self._interrupt())
                dropped = InterruptedFields(dropped_ms=dropped_ms)
                await self.send(Interrupted(session_id=self.session_id, data=dropped))
            case Close():
                ack = CloseAckFields(reason="client_request")
                await self.send(CloseAck(session_id=self.session_id, data=ack))
                await self.socket.close()
            case _:
                pass


def _picture(frame: int, *, is_speaking: bool) -> np.ndarray:
    picture = np.full((PROFILE.height * 3 // 2, PROFILE.width), 128, np.uint8)
    left = frame * 4 % (PROFILE.width - 16)
    picture[32:64, left : left + 16] = 60
    if is_speaking:
        picture[320:352, 240:272] = 235
    return picture


@asynccontextmanager
async def fake_avatar_server(given: Manners | None = None) -> AsyncIterator[str]:
    """Runs while the context does; gives its address."""
    manners = given or Manners()

    def refuse_other_paths(socket: ServerConnection, request: Request) -> Response | None:
        if manners.is_down:
            return socket.respond(HTTPStatus.BAD_GATEWAY, "the server does not answer\n")
        if request.path.startswith("/musetalk/v1/ws/") and "%" not in request.path:
            return None
        return socket.respond(HTTPStatus.FORBIDDEN, "no such stream\n")

    async def serve_one(socket: ServerConnection) -> None:
        session = _Session(socket, manners)
        streaming: asyncio.Task[None] | None = None
        try:
            async for text in socket:
                message = parse(str(text))
                manners.received.append(message)
                if isinstance(message, Init):
                    session.session_id = message.session_id
                    if manners.refusal:
                        await session.send(Error.of(manners.refusal, message.session_id))
                        ack = CloseAckFields(reason="error")
                        await session.send(CloseAck(session_id=message.session_id, data=ack))
                        await socket.close(manners.close_code)
                        return
                    await session.send(InitSuccess(session_id=message.session_id, data=_READY))
                    await session.send(Ping(session_id=message.session_id))
                    if manners.says_first:
                        await socket.send(manners.says_first)
                    streaming = asyncio.create_task(session.stream())
                else:
                    await session.answer(message)
        finally:
            if streaming:
                streaming.cancel()
                with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
                    await streaming

    async with serve(
        serve_one, "127.0.0.1", 0, process_request=refuse_other_paths, compression=None
    ) as server:
        host, port = next(iter(server.sockets)).getsockname()[:2]
        yield f"ws://{host}:{port}"


_READY = InitSuccessFields(
    model_loaded=True,
    available_videos=["idle_0"],
    default_video="idle_0",
    engine="fake",
    video=VideoDescription(codec="avc1.42C01E"),
)
