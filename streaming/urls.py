"""The addresses of what can be asked over HTTP."""

from django.urls import path

from streaming.views import HealthView, SessionsView

urlpatterns = [
    path("health", HealthView.as_view(), name="health"),
    path("sessions", SessionsView.as_view(), name="sessions"),
]
