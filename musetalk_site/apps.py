from axes.apps import AppConfig as AxesConfig
from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "musetalk_site"
    default = True

    def ready(self) -> None:
        from musetalk_site.configuration import checks  # noqa: F401  to register them


class LoginAttemptsConfig(AxesConfig):  # type: ignore[misc]  # axes has no types
    """django-axes, under a heading that operators understand."""

    verbose_name = "Log-in attempts"
