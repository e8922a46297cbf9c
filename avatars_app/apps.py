from django.apps import AppConfig


class AvatarsConfig(AppConfig):
    name = "avatars_app"
    verbose_name = "Avatars"

    def ready(self) -> None:
        from avatars_app import checks  # noqa: F401  to register them
