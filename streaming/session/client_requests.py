"""What the client of an open session requests: whether it is possible, and the answer."""

from inference.assets.clip_index import ClipRequest
from streaming.protocol.client_messages import (
    Action,
    EndOfSpeech,
    Generate,
    Interrupt,
    StateChange,
    UserSpeaking,
    VideoState,
)
from streaming.protocol.errors import ProtocolError
from streaming.protocol.server_messages import (
    ActionTriggered,
    ActionTriggeredFields,
    StateChanged,
    StateChangedFields,
)
from streaming.session.clip_choice import Clip, clip_named, first_clip
from streaming.session.context import SessionContext
from streaming.session.session_speech import SessionSpeech
from streaming.session.worker_link import WorkerLink

Request = Generate | EndOfSpeech | StateChange | Action | UserSpeaking | Interrupt

ANY_CLIP = "any"
"""As ``base_video``: the server picks the clips."""


class ClientRequests:
    """Fulfills the requests of one session."""

    def __init__(self, context: SessionContext, link: WorkerLink, speech: SessionSpeech) -> None:
        self._context = context
        self._link = link
        self._speech = speech

    def receive(self, message: Request, now_s: float) -> None:
        """Fulfill a request.

        Args:
            message: A message of the client, already checked by `connection_state.check`.
            now_s: When it came.

        Raises:
            ProtocolError: It cannot be fulfilled; says why.
        """
        match message:
            case Generate():
                self._generate(message, now_s)
            case EndOfSpeech():
                self._speech.end_of_speech(message.data.utterance_id if message.data else None)
                self._link.flush_speech()
            case StateChange():
                self._change_state(message)
            case Action():
                self._act(message, now_s)
            case UserSpeaking():
                self._link.change_listening(is_active=message.data.active)
            case Interrupt(data=data):
                number = None if data is None or data.number is None else int(data.number)
                self._link.interrupt(now_s, number)

    def _generate(self, message: Generate, now_s: float) -> None:
        data = message.data
        request = None if data.video_state is None else self._requested_clip(data.video_state)
        self._speech.accept(data.audio_chunk, data.utterance_id, request, now_s)
        self._link.flush_speech()

    def _requested_clip(self, wanted: VideoState) -> ClipRequest:
        """Return the clip under an utterance.

        The state's first clip counts as not chosen: known clients send it with every chunk without
        meaning it.
        """
        first = first_clip(self._link.avatar, wanted.type)
        if wanted.base_video in (None, ANY_CLIP):
            return ClipRequest(first.name, is_chosen=False)
        clip = clip_named(self._link.avatar, wanted.base_video)
        return ClipRequest(clip.name, is_chosen=clip != first)

    def _change_state(self, message: StateChange) -> None:
        state, name = message.data.target_state, message.data.base_video
        is_chosen = name not in (None, ANY_CLIP)
        clip = first_clip(self._link.avatar, state)
        if name is not None and is_chosen:
            clip = clip_named(self._link.avatar, name)
            if not name.startswith(state):
                raise ProtocolError(
                    "INVALID_MESSAGE",
                    f"{name} is no clip of state {state}: let base_video and target_state agree.",
                )
        self._link.change_clip(ClipRequest(clip.name, is_chosen=is_chosen))
        self._answer_state(clip)

    def _answer_state(self, clip: Clip) -> None:
        self._context.outbox.to_client(
            StateChanged(
                session_id=self._context.session_id,
                data=StateChangedFields(current_state=clip.state, current_video=clip.name),
            )
        )

    def _act(self, message: Action, now_s: float) -> None:
        wanted = message.data
        if self._link.has_action:
            raise ProtocolError(
                "INVALID_MESSAGE", "An action is running; the next one may follow its last frame."
            )
        clip = clip_named(self._link.avatar, f"action_{wanted.index}")
        self._link.start_action(clip.name, wanted.form)
        self._context.outbox.to_client(
            ActionTriggered(
                session_id=self._context.session_id,
                data=ActionTriggeredFields(action_index=wanted.index),
            )
        )
        if wanted.audio_chunk is not None:
            self._speech.accept(wanted.audio_chunk, wanted.utterance_id, None, now_s)
            self._link.flush_speech()
