"""What the client of an open session asks for: is it possible, and what is it told."""

from inference.timing import BYTES_PER_SAMPLE, SAMPLE_RATE_HZ, audio_timestamp_ms
from streaming.protocol import server_messages as told
from streaming.protocol.client_messages import Action, Generate, Interrupt, SpeechChunk, StateChange
from streaming.protocol.errors import ProtocolError
from streaming.session.clip_choice import clip_named, first_clip
from streaming.session.effects import EffectQueue
from streaming.session.metrics import SessionMetrics
from streaming.session.worker_link import WorkerLink


class ClientRequests:
    """Of one session, from its opening to its end."""

    def __init__(
        self,
        *,
        session_id: str,
        link: WorkerLink,
        outbox: EffectQueue,
        metrics: SessionMetrics,
        max_queued_speech_s: float,
    ) -> None:
        self._session_id = session_id
        self._link = link
        self._outbox = outbox
        self._metrics = metrics
        self._max_queued_speech_s = max_queued_speech_s

    def receive(self, message: Generate | StateChange | Action | Interrupt, now_s: float) -> None:
        """Do it, or raise a ProtocolError that says why not."""
        match message:
            case Generate():
                self._generate(message)
            case StateChange():
                self._change_state(message)
            case Action():
                self._act(message)
            case Interrupt():
                self._link.interrupt(now_s)

    def _generate(self, message: Generate) -> None:
        wanted = message.data.video_state
        clip = None
        if wanted is not None and wanted.base_video is not None:
            clip = clip_named(self._link.avatar, wanted.base_video).name
        elif wanted is not None:
            clip = first_clip(self._link.avatar, wanted.type).name
        self._accept_speech(message.data.audio_chunk, clip)

    def _accept_speech(self, chunk: SpeechChunk, clip: str | None) -> None:
        samples = len(chunk.data) // BYTES_PER_SAMPLE
        limit_s = self._max_queued_speech_s
        if self._link.window.queued + samples > limit_s * SAMPLE_RATE_HZ:
            queued_ms, limit_ms = audio_timestamp_ms(self._link.window.queued), int(limit_s * 1_000)
            raise ProtocolError(
                "RATE_LIMIT_EXCEEDED",
                f"{queued_ms} ms of speech wait to be shown and at most {limit_ms} may; this chunk "
                "was not taken: send it again when some of them are shown.",
                queued_ms=queued_ms,
                limit_ms=limit_ms,
            )
        self._metrics.samples += samples
        self._link.accept_speech(chunk.data, clip)

    def _change_state(self, message: StateChange) -> None:
        state, name = message.data.target_state, message.data.base_video
        if name is None:
            clip = first_clip(self._link.avatar, state)
        else:
            clip = clip_named(self._link.avatar, name)
            if not name.startswith(state):
                raise ProtocolError(
                    "INVALID_MESSAGE",
                    f"{name} is no clip of state {state}: let base_video and target_state agree.",
                )
        self._link.change_clip(clip)
        self._outbox.to_client(
            told.StateChanged(
                session_id=self._session_id,
                data=told.StateChangedFields(current_state=clip.state, current_video=clip.name),
            )
        )

    def _act(self, message: Action) -> None:
        wanted = message.data
        if self._link.has_action:
            raise ProtocolError(
                "INVALID_MESSAGE", "An action is running; the next one may follow its last frame."
            )
        clip = clip_named(self._link.avatar, f"action_{wanted.index}")
        self._link.start_action(clip, wanted.form)
        self._outbox.to_client(
            told.ActionTriggered(
                session_id=self._session_id,
                data=told.ActionTriggeredFields(action_index=wanted.index),
            )
        )
        if wanted.audio_chunk is not None:
            self._accept_speech(wanted.audio_chunk, None)
