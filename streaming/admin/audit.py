"""Who did what in the admin, and when: what Django logs of it, to look at and not to change."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.db.models import Model
from django.http import HttpRequest


def log_each(
    model_admin: "admin.ModelAdmin[Any]",
    request: HttpRequest,
    changed: Iterable[Model],
    what: str,
) -> None:
    """Write down an action.

    Args:
        model_admin: Whose it is.
        request: Of who took it.
        changed: The objects.
        what: What was done to them, in a few words.
    """
    for each in changed:
        model_admin.log_change(request, each, what)


@admin.register(LogEntry)
class AuditAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # takes none at run time
    list_display = ("action_time", "user", "content_type", "object_repr", "what")
    list_display_links = None
    list_filter = ("action_time", "content_type", "action_flag", "user")
    search_fields = ("object_repr", "change_message", "user__username")
    date_hierarchy = "action_time"
    list_per_page = 100

    @admin.display(description="what")
    def what(self, entry: LogEntry) -> str:
        return entry.get_change_message() or entry.get_action_flag_display()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
