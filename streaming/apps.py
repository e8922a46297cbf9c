"""The app's configuration."""

from django.apps import AppConfig


class StreamingConfig(AppConfig):
    name = "streaming"
    verbose_name = "Sessions"
    default_auto_field = "django.db.models.BigAutoField"
