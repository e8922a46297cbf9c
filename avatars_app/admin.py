"""Avatars for staff: what there is, how good it is, and everything that can be done with it."""

import json
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from avatars_app import selectors, services
from avatars_app.access.api_keys import make_key
from avatars_app.api.serializers import avatar_detail_of
from avatars_app.forms import AvatarForm
from avatars_app.models import ApiKey, Avatar, WebhookEvent
from avatars_app.uploads.storage import UploadGone

STAGES = {
    "look": "looking at the pictures",
    "choose": "choosing the clips",
    "take": "taking their pictures",
    "cut": "encoding the clips",
    "show": "writing the report",
}
"""What a preparation does in each stage, for people."""


@admin.register(WebhookEvent)
class WebhookEventAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # takes none at run time
    """What webhooks were sent, and what waits."""

    list_display = ("type", "about", "happened_at", "state", "attempts", "next_attempt", "error")
    list_filter = ("state", "type", "happened_at")
    search_fields = ("id", "data", "error")
    actions = ("send_again",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_resend_permission(self, request: HttpRequest) -> bool:
        """Asked by Django for actions that need the right to ``resend``."""
        return request.user.has_perm("avatars_app.resend_webhookevent")

    @admin.display(description="user")
    def about(self, event: WebhookEvent) -> str:
        return str(event.data.get("user_id", ""))

    @admin.display(description="next attempt", ordering="next_attempt_at")
    def next_attempt(self, event: WebhookEvent) -> Any:
        return event.next_attempt_at if event.state == WebhookEvent.State.WAITING else None

    @admin.action(description="Send again now", permissions=["resend"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[WebhookEvent]) -> None:
        again = queryset.update(
            state=WebhookEvent.State.WAITING, attempts=0, next_attempt_at=timezone.now()
        )
        for event in queryset:
            self.log_change(request, event, "Sent again.")
        self.message_user(request, f"Sent again: {again}.")


@admin.register(Avatar)
class AvatarAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # takes none at run time
    form = AvatarForm
    list_display = ("thumbnail", "user_id", "progress", "default", "updated_at")
    list_display_links = ("thumbnail", "user_id")
    list_filter = ("status", "is_default")
    search_fields = ("user_id",)
    date_hierarchy = "created_at"
    actions = ("prepare_again", "cancel", "disable", "enable", "make_default")
    fieldsets = (
        (None, {"fields": ("user_id",)}),
        ("What it is made of", {"fields": ("video", "image", "clips")}),
    )

    class Media:
        css = {"all": ("avatars_admin/avatars.css",)}
        js = ("avatars_admin/progress.js",)

    @admin.display(description="")
    def thumbnail(self, avatar: Avatar) -> SafeString:
        if not avatar.folder:
            return SafeString('<span class="avatar-thumbnail"></span>')
        address = reverse("avatar-thumbnail", args=(avatar.user_id,))
        return format_html(
            '<img class="avatar-thumbnail" src="{}?{}" alt="" loading="lazy">',
            address,
            avatar.version,
        )

    @admin.display(description="status", ordering="status")
    def progress(self, avatar: Avatar) -> SafeString:
        """Return a badge; while one is in progress, `progress.js` keeps it up to date."""
        watched = reverse("prepare-avatar", args=(avatar.user_id,)) if avatar.is_in_progress else ""
        return format_html(
            '<span class="avatar-status" data-status="{}" data-watch="{}" data-stages="{}">'
            '<b>{}</b> <progress max="100" value="{}" aria-label="Preparation"{}></progress> '
            "<small>{}</small></span>",
            avatar.status,
            watched,
            json.dumps(STAGES) if watched else "",
            avatar.get_status_display(),
            avatar.percent,
            "" if avatar.is_in_progress else SafeString(" hidden"),
            _stage_of(avatar) if avatar.is_in_progress else capfirst(avatar.error),
        )

    @admin.display(description="default", ordering="is_default")
    def default(self, avatar: Avatar) -> str:
        return "★" if avatar.is_default else ""

    def get_readonly_fields(
        self, request: HttpRequest, obj: Avatar | None = None
    ) -> tuple[str, ...]:
        return ("user_id",) if obj is not None else ()

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        avatar = self.get_object(request, object_id)
        more = {
            "show_save_and_add_another": False,
            "show_save_and_continue": False,
            **(extra_context or {}),
        }
        if avatar is not None and self.has_view_permission(request, avatar):
            shown = selectors.shown_avatar(avatar.user_id, with_disabled=True)
            more["avatar"] = avatar
            more["status"] = self.progress(avatar)
            if shown is not None and shown.manifest is not None:
                more["shown"] = _for_people(avatar_detail_of(shown, request))
            if self.has_change_permission(request, avatar):
                more["avatar_actions"] = _actions_for(avatar)
        return super().change_view(request, object_id, form_url, more)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except services.PreparationRefused as refused:
            self.message_user(request, f"{refused}: {refused.__doc__}", messages.ERROR)
            return HttpResponseRedirect(request.path)

    def save_model(self, request: HttpRequest, obj: Avatar, form: Any, change: bool) -> None:
        if form.sent is not None:
            kind, files = form.sent
            made = services.avatar_receive(user_id=obj.user_id, kind=kind, files=files)
            obj.pk = made.pk

    def log_addition(self, request: HttpRequest, obj: Avatar, message: Any) -> Any:
        return super().log_addition(request, Avatar.objects.get(pk=obj.pk), message)

    def delete_model(self, request: HttpRequest, obj: Avatar) -> None:
        services.avatar_remove(avatar=obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Avatar]) -> None:
        for avatar in queryset:
            services.avatar_remove(avatar=avatar)

    @admin.action(description="Prepare again", permissions=["change"])
    def prepare_again(self, request: HttpRequest, queryset: QuerySet[Avatar]) -> None:
        def again(*, avatar: Avatar) -> bool:
            try:
                services.avatar_prepare_again(avatar=avatar)
            except (services.PreparationRefused, UploadGone):
                return False
            return True

        hindrance = (
            "in progress, disabled, not uploaded here, or its sender has as many in progress as "
            "MAX_PREPARATIONS_PER_SUBJECT allows"
        )
        self._do(request, queryset, again, "queued", hindrance)

    @admin.action(description="Cancel the preparation", permissions=["change"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Avatar]) -> None:
        self._do(request, queryset, services.avatar_cancel, "cancelled", "not in progress")

    @admin.action(description="Disable: show it to nobody", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Avatar]) -> None:
        self._do(request, queryset, services.avatar_disable, "disabled", "not ready")

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Avatar]) -> None:
        self._do(request, queryset, services.avatar_enable, "enabled", "not disabled")

    @admin.action(description="Make it the default", permissions=["change"])
    def make_default(self, request: HttpRequest, queryset: QuerySet[Avatar]) -> None:
        if queryset.count() != 1:
            self.message_user(request, "Only one can be the default.", messages.ERROR)
            return
        self._do(request, queryset, services.avatar_make_default, "the default", "not ready")

    def _do(
        self,
        request: HttpRequest,
        queryset: QuerySet[Avatar],
        action: Callable[..., bool],
        done: str,
        hindrance: str,
    ) -> None:
        """Do it with each, and say with which it was done and with which not."""
        outcome: dict[bool, list[str]] = {True: [], False: []}
        for avatar in queryset:
            is_done = action(avatar=avatar)
            outcome[is_done].append(avatar.user_id)
            if is_done:
                self.log_change(request, avatar, f"{done.capitalize()}.")
        if names := outcome[True]:
            self.message_user(request, f"{', '.join(names)}: {done}.", messages.SUCCESS)
        if names := outcome[False]:
            self.message_user(request, f"{', '.join(names)}: {hindrance}.", messages.WARNING)


