"""`POST /sessions/{session_id}/watch_tokens`: another token that lets others watch a session.

INIT_SUCCESS brings a token, which admits for an hour; the owner of a session that lasts longer asks
here for the next one. The session may be in any process of any machine that shares the database:
what a token says is in the session's record, and each of them can sign it.
"""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Q
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotAuthenticated, NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from avatars_app.access.authentication import principal_of_request
from streaming.gateway.resume_tokens import SignedTokens
from streaming.gateway.takeover import owner_of
from streaming.gateway.watch_tokens import VALID_S, SignedWatchTokens
from streaming.history import writer
from streaming.models import SessionRecord


class WatchTokenSerializer(serializers.Serializer[Any]):
    token = serializers.CharField(help_text="For `watch_token` in a watcher's INIT.")
    session_id = serializers.CharField()
    user_id = serializers.CharField(help_text="Watchers connect to the path of this user.")
    expires_in_s = serializers.IntegerField(help_text="Sooner, if the session ends.")


class WatchTokensView(APIView):
    @extend_schema(
        summary="A token that lets others watch a session",
        description=(
            "For the session's owner, by the credential that opened it, while `AUTH` is on. The "
            "session must have been opened with `allow_watchers`. Any number may watch with one "
            "token, as many at once as `MAX_WATCHERS` says."
        ),
        request=None,
        parameters=[OpenApiParameter("session_id", OpenApiTypes.UUID, OpenApiParameter.PATH)],
        responses={
            201: WatchTokenSerializer,
            401: OpenApiResponse(description="There is no good credential."),
            404: OpenApiResponse(
                description="AUTH is off, or no session of the caller's has this id."
            ),
        },
    )
    def post(self, request: Request, session_id: str) -> Response:
        if not settings.AUTH:
            raise NotFound(
                "With AUTH off there is one token, in INIT_SUCCESS of a session opened with "
                "allow_watchers."
            )
        principal = principal_of_request(request)
        if principal is None:
            raise NotAuthenticated("Send the session's own credential as Authorization: Bearer.")
        record = _find(session_id, principal.subject)
        if record is None or record.watchable_since is None:
            raise NotFound(
                "You have no session of this id that may be watched: open it with allow_watchers, "
                "and ask with the same credential."
            )
        owner = owner_of(record.user_id, record.subject)
        opening = SignedTokens(owner, record.watchable_since.timestamp())
        answer = {
            "token": SignedWatchTokens(opening).issue(record.session_id),
            "session_id": record.session_id,
            "user_id": record.user_id,
            "expires_in_s": VALID_S,
        }
        return Response(WatchTokenSerializer(answer).data, status=201)


def _find(session_id: str, subject: str) -> SessionRecord | None:
    try:
        wanted = UUID(session_id)
    except ValueError:
        return None
    record = _watchable(wanted, subject)
    if record is None:
        writer.writer.refresh_all()  # it may have been opened this very second
        record = _watchable(wanted, subject)
    return record


def _watchable(session_id: UUID, subject: str) -> SessionRecord | None:
    """Return the live session of this id, if it is the subject's and may be watched."""
    return SessionRecord.objects.filter(
        Q(session_id__iexact=str(session_id)) | Q(session_id__iexact=session_id.hex),
        subject=subject,
        ended_at=None,
        watchable_since__isnull=False,
        process__is_stopped=False,
        process__heartbeat_at__gte=writer.lost_before(),
    ).first()
