"""The history of sessions for staff: to look at, to count, to take away, and to end."""

from datetime import date, timedelta
from itertools import islice
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Max, Min, QuerySet
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.templatetags.static import static
from django.urls import path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

from inference.media.still import jpeg_of
from streaming.admin.audit import log_each
from streaming.admin.csv_export import csv_response
from streaming.admin.usage import (
    DEFAULT_DAYS,
    HEADER,
    PERIODS_DAYS,
    SHOWN_ROWS,
    total_usage,
    usage_by_user_and_day,
)
from streaming.gateway.registry import registry
from streaming.gateway.stills import next_idr_anywhere
from streaming.history import writer
from streaming.history.days import begun, midnight
from streaming.history.usage_chart import UsageChart, use_by_day, use_by_hour
from streaming.models import SessionRecord

EXPORTED = (
    *(
        "session_id",
        "user_id",
        "avatar",
        "engine",
        "worker",
        "started_at",
        "ended_at",
        "close_cause",
    ),
    *("frames", "frames_dropped", "speech_ms", "video_bytes", "workers_lost"),
    *("lateness_p50_ms", "lateness_p95_ms", "lateness_p99_ms", "errors"),
)


class LiveFilter(admin.SimpleListFilter):
    title = "live"
    parameter_name = "live"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Yes"), ("no", "No")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() in {"yes", "no"}:
            return queryset.filter(ended_at__isnull=self.value() == "yes")
        return queryset


class MonthFilter(admin.SimpleListFilter):
    """As `date_hierarchy`, which would have SQLite call Python for every session there is."""

    title = "month"
    parameter_name = "month"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        starts = SessionRecord.objects.order_by().aggregate(
            oldest=Min("started_at"), newest=Max("started_at")
        )
        if starts["oldest"] is None:
            return []
        oldest, month = (timezone.localdate(starts[name]) for name in ("oldest", "newest"))
        months = []
        while month >= oldest.replace(day=1):
            months.append((f"{month:%Y-%m}", f"{month:%B %Y}"))
            month = month.replace(day=1) - timedelta(days=1)
        return months

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.value()
        if chosen is None or chosen not in dict(self.lookup_choices):
            return queryset
        first = date.fromisoformat(f"{chosen}-01")
        following = (first + timedelta(days=31)).replace(day=1)
        return begun(queryset, midnight(first), midnight(following))


