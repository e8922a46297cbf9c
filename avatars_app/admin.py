from django.contrib import admin

from avatars_app.models import Avatar


@admin.register(Avatar)
class AvatarAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # takes none at run time
    list_display = ["user_id", "status", "stage", "percent", "is_default", "updated_at"]
    list_filter = ["status", "is_default"]
    search_fields = ["user_id"]
    fields = ["user_id", "status", "folder", "is_default"]
