"""What can be asked over HTTP: is the service ready, and who is connected.

`/health` answers from memory, so that it tells of trouble with the database instead of sharing it.
`/sessions` reads what all processes write down.
"""

from collections import Counter
from typing import Any

import msgspec
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from avatars_app.permissions import is_local
from inference.timing import audio_timestamp_ms
from streaming.history import writer
from streaming.models import GatewayProcess, SessionRecord
from streaming.web.health import health


class WorkerHealthSerializer(serializers.Serializer[Any]):
    engine = serializers.CharField()
    is_ready = serializers.BooleanField()
    message = serializers.CharField(help_text="What hinders it, or what else it does.")
    is_late = serializers.BooleanField(help_text="Its frames are late: it is sent no sessions.")
    is_full = serializers.BooleanField(help_text="All its places to speak are taken.")
    sessions = serializers.IntegerField()
    speaking = serializers.IntegerField(help_text="Sessions of it that speak now.")


class HealthSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(["ready", "loading", "degraded"])
    message = serializers.CharField(help_text="For people.")
    services = serializers.DictField(child=serializers.BooleanField())
    models_loaded = serializers.BooleanField(help_text="Lip-sync is ready.")
    engine = serializers.CharField(allow_null=True, help_text="The lip-sync engine, if known.")
    version = serializers.CharField(help_text="Of the server.")
    workers = WorkerHealthSerializer(
        many=True,
        help_text="The worker of the process that answers, or all those that run apart.",
    )


class HealthView(APIView):
    authentication_classes = ()
    permission_classes = ()

    @extend_schema(responses=HealthSerializer, summary="Is the service ready?")
    def get(self, request: Request) -> Response:
        return Response(msgspec.to_builtins(health()))


class SessionSerializer(serializers.Serializer[Any]):
    user_id = serializers.CharField()
    status = serializers.ChoiceField(
        ["streaming", "waiting"], help_text="`waiting`: no worker has the session just now."
    )
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField(help_text="When the client last sent something.")
    frames_generated = serializers.IntegerField()
    frames_dropped = serializers.IntegerField(help_text="Left out for a client that is too slow.")
    total_audio_ms = serializers.IntegerField(help_text="Speech accepted so far.")
    queued_audio_ms = serializers.IntegerField(help_text="Of it, not yet shown.")
    worker = serializers.CharField(allow_null=True)


class AvatarStatsSerializer(serializers.Serializer[Any]):
    streaming = serializers.IntegerField(help_text="Sessions that a worker has.")
    waiting = serializers.IntegerField(help_text="Sessions that wait for one.")
    workers_lost = serializers.IntegerField()


class AudioStatsSerializer(serializers.Serializer[Any]):
    total_ms = serializers.IntegerField()


class VideoStatsSerializer(serializers.Serializer[Any]):
    frames_sent = serializers.IntegerField()
    frames_dropped = serializers.IntegerField()
    total_bytes = serializers.IntegerField()


class ConnectionStatsSerializer(serializers.Serializer[Any]):
    open = serializers.IntegerField()
    total = serializers.IntegerField(help_text="Since the processes started.")


class StatsSerializer(serializers.Serializer[Any]):
    avatar = AvatarStatsSerializer()
    audio = AudioStatsSerializer()
    video = VideoStatsSerializer()
    connections = ConnectionStatsSerializer()
    errors = serializers.DictField(  # type: ignore[assignment]  # the name that clients know
        child=serializers.IntegerField(), help_text="By code."
    )


class SessionsSerializer(serializers.Serializer[Any]):
    active_sessions = serializers.DictField(child=SessionSerializer(), help_text="By session_id.")
    stats = StatsSerializer()


class SessionsView(APIView):
    @extend_schema(
        responses=SessionsSerializer,
        summary="The sessions of all processes",
        auth=[],
        description=(
            "Sums for everybody; the sessions themselves for this machine and for staff who are "
            "logged in, since a session's id lets its user's next connection take it over. This "
            "machine reports its sessions as they are now, others as of ten seconds ago."
        ),
    )
    def get(self, request: Request) -> Response:
        writer.writer.refresh_all()
        processes = list(
            GatewayProcess.objects.filter(is_stopped=False, heartbeat_at__gte=writer.lost_before())
        )
        live = SessionRecord.objects.filter(ended_at=None, process__in=processes)
        live = live.order_by("recorded_at")  # of a session that moved, the newest counts
        sessions = {record.session_id: _described(record) for record in live}
        is_trusted = is_local(request) or bool(request.user.is_staff)
        answer = {
            "active_sessions": sessions if is_trusted else {},
            "stats": _stats(processes, sessions),
        }
        return Response(SessionsSerializer(answer).data)


def _described(record: SessionRecord) -> dict[str, Any]:
    return {
        "user_id": record.user_id,
        "status": "waiting" if record.is_waiting else "streaming",
        "created_at": record.started_at,
        "updated_at": record.last_message_at,
        "frames_generated": record.frames,
        "frames_dropped": record.frames_dropped,
        "total_audio_ms": record.speech_ms,
        "queued_audio_ms": record.queued_ms,
        "worker": record.worker or None,
    }


def _stats(processes: list[GatewayProcess], sessions: dict[str, dict[str, Any]]) -> dict[str, Any]:
    states = [described["status"] for described in sessions.values()]
    errors: Counter[str] = Counter()
    for process in processes:
        errors.update(process.errors)

    def total(name: str) -> int:
        return sum(getattr(process, name) for process in processes)

    return {
        "avatar": {
            "streaming": states.count("streaming"),
            "waiting": states.count("waiting"),
            "workers_lost": total("workers_lost"),
        },
        "audio": {"total_ms": audio_timestamp_ms(total("samples"))},
        "video": {
            "frames_sent": total("frames_sent"),
            "frames_dropped": total("frames_dropped"),
            "total_bytes": total("video_bytes"),
        },
        "connections": {"open": total("connections_open"), "total": total("connections_ever")},
        "errors": dict(errors),
    }
