"""Avatars whose status has its former name."""

from django.db import migrations


def rename(apps, schema_editor):
    apps.get_model("avatars_app", "Avatar").objects.filter(status="retired").update(status="disabled")


class Migration(migrations.Migration):

    dependencies = [
        ("avatars_app", "0002_api_keys"),
    ]

    operations = [
        migrations.RunPython(rename, migrations.RunPython.noop, elidable=True),
    ]
