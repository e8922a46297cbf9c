from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "musetalk_site"
