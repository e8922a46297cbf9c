"""The addresses of the pages; the stream's own is in `streaming.gateway.routing`."""

from csp.constants import SELF, UNSAFE_INLINE
from csp.decorators import csp_update
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import (
    SpectacularJSONAPIView,
    SpectacularRedocView,
    SpectacularSwaggerSplitView,
    SpectacularYAMLAPIView,
)

from musetalk_site import redoc
from musetalk_site.telemetry import exposition
from streaming.web import pages

admin.site.site_header = admin.site.site_title = "Talking avatar"

# Swagger UI and ReDoc make style sheets as they run, ReDoc a worker; their scripts are files.
_styles_itself = csp_update({"style-src": [SELF, UNSAFE_INLINE], "worker-src": [SELF, "blob:"]})

urlpatterns = [
    path("", pages.studio, name="index"),
    path("test", RedirectView.as_view(pattern_name="index")),  # where existing links look for it
    path("protocol", pages.protocol, name="protocol"),
    path("asyncapi.yaml", pages.asyncapi, name="asyncapi"),
    path("", include("streaming.urls")),
    path("", include("avatars_app.urls")),
    path("metrics", exposition.metrics, name="metrics"),
    path("admin/", admin.site.urls),
    path(
        "docs",
        _styles_itself(SpectacularSwaggerSplitView.as_view(url_name="openapi")),
        name="docs",
    ),
    path(
        "redoc",
        _styles_itself(
            SpectacularRedocView.as_view(url_name="openapi", template_name="redoc.html")
        ),
        name="redoc",
    ),
    path("redoc.js", redoc.program, name="redoc-program"),
    path("openapi.yaml", SpectacularYAMLAPIView.as_view(), name="openapi"),
    path("openapi.json", SpectacularJSONAPIView.as_view(), name="openapi-json"),
]
