"""The addresses that older clients use, in the shapes that they expect.

Their error answers carry ``error`` beside the problem details. Their pages ask for the status until
it is not a success any more, so a preparation that failed is answered with 422.
"""

import uuid
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from avatars_app import selectors
from avatars_app.api.views import (
    CONFLICT,
    FORBIDDEN,
    NOT_FOUND,
    TOO_LARGE,
    TOO_MANY,
    USER_ID,
    WRONG,
    AvatarView,
    UploadThrottle,
    refuse_before_reading,
)
from avatars_app.exceptions import PreparationFailed
from avatars_app.models import Avatar
from inference.assets.names import NAME, NAME_RULE

ESTIMATED_TIME_S = 90
"""For half a minute of video on two cores."""


class LegacyUploadSerializer(serializers.Serializer[Any]):
    file = serializers.FileField(help_text="A video of one person.")
    user_id = serializers.RegexField(
        rf"\A{NAME.pattern}\Z",
        required=False,
        error_messages={"invalid": f"user_id must be {NAME_RULE}."},
        help_text="Whose avatar; without it, a new name.",
    )

    def validate_file(self, file: "UploadedFile[Any]") -> "UploadedFile[Any]":
        if (file.content_type or "").startswith("audio/"):
            raise serializers.ValidationError("This is sound: send a video of one person.")
        return file


class LegacyUploadAnswerSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(["processing"])
    user_id = serializers.CharField()
    message = serializers.CharField()
    estimated_time = serializers.IntegerField(help_text="Seconds.")


class LegacyStatusSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(["processing", "completed"])
    user_id = serializers.CharField()
    message = serializers.CharField()
    stage = serializers.CharField()
    progress = serializers.IntegerField(help_text="Percent.")
    avatar_videos = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="Its clips, once it is completed."
    )
    processing_time = serializers.FloatField(
        required=False, help_text="Seconds that it took, where it was made here."
    )
    available_for_testing = serializers.BooleanField(
        required=False, help_text="Whether a stream can show it, once it is completed."
    )


class LegacyView(AvatarView):
    def handle_exception(self, exc: Exception) -> Response:
        response = super().handle_exception(exc)
        if isinstance(response.data, dict):
            response.data["error"] = response.data.get("detail", "")
        return response


class UploadVideoView(LegacyView):
    throttle_classes = (UploadThrottle,)

    @extend_schema(
        summary="Have an avatar made (for older clients)",
        description="As `POST /prepare_avatar/{user_id}`.",
        request={"multipart/form-data": LegacyUploadSerializer},
        responses={
            200: LegacyUploadAnswerSerializer,
            400: WRONG,
            403: FORBIDDEN,
            409: CONFLICT,
            413: TOO_LARGE,
            429: TOO_MANY,
        },
    )
    def post(self, request: Request) -> Response:
        refuse_before_reading(request, None)
        form = LegacyUploadSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        user_id = form.validated_data.get("user_id") or f"user_{uuid.uuid4().hex[:12]}"
        files = {"kind": "video", "files": {"video": form.validated_data["file"]}}
        self.receive(user_id, files)
        answer = {
            "status": "processing",
            "user_id": user_id,
            "message": f"The avatar is being made; ask /processing_status/{user_id}.",
            "estimated_time": ESTIMATED_TIME_S,
        }
        return Response(LegacyUploadAnswerSerializer(answer).data)


class ProcessingStatusView(LegacyView):
    @extend_schema(
        summary="How far a preparation is (for older clients)",
        parameters=[USER_ID],
        responses={
            200: LegacyStatusSerializer,
            400: WRONG,
            404: NOT_FOUND,
            422: OpenApiResponse(description="It cannot be made; `detail` says why."),
        },
    )
    def get(self, request: Request, user_id: str) -> Response:
        avatar = Avatar.objects.filter(user_id=user_id).first()
        if avatar is None:
            raise NotFound(f"Nothing was sent for {user_id}.")
        if avatar.error and not avatar.is_in_progress:
            raise PreparationFailed(avatar.error)
        answer = {
            "status": "processing" if avatar.is_in_progress else "completed",
            "user_id": user_id,
            "message": "The avatar is being made."
            if avatar.is_in_progress
            else "The avatar is ready.",
            "stage": avatar.stage,
            "progress": avatar.percent,
        }
        if not avatar.is_in_progress:
            answer |= _completed(avatar)
        return Response(LegacyStatusSerializer(answer).data)


def _completed(avatar: Avatar) -> dict[str, Any]:
    """What is said besides of an avatar that is ready or disabled."""
    shown = selectors.shown_avatar(avatar.user_id, with_disabled=True)
    manifest = None if shown is None else shown.manifest
    answer: dict[str, Any] = {
        "avatar_videos": [] if manifest is None else manifest.clip_names(),
        "available_for_testing": manifest is not None and avatar.status == Avatar.Status.READY,
    }
    if avatar.started_at is not None and avatar.heartbeat_at is not None:
        took = avatar.heartbeat_at - avatar.started_at
        answer["processing_time"] = round(took.total_seconds(), 1)
    return answer
