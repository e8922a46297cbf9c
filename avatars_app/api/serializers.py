"""What the API takes and tells of avatars."""

from pathlib import PurePath
from typing import Any

from rest_framework import serializers
from rest_framework.reverse import reverse

from avatars_app import selectors
from avatars_app.models import Avatar
from avatars_app.uploads import storage
from inference.timing import FRAME_MS

UPLOAD_THE_FILE = (
    "Upload the file itself, as multipart/form-data with one of the fields video, image or clips:"
    " the server opens no paths or addresses from requests."
)


class UploadSerializer(serializers.Serializer[Any]):
    """Exactly one of the three."""

    video = serializers.FileField(
        required=False, help_text="A video of one person, 2 to 300 s; 20 to 30 s are best."
    )
    image = serializers.FileField(required=False, help_text="A picture of one person.")
    clips = serializers.ListField(
        child=serializers.FileField(),
        required=False,
        max_length=len(storage.CLIP_NAMES),
        help_text="Videos named after the standard clips: idle_0.mp4 ... action_2.mp4.",
    )

    def validate_clips(self, files: list[Any]) -> dict[str, Any]:
        clips: dict[str, Any] = {}
        for file in files:
            clip = PurePath(file.name or "").stem
            if clip not in storage.CLIP_NAMES:
                raise serializers.ValidationError(
                    "Name each file after a standard clip: idle_0 to idle_6, speaking_0 to"
                    " speaking_7, action_1 or action_2."
                )
            if clip in clips:
                raise serializers.ValidationError(f"There are two files for {clip}.")
            clips[clip] = file
        return clips

    def validate(self, fields: dict[str, Any]) -> dict[str, Any]:
        kinds = [kind for kind in storage.KINDS if fields.get(kind)]
        if not kinds:
            raise serializers.ValidationError(UPLOAD_THE_FILE)
        if len(kinds) > 1:
            raise serializers.ValidationError(f"Send only one of {' and '.join(kinds)}.")
        (kind,) = kinds
        sent = fields[kind]
        return {"kind": kind, "files": sent if kind == "clips" else {kind: sent}}


class PreparationErrorSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(help_text="A word for programs.")
    message = serializers.CharField(help_text="A sentence for people, with what to do.")


class PreparationSerializer(serializers.Serializer[Any]):
    user_id = serializers.CharField()
    status = serializers.ChoiceField(
        Avatar.Status.choices,
        help_text="`ready` with an error: the last preparation failed, and the avatar that was"
        " there before is still shown.",
    )
    stage = serializers.CharField(help_text="What is being done now; empty if nothing is.")
    percent = serializers.IntegerField(min_value=0, max_value=100)
    error = PreparationErrorSerializer(allow_null=True)
    report = serializers.DictField(
        allow_null=True, help_text="How good the avatar is, once it is ready."
    )
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    status_url = serializers.URLField(help_text="Where to look again.")
    avatar_url = serializers.URLField(help_text="The avatar, once it is ready.")


class AvatarSerializer(serializers.Serializer[Any]):
    user_id = serializers.CharField()
    status = serializers.ChoiceField(Avatar.Status.choices)
    is_default = serializers.BooleanField(help_text="Shown to users who have none of their own.")
    is_shipped = serializers.BooleanField(help_text="It came with the server.")
    version = serializers.CharField(help_text="Changes whenever its pictures do.")
    url = serializers.URLField()
    thumbnail = serializers.URLField(allow_null=True)


class ClipSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    title = serializers.CharField(help_text="What it shows, for people; may be empty.")
    state = serializers.ChoiceField(["idle", "speaking", "action"])
    frames = serializers.IntegerField()
    duration_ms = serializers.IntegerField()
    video = serializers.URLField(help_text="The clip as an MP4.")


class AvatarDetailSerializer(AvatarSerializer):
    clips = ClipSerializer(many=True)
    preview = serializers.URLField(
        allow_null=True, help_text="A short MP4 in which it speaks, if it was prepared here."
    )
    report_picture = serializers.URLField(
        allow_null=True, help_text="A contact sheet of all clips, if it was prepared here."
    )
    report = serializers.DictField(help_text="What was found when it was prepared.")


def preparation_of(avatar: Avatar, request: Any) -> dict[str, Any]:
    """For `PreparationSerializer`."""
    error = {"reason": avatar.error_reason, "message": avatar.error} if avatar.error else None
    manifest = None if avatar.is_in_progress else selectors.manifest_of(avatar.folder)
    return {
        "user_id": avatar.user_id,
        "status": avatar.status,
        "stage": avatar.stage,
        "percent": avatar.percent,
        "error": error,
        "report": None if manifest is None else manifest.report,
        "created_at": avatar.created_at,
        "updated_at": avatar.updated_at,
        "status_url": reverse("prepare-avatar", (avatar.user_id,), request=request),
        "avatar_url": reverse("avatar", (avatar.user_id,), request=request),
    }


def avatar_of(shown: selectors.ShownAvatar, request: Any) -> dict[str, Any]:
    """For `AvatarSerializer`."""
    return {
        "user_id": shown.user_id,
        "status": shown.status,
        "is_default": shown.is_default,
        "is_shipped": shown.is_shipped,
        "version": "" if shown.manifest is None else shown.manifest.version,
        "url": reverse("avatar", (shown.user_id,), request=request),
        "thumbnail": _file_of(shown, "avatar-thumbnail", request) if shown.manifest else None,
    }


def avatar_detail_of(shown: selectors.ShownAvatar, request: Any) -> dict[str, Any]:
    """For `AvatarDetailSerializer`."""
    manifest = shown.manifest
    has_preview = shown.path is not None and (shown.path / "preview.mp4").is_file()
    has_picture = shown.path is not None and (shown.path / "report.png").is_file()
    return {
        **avatar_of(shown, request),
        "clips": [
            {
                "name": clip.name,
                "title": clip.title,
                "state": clip.state,
                "frames": clip.frames,
                "duration_ms": clip.frames * FRAME_MS,
                "video": _file_of(shown, "avatar-clip", request, clip.name),
            }
            for clip in (manifest.clips if manifest else ())
        ],
        "preview": _file_of(shown, "avatar-preview", request) if has_preview else None,
        "report_picture": _file_of(shown, "avatar-report", request) if has_picture else None,
        "report": manifest.report if manifest else {},
    }


def _file_of(shown: selectors.ShownAvatar, view: str, request: Any, *args: str) -> str:
    return reverse(view, (shown.user_id, *args), request=request)
