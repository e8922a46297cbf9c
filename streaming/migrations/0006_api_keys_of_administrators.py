"""Members of the group administrator make, change and revoke API keys."""

from django.contrib.auth.management import create_permissions
from django.db import migrations

RIGHTS = ["view_apikey", "add_apikey", "change_apikey"]


def allow(apps, schema_editor):
    # Django makes permissions only after all migrations.
    config = apps.get_app_config("avatars_app")
    config.models_module = True
    create_permissions(config, apps=apps, verbosity=0)
    config.models_module = None
    Group, Permission = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    group, _ = Group.objects.get_or_create(name="administrator")
    group.permissions.add(
        *Permission.objects.filter(content_type__app_label="avatars_app", codename__in=RIGHTS)
    )


class Migration(migrations.Migration):

    dependencies = [
        ("streaming", "0005_operators_of_processes"),
        ("avatars_app", "0006_api_keys_by_whom"),
    ]

    operations = [migrations.RunPython(allow, migrations.RunPython.noop)]
