"""What `manage.py check` says of settings.

Always: names in `.env` that nothing reads, and a limit of the system that is too low. With
--deploy: what a server on the internet should not leave open.
"""

from typing import Any

from django.conf import settings
from django.core.checks import Warning as CheckWarning
from django.core.checks import register

from avatars_app.permissions import is_for_this_machine_alone
from inference import process_settings

DeployWarnings = list[CheckWarning]

FEW_DESCRIPTORS = 1_024
"""What a process may have open is said if it is less."""
OWN_DESCRIPTORS = 100
"""What a process has open without streams, at most."""
AVATAR_DESCRIPTORS = 21
"""The mapped files of an avatar with all clips."""


@register("settings")
def names_are_settings(app_configs: Any, **kwargs: Any) -> list[CheckWarning]:
    return [CheckWarning(sentence, id="settings.W001") for sentence in settings.UNKNOWN_SETTINGS]


@register("settings")
def streams_have_descriptors(app_configs: Any, **kwargs: Any) -> list[CheckWarning]:
    allowed = process_settings.allowed_descriptors()
    if allowed >= FEW_DESCRIPTORS:
        return []
    streams = max(0, allowed - OWN_DESCRIPTORS - AVATAR_DESCRIPTORS)
    return [
        CheckWarning(
            f"A process may have {allowed} files and connections open at a time, enough for about "
            f"{streams} streams of one avatar, {AVATAR_DESCRIPTORS} fewer for each further one.",
            hint="Raise the hard limit (`ulimit -Hn`), as by LimitNOFILE=65536 in a systemd unit.",
            id="settings.W006",
        )
    ]


@register("security", deploy=True)
def hosts_are_named(app_configs: Any, **kwargs: Any) -> DeployWarnings:
    if "*" not in settings.ALLOWED_HOSTS or is_for_this_machine_alone(settings.HOST):
        return []
    return [
        CheckWarning(
            "ALLOWED_HOSTS is *: a page that rebinds its name to this server passes for its own.",
            hint="Name the hosts of this server, as in ALLOWED_HOSTS=avatar.example.org.",
            id="settings.W002",
        )
    ]


@register("security", deploy=True)
def origins_are_named(app_configs: Any, **kwargs: Any) -> DeployWarnings:
    if "*" not in settings.CORS_ORIGINS:
        return []
    return [
        CheckWarning(
            "CORS_ORIGINS is *: every web page may open streams and call the API from browsers.",
            hint="Name the pages that may, as in CORS_ORIGINS=https://app.example.org.",
            id="settings.W003",
        )
    ]


@register("security", deploy=True)
def proxies_are_named(app_configs: Any, **kwargs: Any) -> DeployWarnings:
    if not settings.TRUSTED_PROXIES:
        return [
            CheckWarning(
                "TRUSTED_PROXIES is empty: without a proxy there is no HTTPS; behind one that is "
                "not named all clients have its address, and cookies are not marked as secure.",
                hint="Name the proxy, as in TRUSTED_PROXIES=127.0.0.1 (docs/deploying.md).",
                id="settings.W004",
            )
        ]
    everybody = [str(n) for n in settings.TRUSTED_PROXIES if n.prefixlen == 0]
    if everybody:
        return [
            CheckWarning(
                f"TRUSTED_PROXIES has {everybody[0]}: everybody may claim any address.",
                hint="Name the addresses or networks of your proxies alone.",
                id="settings.W005",
            )
        ]
    return []