def _stage_of(avatar: Avatar) -> str:
    """Return what its preparation does now; `progress.js` writes the same."""
    if not avatar.stage:
        return ""
    return f"{STAGES.get(avatar.stage, avatar.stage)}, {avatar.percent} %"


def _for_people(shown: dict[str, Any]) -> dict[str, Any]:
    """With shares as percent, times in seconds, and each clip beside what was found of it."""
    report = dict(shown["report"])
    for name in ("found", "usable"):
        if name in report:
            report[f"{name}_percent"] = f"{100 * report[name]:.1f}"
    by_name = {clip["name"]: clip for clip in report.get("clips", ())}
    clips = [
        {**clip, "seconds": clip["duration_ms"] / 1_000, "report": by_name.get(clip["name"])}
        for clip in shown["clips"]
    ]
    return {**shown, "report": report, "clips": clips}


def _actions_for(avatar: Avatar) -> list[tuple[str, str]]:
    """Those that make sense now: name and label."""
    if avatar.is_in_progress:
        return [("cancel", "Cancel")]
    if avatar.status == Avatar.Status.DISABLED:
        return [("enable", "Enable")]
    again = [("prepare_again", "Prepare again")] if avatar.upload else []
    if avatar.status == Avatar.Status.FAILED:
        return again
    default = [] if avatar.is_default else [("make_default", "Make it the default")]
    return [*again, *default, ("disable", "Disable")]


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # takes none at run time
    """Keys of back ends: shown whole once, when they are made."""

    list_display = (
        *("name", "prefix", "role", "avatars", "made_by", "last_used_at", "uses"),
        *("revoked_at", "revoked_by"),
    )
    list_filter = ("role", ("revoked_at", admin.EmptyFieldListFilter))
    search_fields = ("name", "prefix")
    fields = ("name", "role", "avatars")
    actions = ("revoke",)

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        key, obj.prefix, obj.digest = make_key()
        obj.made_by = request.user.get_username()
        super().save_model(request, obj, form, change)
        self.message_user(
            request,
            format_html("The key, shown this once: <code>{}</code>", key),
            messages.WARNING,
        )

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> Any:
        """For the audit: from what to what, not only that a field changed."""
        if add:
            return super().construct_change_message(request, form, formsets, add)
        changes = (
            f"{name} from {form.initial.get(name)!r} to {form.cleaned_data[name]!r}"
            for name in form.changed_data
        )
        return f"Changed {', '.join(changes)}." if form.changed_data else "Saved unchanged."

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False  # a key that is only revoked stays in the record

    @admin.action(description="Revoke", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        good = list(queryset.filter(revoked_at=None))
        queryset.filter(revoked_at=None).update(
            revoked_at=timezone.now(), revoked_by=request.user.get_username()
        )
        for key in good:
            self.log_change(request, key, "Revoked.")
        self.message_user(request, f"Revoked: {len(good)}; their sessions end within seconds.")
