from django.apps import AppConfig


class AvatarsConfig(AppConfig):
    name = "avatars_app"
    verbose_name = "Avatars"
