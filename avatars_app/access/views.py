"""`POST /tokens`: a short-lived token for streams."""

from typing import Any

from django.conf import settings
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotAuthenticated, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from avatars_app.access.authentication import principal_of_request
from avatars_app.access.jwt_tokens import issue_token
from avatars_app.access.principal import Principal
from inference.assets.names import NAME

MAX_LIFETIME_S = 3_600


class TokenRequestSerializer(serializers.Serializer[Any]):
    user_id = serializers.RegexField(
        rf"\A{NAME.pattern}\Z", help_text="Whose avatar the stream is to show."
    )
    lifetime_s = serializers.IntegerField(
        min_value=1,
        max_value=MAX_LIFETIME_S,
        required=False,
        help_text="For how long streams can be opened with it.",
    )


class TokenSerializer(serializers.Serializer[Any]):
    token = serializers.CharField(help_text="For `auth_token` in INIT.")
    user_id = serializers.CharField()
    expires_in_s = serializers.IntegerField()


class TokensView(APIView):
    @extend_schema(
        summary="A short-lived token for a stream",
        description=(
            "For logged-in users (with the CSRF token of the page) and for holders of an API "
            "key: a back end asks for a token and hands it to its user's browser, which puts it "
            "into INIT as `auth_token`. The token ends with the key or the account."
        ),
        request=TokenRequestSerializer,
        responses={
            201: TokenSerializer,
            401: OpenApiResponse(description="Nobody is logged in, and there is no good key."),
            403: OpenApiResponse(description="Not for this user_id, or asked for with a token."),
        },
    )
    def post(self, request: Request) -> Response:
        principal = principal_of_request(request)
        if principal is None:
            raise NotAuthenticated("Log in, or send an API key as Authorization: Bearer.")
        if principal.is_by_token:
            raise PermissionDenied(
                "A token cannot be exchanged for another one; ask with the API key, or log in."
            )
        form = TokenRequestSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        user_id = form.validated_data["user_id"]
        if not principal.may_open(user_id):
            raise PermissionDenied(f"You may not open streams of {user_id}.")
        lifetime_s = form.validated_data.get("lifetime_s", settings.STREAM_TOKEN_S)
        bearer = Principal(
            f"{principal.subject}/{user_id}",
            "viewer",
            frozenset({user_id}),
            source=principal.source,
        )
        token = issue_token(bearer, lifetime_s=lifetime_s)
        answer = {"token": token, "user_id": user_id, "expires_in_s": lifetime_s}
        return Response(TokenSerializer(answer).data, status=201)
