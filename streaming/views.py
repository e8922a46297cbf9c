"""What can be asked over HTTP: is the service ready, and who is connected.

Both answer from memory, without the database, so that they tell of trouble instead of sharing it.
"""

from typing import Any

import msgspec
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from inference.timing import audio_timestamp_ms
from streaming.health import health
from streaming.link import LinkState, WorkerLink
from streaming.live import Connection, registry


class HealthSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(["ready", "loading", "degraded"])
    message = serializers.CharField(help_text="For people.")
    services = serializers.DictField(child=serializers.BooleanField())
    models_loaded = serializers.BooleanField(help_text="Lip-sync is ready.")
    engine = serializers.CharField(allow_null=True, help_text="The lip-sync engine, if known.")


class HealthView(APIView):
    authentication_classes = ()

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
    total = serializers.IntegerField(help_text="Since the start of this process.")


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
    authentication_classes = ()

    @extend_schema(responses=SessionsSerializer, summary="The sessions of this process")
    def get(self, request: Request) -> Response:
        connections = list(registry)
        sessions = {
            connection.session.session_id: _described(connection, link)
            for connection in connections
            if (link := connection.session.link) is not None and link.state is not LinkState.ENDED
        }
        states = [described["status"] for described in sessions.values()]
        counters = registry.counters()
        stats = {
            "avatar": {
                "streaming": states.count("streaming"),
                "waiting": states.count("waiting"),
                "workers_lost": counters.workers_lost,
            },
            "audio": {"total_ms": audio_timestamp_ms(counters.samples)},
            "video": {
                "frames_sent": counters.frames_sent,
                "frames_dropped": counters.frames_held_back,
                "total_bytes": counters.video_bytes,
            },
            "connections": {"open": len(connections), "total": registry.connections_ever},
            "errors": dict(counters.errors),
        }
        answer = SessionsSerializer({"active_sessions": sessions, "stats": stats})
        return Response(answer.data)


def _described(connection: Connection, link: WorkerLink) -> dict[str, Any]:
    session, worker = connection.session, link.worker
    return {
        "user_id": session.user_id,
        "status": "waiting" if worker is None else "streaming",
        "created_at": connection.opened_at,
        "updated_at": connection.heard_at,
        "frames_generated": session.counters.frames_sent,
        "frames_dropped": session.counters.frames_held_back,
        "total_audio_ms": audio_timestamp_ms(session.counters.samples),
        "queued_audio_ms": audio_timestamp_ms(link.window.queued),
        "worker": None if worker is None else worker.worker,
    }
