"""The API of avatars: have one made, see how far it is, look at what there is."""

import logging
from collections.abc import Callable
from typing import Any, NoReturn

from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import NotFound, ParseError, PermissionDenied, Throttled
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from avatars_app import selectors, services
from avatars_app.access import holder_limits
from avatars_app.access.authentication import principal_of_request
from avatars_app.api.range_response import file_response
from avatars_app.api.serializers import (
    UPLOAD_THE_FILE,
    AvatarDetailSerializer,
    AvatarSerializer,
    PreparationSerializer,
    UploadSerializer,
    avatar_detail_of,
    avatar_of,
    preparation_of,
)
from avatars_app.exceptions import AvatarConflict, UploadTooLarge
from avatars_app.models import Avatar
from avatars_app.permissions import MayChangeAvatars, is_local, may_replace
from inference.assets.manifest import STATES
from inference.assets.mp4_export import clip_video, thumbnail
from inference.assets.names import NAME, NAME_PATTERN, NAME_RULE
from inference.errors import AvatarError

log = logging.getLogger(__name__)

USER_ID = OpenApiParameter(
    "user_id",
    {"type": "string", "pattern": f"^{NAME_PATTERN}$"},
    OpenApiParameter.PATH,
    description=f"{NAME_RULE}.",
)
WRONG = OpenApiResponse(description="The request is wrong; `detail` says what is allowed.")
FORBIDDEN = OpenApiResponse(description="Only this machine and staff may do this.")
NOT_FOUND = OpenApiResponse(description="There is no such avatar.")
CONFLICT = OpenApiResponse(description="One is being made for this user already, or is disabled.")
TOO_MANY = OpenApiResponse(
    description="More uploads, or preparations at a time, than a subject or an address may have; "
    "`Retry-After` says when to try again."
)
TRY_AGAIN_S = 30
"""A preparation takes a minute or two."""
TOO_LARGE = OpenApiResponse(description="Larger than MAX_UPLOAD_MB.")

_TAKEN = "This name has an avatar already, which only its owner may replace; choose another name."
_QUEUE_FULL = "Several avatars wait to be made; try again in a minute."
_BUSY = "An avatar is being made for this user: wait for it, or cancel it with DELETE."
_DISABLED = "This avatar is disabled: enable it in the admin first."