@admin.register(SessionRecord)
class SessionRecordAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # takes none at run time
    list_display = (
        *("still", "user_id", "avatar", "start", "lasted", "state", "speech", "lateness"),
        "errors_counted",
    )
    list_display_links = ("user_id",)
    list_filter = (
        *(LiveFilter, "close_cause", "started_at", MonthFilter, "engine", "avatar", "worker"),
    )
    search_fields = ("user_id", "session_id", "avatar", "worker")
    list_per_page = 50
    actions = ("end_now", "export_chosen")
    fieldsets = (
        (None, {"fields": ("still", "user_id", "subject", "session_id", "avatar", "state")}),
        (
            "Time",
            {"fields": ("started_at", "ended_at", "lasted", "last_message_at", "recorded_at")},
        ),
        ("Work", {"fields": ("engine", "worker", "workers_lost", "process")}),
        (
            "What was sent",
            {"fields": ("frames", "frames_dropped", "video", "speech", "waiting_speech")},
        ),
        (
            "How well",
            {"fields": ("lateness_by_share", "errors_by_code")},
        ),
    )

    class Media:
        css = {"all": ("sessions_admin/sessions.css",)}
        js = ("sessions_admin/live.js",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_end_permission(self, request: HttpRequest) -> bool:
        """Asked by Django for actions that need the right to ``end``."""
        return request.user.has_perm("streaming.end_sessionrecord")

    def get_queryset(self, request: HttpRequest) -> QuerySet[SessionRecord]:
        return super().get_queryset(request).select_related("process")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        writer.writer.refresh_all()
        more = {**(extra_context or {}), "charts": self._charts(request)}
        more["export_query"] = request.GET.urlencode()
        return super().changelist_view(request, more)

    def _charts(self, request: HttpRequest) -> list[UsageChart]:
        """Draw what the list shows, whatever page of it."""
        today = timezone.localdate()
        found = self._filtered(request)
        if found is None:
            return []
        return [use_by_hour(found, today=today), use_by_day(found, today=today)]

    def _filtered(self, request: HttpRequest) -> QuerySet[SessionRecord] | None:
        try:
            return self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return None

    @admin.display(description="state", ordering="ended_at")
    def state(self, record: SessionRecord) -> SafeString:
        if not record.is_live:
            return format_html(
                '<span class="session-over">{}</span>', record.get_close_cause_display()
            )
        name = "waiting" if record.is_waiting else "streaming"
        if record.termination_requested:
            name = "ending"
        return format_html('<b class="session-live" data-state="{0}">{0}</b>', name)

    @admin.display(description="start", ordering="started_at")
    def start(self, record: SessionRecord) -> str:
        start = timezone.localtime(record.started_at)
        is_recent = start.year == timezone.localdate().year
        return date_format(start, "j M, H:i" if is_recent else "j M Y, H:i")

    @admin.display(description="lasted")
    def lasted(self, record: SessionRecord) -> str:
        return _clock(((record.ended_at or record.recorded_at) - record.started_at).total_seconds())

    @admin.display(description="speech", ordering="speech_ms")
    def speech(self, record: SessionRecord) -> str:
        return _clock(record.speech_ms / 1_000)

    @admin.display(description="waiting speech")
    def waiting_speech(self, record: SessionRecord) -> str:
        return f"{record.queued_ms / 1_000:.1f} s accepted and not yet shown"

    @admin.display(description="video")
    def video(self, record: SessionRecord) -> str:
        return filesizeformat(record.video_bytes)

    @admin.display(description="lateness of frames")
    def lateness_by_share(self, record: SessionRecord) -> str:
        if not record.frames:
            return "–"
        return (
            f"half of them up to {record.lateness_p50_ms} ms, 95 % up to {record.lateness_p95_ms} "
            f"ms, 99 % up to {record.lateness_p99_ms} ms"
        )

    @admin.display(description="late p50 / p99", ordering="lateness_p99_ms")
    def lateness(self, record: SessionRecord) -> str:
        if not record.frames:
            return "–"
        return f"{record.lateness_p50_ms} / {record.lateness_p99_ms} ms"

    @admin.display(description="errors")
    def errors_counted(self, record: SessionRecord) -> SafeString:
        count = sum(record.errors.values())
        return format_html('<span title="{}">{}</span>', self.errors_by_code(record), count)

    @admin.display(description="errors")
    def errors_by_code(self, record: SessionRecord) -> str:
        return ", ".join(f"{count} {code}" for code, count in sorted(record.errors.items())) or "–"

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        more = {**(extra_context or {}), "can_end": self.has_end_permission(request)}
        return super().change_view(request, object_id, form_url, more)

    def get_urls(self) -> list[Any]:
        export = self.admin_site.admin_view(self.export_all)
        return [
            path("export.csv", export, name="streaming_sessionrecord_export"),
            path(
                "usage",
                self.admin_site.admin_view(self.usage),
                name="streaming_sessionrecord_usage",
            ),
            path(
                "<uuid:pk>/still.jpg",
                self.admin_site.admin_view(self.still_of),
                name="streaming_sessionrecord_still",
            ),
            *super().get_urls(),
        ]

    @admin.display(description="now")
    def still(self, record: SessionRecord) -> SafeString:
        """Return what it shows now, as a picture that is fetched beside the page."""
        if not record.is_live:
            return SafeString("")
        address = reverse("admin:streaming_sessionrecord_still", args=(record.pk,))
        return format_html(
            '<img class="session-still" src="{}" alt="" loading="lazy" data-live>', address
        )

    def still_of(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """Return what a live session shows now.

        It is 404 if it shows nothing, or is on another machine.
        """
        if not self.has_view_permission(request):
            return HttpResponse(status=403)
        record = SessionRecord.objects.filter(pk=pk, ended_at=None).first()
        access_unit = None if record is None else next_idr_anywhere(registry, record.session_id)
        picture = None if access_unit is None else jpeg_of(access_unit)
        if picture is None:
            return HttpResponse(status=404)
        return HttpResponse(
            picture, content_type="image/jpeg", headers={"Cache-Control": "no-store"}
        )

    def usage(self, request: HttpRequest) -> HttpResponseBase:
        """Minutes by user and day."""
        if not self.has_view_permission(request):
            return HttpResponse(status=403)
        wanted = request.GET.get("days", "")
        days = int(wanted) if wanted in map(str, PERIODS_DAYS) else DEFAULT_DAYS
        rows = usage_by_user_and_day(days)
        if request.GET.get("format") == "csv":
            return csv_response("usage.csv", HEADER, (row.values() for row in rows))
        shown = list(islice(rows, SHOWN_ROWS + 1))
        context = {
            **self.admin_site.each_context(request),
            "title": "Usage by user and day",
            "opts": self.opts,
            "rows": shown[:SHOWN_ROWS],
            "are_more": len(shown) > SHOWN_ROWS,
            "total": total_usage(days),
            "days": days,
            "periods": PERIODS_DAYS,
            "css": static("sessions_admin/sessions.css"),
        }
        return TemplateResponse(request, "admin/streaming/sessionrecord/usage.html", context)

    def export_all(self, request: HttpRequest) -> HttpResponseBase:
        """Return what the list would show with the same query, all pages of it."""
        if not self.has_view_permission(request):
            return HttpResponse(status=403)
        found = self._filtered(request)
        if found is None:
            return HttpResponseRedirect(reverse("admin:streaming_sessionrecord_changelist"))
        return _csv(found)

    @admin.action(description="Export as CSV", permissions=["view"])
    def export_chosen(
        self, request: HttpRequest, queryset: QuerySet[SessionRecord]
    ) -> StreamingHttpResponse:
        return _csv(queryset)

    @admin.action(description="End now", permissions=["end"])
    def end_now(self, request: HttpRequest, queryset: QuerySet[SessionRecord]) -> None:
        live = list(queryset.filter(ended_at=None))
        SessionRecord.objects.filter(pk__in=[each.pk for each in live]).update(
            termination_requested=True
        )
        log_each(self, request, live, "Ended.")
        writer.writer.refresh_all()
        if live:
            self.message_user(
                request, f"Asked to end: {len(live)}; on another machine within two seconds."
            )
        else:
            self.message_user(request, "None of them is live.", messages.WARNING)


def _clock(duration_s: float) -> str:
    seconds = round(duration_s)
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _csv(records: QuerySet[SessionRecord]) -> StreamingHttpResponse:
    return csv_response("sessions.csv", EXPORTED, records.values_list(*EXPORTED).iterator())
