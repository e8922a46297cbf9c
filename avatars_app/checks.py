"""What `manage.py check --deploy` has to say of avatars."""

from typing import Any

from django.conf import settings
from django.core.checks import Warning as CheckWarning
from django.core.checks import register

from avatars_app.permissions import is_for_this_machine_alone


@register("security", deploy=True)
def streams_ask_who_opens_them(app_configs: Any, **kwargs: Any) -> list[CheckWarning]:
    if settings.AUTH or is_for_this_machine_alone(settings.HOST):
        return []
    return [
        CheckWarning(
            "AUTH is false: everybody who reaches this server may open streams.",
            hint="Set AUTH=true (docs/access.md), or let a proxy before this server ask.",
            id="avatars.W002",
        )
    ]


@register("security", deploy=True)
def tokens_are_for_this_server(app_configs: Any, **kwargs: Any) -> list[CheckWarning]:
    has_provider = settings.AUTH_JWKS_URL or settings.AUTH_PUBLIC_KEY
    if not (settings.AUTH and has_provider) or settings.AUTH_AUDIENCE:
        return []
    return [
        CheckWarning(
            "AUTH_AUDIENCE is empty: a token that the identity provider issued for another service "
            "opens streams here.",
            hint="Set AUTH_AUDIENCE to what the tokens for this server say in `aud`.",
            id="avatars.W003",
        )
    ]


@register("security", deploy=True)
def uploads_are_not_open(app_configs: Any, **kwargs: Any) -> list[CheckWarning]:
    if not settings.OPEN_UPLOADS:
        return []
    return [
        CheckWarning(
            "OPEN_UPLOADS is true: everybody who reaches this server may upload new avatars.",
            hint="Set OPEN_UPLOADS=false; staff who are logged in can still upload.",
            id="avatars.W001",
        )
    ]