class NothingElse(BaseParser):
    """For any body that is no upload: it is not even read."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        raise ParseError(UPLOAD_THE_FILE)


# Docstrings of these classes would become descriptions in the schema.


class UploadThrottle(BaseThrottle):
    """How often a subject and an address may upload."""

    _wait_s = 0.0

    def allow_request(self, request: Request, view: APIView) -> bool:
        if request.method != "POST":
            return True
        refusal = holder_limits.spend(
            holder_limits.upload_charges(
                request.META.get("REMOTE_ADDR"), principal_of_request(request)
            )
        )
        self._wait_s = 0.0 if refusal is None else refusal.wait_s
        return refusal is None

    def wait(self) -> float:
        return self._wait_s


class AvatarView(APIView):
    permission_classes = (MayChangeAvatars,)
    parser_classes = (MultiPartParser, NothingElse)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        user_id = kwargs.get("user_id")
        if user_id is not None and not NAME.fullmatch(user_id):
            raise ParseError(f"user_id must be {NAME_RULE}.")

    def permission_denied(
        self, request: Request, message: str | None = None, code: str | None = None
    ) -> NoReturn:
        # The stock one tells who is not logged in no more than that.
        raise PermissionDenied(message, code)

    def receive(self, user_id: str, files: dict[str, Any]) -> Avatar:
        """Queue the upload; the refusal that fits if that cannot be."""
        principal = principal_of_request(self.request)
        try:
            avatar = services.avatar_receive(
                user_id=user_id,
                may_replace=may_replace(self.request),
                requested_by="" if principal is None else principal.subject,
                **files,
            )
        except services.TooManyPreparations as error:
            raise Throttled(TRY_AGAIN_S, str(error)) from None
        except services.AvatarTaken:
            raise PermissionDenied(_TAKEN) from None
        except services.QueueFull:
            raise AvatarConflict(_QUEUE_FULL) from None
        except services.AvatarBusy:
            raise AvatarConflict(_BUSY) from None
        except services.AvatarDisabled:
            raise AvatarConflict(_DISABLED) from None
        log.info("avatar %s: uploaded by %s", user_id, _sender(self.request))
        return avatar


def _sender(request: Request) -> str:
    """Who sent a request, for the log."""
    principal = principal_of_request(request)
    address = request.META.get("REMOTE_ADDR", "")
    return address if principal is None else f"{principal.subject} at {address}"


class PreparationView(AvatarView):
    throttle_classes = (UploadThrottle,)

    def get_serializer(self, *args: Any, **kwargs: Any) -> UploadSerializer:
        """Return the form of the browsable API."""
        return UploadSerializer(*args, **kwargs)

    @extend_schema(
        summary="Have an avatar made",
        description="Answers at once; the avatar is made in the background. Look at `status_url`.",
        parameters=[USER_ID],
        request={"multipart/form-data": UploadSerializer},
        responses={
            202: PreparationSerializer,
            400: WRONG,
            403: FORBIDDEN,
            409: CONFLICT,
            413: TOO_LARGE,
            429: TOO_MANY,
        },
    )
    def post(self, request: Request, user_id: str) -> Response:
        if "video_path" in request.query_params:
            raise ParseError(UPLOAD_THE_FILE)
        refuse_before_reading(request, user_id)
        form = UploadSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        avatar = self.receive(user_id, form.validated_data)
        answer = preparation_of(avatar, request)
        headers = {"Location": answer["status_url"]}
        return Response(PreparationSerializer(answer).data, status=202, headers=headers)

    @extend_schema(
        summary="How far a preparation is",
        parameters=[USER_ID],
        responses={200: PreparationSerializer, 400: WRONG, 404: NOT_FOUND},
    )
    def get(self, request: Request, user_id: str) -> Response:
        return Response(PreparationSerializer(preparation_of(_row(user_id), request)).data)

    @extend_schema(
        summary="Cancel a preparation, or remove the avatar",
        description="Cancels the preparation if one is under way: what was there before is there"
        " again. Otherwise removes the avatar with all that was sent for it.",
        parameters=[USER_ID],
        responses={
            204: OpenApiResponse(description="Done."),
            400: WRONG,
            403: FORBIDDEN,
            404: NOT_FOUND,
        },
    )
    def delete(self, request: Request, user_id: str) -> Response:
        avatar = _row(user_id)
        if services.avatar_cancel(avatar=avatar):
            log.info("avatar %s: preparation cancelled by %s", user_id, _sender(request))
        else:
            services.avatar_remove(avatar=avatar)
            log.info("avatar %s: removed by %s", user_id, _sender(request))
        return Response(status=204)


class AvatarsView(APIView):
    @extend_schema(summary="All avatars", responses=AvatarSerializer(many=True))
    def get(self, request: Request) -> Response:
        found = selectors.shown_avatars(with_disabled=bool(request.user.is_staff))
        shown = [avatar for avatar in found if _may_see(request, avatar)]
        answer = [avatar_of(avatar, request) for avatar in shown]
        return Response(AvatarSerializer(answer, many=True).data)


class AvatarDetailView(AvatarView):
    @extend_schema(
        summary="One avatar: its clips, preview and report",
        parameters=[USER_ID],
        responses={200: AvatarDetailSerializer, 400: WRONG, 404: NOT_FOUND},
    )
    def get(self, request: Request, user_id: str) -> Response:
        answer = avatar_detail_of(_shown(request, user_id), request)
        return Response(AvatarDetailSerializer(answer).data)


class AsTheyAre(BaseContentNegotiation):
    """Files have one form, whatever the client would rather have."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


Endpoint = Callable[..., HttpResponse]


def _file_schema(
    summary: str, media_type: str, *parameters: OpenApiParameter
) -> Callable[[Endpoint], Endpoint]:
    return extend_schema(
        summary=summary,
        parameters=[USER_ID, *parameters],
        responses={
            (200, media_type): OpenApiTypes.BINARY,
            (206, media_type): OpenApiTypes.BINARY,
            304: OpenApiResponse(description="As it was when you last asked."),
            400: WRONG,
            404: NOT_FOUND,
            416: OpenApiResponse(description="It is not that long."),
        },
    )


