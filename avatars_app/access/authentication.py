"""A credential becomes a principal: an API key, or a token.

`principal_of` serves streams and the REST API alike. For the latter, a user who is logged in is a
principal as well.
"""

from http import HTTPStatus
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, AuthenticationFailed
from rest_framework.request import Request

from avatars_app.access import api_keys, jwt_tokens
from avatars_app.access.principal import (
    AccessDenied,
    CredentialUnchecked,
    Principal,
    Role,
    Source,
)
from avatars_app.models import ApiKey, User

_LEAST_ROLE: dict[str, Role] = {
    "avatars_app.add_avatar": "operator",
    "avatars_app.delete_avatar": "administrator",
    "streaming.end_sessionrecord": "operator",
}
"""The least role whose holders have a permission of Django's; no role has the others."""


def principal_of(credential: str) -> Principal:
    """Who sent a credential. Asks the database, and maybe an identity provider.

    Raises:
        AccessDenied: It is not good.
        CredentialUnchecked: The identity provider cannot be reached.
    """
    if credential.startswith(api_keys.MARK):
        return api_keys.read_key(credential)
    principal = jwt_tokens.read_token(credential)
    if principal.source is not None and withdrawn({principal.source}):
        raise AccessDenied("What this token was issued for was revoked.")
    return principal


def withdrawn(sources: set[Source]) -> set[Source]:
    """Those of ``sources`` that were revoked, or disabled."""
    keys = {source.id for source in sources if source.kind == "key"}
    users = {source.id for source in sources if source.kind == "user"}
    good = {
        Source("key", pk)
        for pk in ApiKey.objects.filter(pk__in=keys, revoked_at=None).values_list("pk", flat=True)
    } | {
        Source("user", pk)
        for pk in User.objects.filter(pk__in=users, is_active=True).values_list("pk", flat=True)
    }
    return sources - good


def principal_of_user(user: AbstractBaseUser | AnonymousUser) -> Principal | None:
    """Who is logged in; None: nobody."""
    if not isinstance(user, User) or not user.is_active:
        return None
    role: Role = "viewer"
    if user.is_superuser:
        role = "administrator"
    elif user.is_staff:
        role = "operator"
    avatars = None if role != "viewer" else frozenset({user.get_username()})
    return Principal(f"user:{user.pk}", role, avatars, source=Source("user", user.pk))


class TokenUser(AnonymousUser):
    """The holder of a credential, as Django's permissions see them."""

    def __init__(self, principal: Principal) -> None:
        super().__init__()
        self.principal = principal
        self.username = principal.subject  # type: ignore[assignment]  # as of real users
        self.is_staff = principal.is_at_least("operator")  # type: ignore[assignment]

    @property
    def is_authenticated(self) -> bool:  # type: ignore[override]  # as of real users
        return True

    @property
    def is_anonymous(self) -> bool:  # type: ignore[override]
        return False

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        least = _LEAST_ROLE.get(perm)
        return least is not None and self.principal.is_at_least(least)


class IdentityProviderAway(APIException):
    """A credential cannot be checked, which is no fault of its sender."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE


class BearerAuthentication(BaseAuthentication):
    """``Authorization: Bearer`` with an API key or a token."""

    def authenticate(self, request: Request) -> tuple[TokenUser, Principal] | None:
        kind, _, credential = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return None
        try:
            principal = principal_of(credential.strip())
        except AccessDenied as denied:
            raise AuthenticationFailed(str(denied)) from None
        except CredentialUnchecked as unchecked:
            raise IdentityProviderAway(str(unchecked)) from None
        return TokenUser(principal), principal

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def principal_of_request(request: Request) -> Principal | None:
    """Who sent a request; None: nobody known."""
    if isinstance(request.user, TokenUser):
        return request.user.principal
    return principal_of_user(request.user)


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # as it is
    """How the schema describes `BearerAuthentication`."""

    target_class = BearerAuthentication
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key, or a token; asked for where AUTH is on.",
        }
