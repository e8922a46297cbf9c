"""Failed log-ins for staff: who is locked out, and how to let them in again."""

from axes.admin import AccessAttemptAdmin, IsLockedOutFilter
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest


@admin.register(AccessAttempt)
class LoginAttemptAdmin(AccessAttemptAdmin):  # type: ignore[misc]  # axes has no types
    """The list of django-axes with the columns that matter; deleting a row lifts a lock.

    Its two other lists stay out: logs of every log-in are switched off.
    """

    list_display = ("username", "ip_address", "attempt_time", "failures_since_start", "lock")
    list_filter = (IsLockedOutFilter,)
    list_display_links = ("username",)
    actions = ()

    def has_change_permission(self, request: HttpRequest, obj: AccessAttempt | None = None) -> bool:
        return False

    @admin.display(description="locked out")
    def lock(self, attempt: AccessAttempt) -> str:
        is_locked = attempt.failures_since_start >= settings.AXES_FAILURE_LIMIT
        return "yes; delete it to unlock" if is_locked else "no"