class FileView(AvatarView):
    content_negotiation_class = AsTheyAre

    def found(self, request: Request, user_id: str) -> tuple[Any, Any]:
        """Return the folder and the manifest of an avatar that has both."""
        shown = _shown(request, user_id)
        if shown.path is None or shown.manifest is None:
            raise NotFound("This avatar has no pictures yet.")
        return shown.path, shown.manifest

    def whole(self, request: Request, user_id: str, name: str, content_type: str) -> HttpResponse:
        """Return a file of the asset folder."""
        path, manifest = self.found(request, user_id)
        try:
            return file_response(
                request, path / name, content_type=content_type, version=manifest.version
            )
        except FileNotFoundError:
            raise NotFound("This avatar was not prepared here: it has no such file.") from None


class PreviewView(FileView):
    @_file_schema("A short video in which it speaks", "video/mp4")
    def get(self, request: Request, user_id: str) -> HttpResponse:
        return self.whole(request, user_id, "preview.mp4", "video/mp4")


class ReportPictureView(FileView):
    @_file_schema("A contact sheet of all clips", "image/png")
    def get(self, request: Request, user_id: str) -> HttpResponse:
        return self.whole(request, user_id, "report.png", "image/png")


class ThumbnailView(FileView):
    @_file_schema("The avatar at rest", "image/jpeg")
    def get(self, request: Request, user_id: str) -> HttpResponse:
        path, manifest = self.found(request, user_id)
        try:
            content = thumbnail(path, manifest)
        except AvatarError as error:
            raise NotFound(str(error)) from None
        return file_response(request, content, content_type="image/jpeg", version=manifest.version)


CLIP = OpenApiParameter(
    "clip",
    {"type": "string", "pattern": f"^({'|'.join(STATES)})_[0-9]{{1,2}}$"},
    OpenApiParameter.PATH,
    description="The name of one of its clips.",
)


class ClipView(FileView):
    @_file_schema("A clip as MP4", "video/mp4", CLIP)
    def get(self, request: Request, user_id: str, clip: str) -> HttpResponse:
        path, manifest = self.found(request, user_id)
        entry = next((entry for entry in manifest.clips if entry.name == clip), None)
        if entry is None:
            raise NotFound(f"It has the clips {', '.join(manifest.clip_names())}.")
        try:
            content = clip_video(path, manifest, entry)
        except AvatarError as error:
            raise NotFound(str(error)) from None
        return file_response(request, content, content_type="video/mp4", version=manifest.version)


def refuse_before_reading(request: Request, user_id: str | None) -> None:
    """Whatever can be refused before the body is taken apart."""
    limit_bytes = settings.MAX_UPLOAD_MB * 1_000_000
    length = request.META.get("CONTENT_LENGTH") or "0"
    if length.isdecimal() and int(length) > limit_bytes:
        raise UploadTooLarge(f"More than {settings.MAX_UPLOAD_MB} MB cannot be taken.")
    in_progress = Avatar.objects.filter(user_id=user_id, status__in=Avatar.IN_PROGRESS)
    if user_id is not None and in_progress.exists():
        raise AvatarConflict(_BUSY)


def _row(user_id: str) -> Avatar:
    avatar = Avatar.objects.filter(user_id=user_id).first()
    if avatar is None:
        raise NotFound(f"Nothing was sent for {user_id}.")
    return avatar


def _shown(request: Request, user_id: str) -> selectors.ShownAvatar:
    shown = selectors.shown_avatar(user_id, with_disabled=bool(request.user.is_staff))
    if shown is None or not _may_see(request, shown):
        raise NotFound(f"{user_id} has no avatar.")
    return shown


def _may_see(request: Request, shown: selectors.ShownAvatar) -> bool:
    """Whether a caller is shown an avatar; with LIST_AVATARS=false only its own and everybody's."""
    if settings.LIST_AVATARS or shown.is_shipped or shown.is_default:
        return True
    if is_local(request) or request.user.is_staff:
        return True
    principal = principal_of_request(request)
    return principal is not None and principal.may_open(shown.user_id)
