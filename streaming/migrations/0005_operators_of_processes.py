"""What the groups may do with processes, webhooks and the audit."""

from django.contrib.auth.management import create_permissions
from django.db import migrations

OPERATOR = {
    "streaming": ["view_gatewayprocess", "drain_gatewayprocess"],
    "avatars_app": ["view_webhookevent"],
}
ADMINISTRATOR = {
    "streaming": OPERATOR["streaming"],
    "avatars_app": ["view_webhookevent", "resend_webhookevent"],
    "admin": ["view_logentry"],
}


def allow(apps, schema_editor):
    # Django makes permissions only after all migrations.
    for label in ADMINISTRATOR:
        config = apps.get_app_config(label)
        config.models_module = True
        create_permissions(config, apps=apps, verbosity=0)
        config.models_module = None
    Group, Permission = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    for name, rights in (("operator", OPERATOR), ("administrator", ADMINISTRATOR)):
        group, _ = Group.objects.get_or_create(name=name)
        for label, codenames in rights.items():
            group.permissions.add(
                *Permission.objects.filter(content_type__app_label=label, codename__in=codenames)
            )


class Migration(migrations.Migration):

    dependencies = [
        ("streaming", "0004_processes"),
        ("avatars_app", "0005_webhooks"),
        ("admin", "0003_logentry_add_action_flag_choices"),
    ]

    operations = [migrations.RunPython(allow, migrations.RunPython.noop)]
