"""The groups of staff, and what each may do."""

from django.contrib.auth.management import create_permissions
from django.db import migrations

VIEWER = {
    "avatars_app": ["view_avatar"],
    "streaming": ["view_sessionrecord"],
}
OPERATOR = {
    "avatars_app": ["view_avatar", "add_avatar", "change_avatar"],
    "streaming": ["view_sessionrecord", "end_sessionrecord"],
}
ADMINISTRATOR = {
    "avatars_app": [*OPERATOR["avatars_app"], "delete_avatar"],
    "streaming": [*OPERATOR["streaming"], "delete_sessionrecord"],
    "auth": [f"{right}_{what}" for what in ("user", "group") for right in ("view", "add", "change", "delete")],
}
GROUPS = {"viewer": VIEWER, "operator": OPERATOR, "administrator": ADMINISTRATOR}


def make_groups(apps, schema_editor):
    # Django makes permissions only after all migrations.
    for label in ADMINISTRATOR:
        config = apps.get_app_config(label)
        config.models_module = True
        create_permissions(config, apps=apps, verbosity=0)
        config.models_module = None
    Group, Permission = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    for name, rights in GROUPS.items():
        group, _ = Group.objects.get_or_create(name=name)
        for label, codenames in rights.items():
            group.permissions.add(
                *Permission.objects.filter(content_type__app_label=label, codename__in=codenames)
            )


def remove_groups(apps, schema_editor):
    apps.get_model("auth", "Group").objects.filter(name__in=GROUPS).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("streaming", "0001_initial"),
        ("avatars_app", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [migrations.RunPython(make_groups, remove_groups)]
