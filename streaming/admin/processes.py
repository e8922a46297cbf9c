"""The processes that clients connect to: what they carry, and that they take no more sessions."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from streaming.admin.audit import log_each
from streaming.history import writer
from streaming.models import GatewayProcess


@admin.register(GatewayProcess)
class GatewayProcessAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # takes none at run time
    list_display = (
        *("name", "state", "sessions", "places_to_speak", "connections_open", "started_at"),
    )
    list_display_links = None
    list_filter = ("is_stopped", "started_at")
    search_fields = ("name",)
    list_per_page = 50
    actions = ("drain", "take_sessions")

    class Media:
        css = {"all": ("sessions_admin/sessions.css",)}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_drain_permission(self, request: HttpRequest) -> bool:
        """Asked by Django for actions that need the right to ``drain``."""
        return request.user.has_perm("streaming.drain_gatewayprocess")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        writer.writer.refresh_all()
        return super().changelist_view(request, extra_context)

    @admin.display(description="state", ordering="is_stopped")
    def state(self, process: GatewayProcess) -> SafeString:
        if process.is_stopped:
            return format_html('<span class="session-over">{}</span>', "stopped")
        name = "draining" if process.drain_requested else "running"
        return format_html('<b class="session-live" data-state="{0}">{0}</b>', name)

    @admin.display(description="places to speak")
    def places_to_speak(self, process: GatewayProcess) -> str:
        if process.is_stopped:
            return "–"
        known = "not known" if process.places is None else process.places
        return f"{process.places_used} of {known} used"

    @admin.action(description="Drain: no new sessions", permissions=["drain"])
    def drain(self, request: HttpRequest, queryset: QuerySet[GatewayProcess]) -> None:
        self._set(request, queryset, drains=True)

    @admin.action(description="Take new sessions again", permissions=["drain"])
    def take_sessions(self, request: HttpRequest, queryset: QuerySet[GatewayProcess]) -> None:
        self._set(request, queryset, drains=False)

    def _set(
        self, request: HttpRequest, queryset: QuerySet[GatewayProcess], *, drains: bool
    ) -> None:
        running = list(queryset.filter(is_stopped=False).exclude(drain_requested=drains))
        GatewayProcess.objects.filter(pk__in=[each.pk for each in running]).update(
            drain_requested=drains
        )
        log_each(self, request, running, "Drained." if drains else "Takes new sessions again.")
        self.message_user(
            request,
            f"Processes that {'drain' if drains else 'take sessions again'}: {len(running)}; "
            "it takes effect within two seconds. Sessions that are open there continue.",
        )
