"""The addresses of what can be asked over HTTP."""

from django.urls import path

from streaming.protocol.address import STREAM_PREFIX
from streaming.web import pages
from streaming.web.views import HealthView, SessionsView
from streaming.web.watch_tokens import WatchTokensView

urlpatterns = [
    path("health", HealthView.as_view(), name="health"),
    path(f"{STREAM_PREFIX[1:]}<slug:user_id>", pages.stream, name="stream"),
    path("sessions", SessionsView.as_view(), name="sessions"),
    path("sessions/<str:session_id>/watch_tokens", WatchTokensView.as_view(), name="watch_tokens"),
]
