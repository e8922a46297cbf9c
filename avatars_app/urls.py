"""The addresses of the avatars' API."""

from django.urls import path

from avatars_app.access.views import TokensView
from avatars_app.api import legacy_views, views

urlpatterns = [
    path("tokens", TokensView.as_view(), name="tokens"),
    path("prepare_avatar/<str:user_id>", views.PreparationView.as_view(), name="prepare-avatar"),
    path("avatars", views.AvatarsView.as_view(), name="avatars"),
    path("avatars/<str:user_id>", views.AvatarDetailView.as_view(), name="avatar"),
    path("avatars/<str:user_id>/preview", views.PreviewView.as_view(), name="avatar-preview"),
    path("avatars/<str:user_id>/report", views.ReportPictureView.as_view(), name="avatar-report"),
    path("avatars/<str:user_id>/thumbnail", views.ThumbnailView.as_view(), name="avatar-thumbnail"),
    path("avatars/<str:user_id>/clips/<str:clip>", views.ClipView.as_view(), name="avatar-clip"),
    path("upload_video", legacy_views.UploadVideoView.as_view(), name="upload-video"),
    path(
        "processing_status/<str:user_id>",
        legacy_views.ProcessingStatusView.as_view(),
        name="processing-status",
    ),
]
