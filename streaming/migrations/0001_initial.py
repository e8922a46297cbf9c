from django.contrib.auth.management import create_permissions
import django.db.models.deletion
import uuid
from django.db import migrations, models


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

    initial = True

    dependencies = [
        ("avatars_app", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.CreateModel(
            name='GatewayProcess',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(help_text='Host and process id.', max_length=128)),
                ('started_at', models.DateTimeField()),
                ('heartbeat_at', models.DateTimeField()),
                ('is_stopped', models.BooleanField(default=False)),
                ('connections_open', models.PositiveIntegerField(default=0)),
                ('connections_ever', models.PositiveBigIntegerField(default=0)),
                ('samples', models.PositiveBigIntegerField(default=0)),
                ('frames_sent', models.PositiveBigIntegerField(default=0)),
                ('frames_dropped', models.PositiveBigIntegerField(default=0)),
                ('video_bytes', models.PositiveBigIntegerField(default=0)),
                ('workers_lost', models.PositiveIntegerField(default=0)),
                ('errors', models.JSONField(default=dict)),
            ],
            options={
                'verbose_name_plural': 'gateway processes',
            },
        ),
        migrations.CreateModel(
            name='SessionRecord',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('session_id', models.CharField(max_length=64, verbose_name='session')),
                ('user_id', models.CharField(max_length=64, verbose_name='user')),
                ('avatar', models.CharField(max_length=64)),
                ('worker', models.CharField(blank=True, help_text='The last one that had it.', max_length=200)),
                ('engine', models.CharField(blank=True, max_length=64)),
                ('started_at', models.DateTimeField(verbose_name='start')),
                ('recorded_at', models.DateTimeField(help_text='When it was last looked at.')),
                ('last_message_at', models.DateTimeField(help_text='When its client last sent something.')),
                ('ended_at', models.DateTimeField(blank=True, null=True, verbose_name='end')),
                ('close_cause', models.CharField(blank=True, choices=[('client_request', 'closed'), ('disconnected', 'client gone'), ('timeout', 'client silent'), ('superseded', 'taken over'), ('operator', 'by an operator'), ('capacity', 'no room'), ('unauthorized', 'not allowed'), ('no_avatar', 'no avatar'), ('server_shutdown', 'server shut down'), ('server_fault', 'fault of ours'), ('lost', 'process died')], max_length=16)),
                ('is_waiting', models.BooleanField(default=False, help_text='No worker has it just now.')),
                ('frames', models.PositiveBigIntegerField(default=0, help_text='Sent to the client.')),
                ('frames_dropped', models.PositiveBigIntegerField(default=0, help_text='Left out, because the client was too slow.')),
                ('video_bytes', models.PositiveBigIntegerField(default=0)),
                ('speech_ms', models.PositiveBigIntegerField(default=0, help_text='Speech accepted.')),
                ('queued_ms', models.PositiveIntegerField(default=0, help_text='Of it, not yet shown.')),
                ('workers_lost', models.PositiveIntegerField(default=0)),
                ('lateness_p50_ms', models.PositiveIntegerField(default=0, help_text='Half of the frames were less late than this.')),
                ('lateness_p95_ms', models.PositiveIntegerField(default=0)),
                ('lateness_p99_ms', models.PositiveIntegerField(default=0)),
                ('errors', models.JSONField(default=dict, help_text='ERROR messages by code.')),
                ('termination_requested', models.BooleanField(default=False, help_text='An operator wants it to end.')),
                ('process', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='streaming.gatewayprocess', verbose_name='gateway')),
            ],
            options={
                'verbose_name': 'session',
                'ordering': ['-started_at'],
                'permissions': [('end_sessionrecord', 'Can end a live session')],
                'default_permissions': ('view', 'delete'),
                'indexes': [models.Index(fields=['started_at'], name='sessions_by_start'), models.Index(condition=models.Q(('ended_at__isnull', True)), fields=['process'], name='sessions_live')],
            },
        ),
        migrations.RunPython(make_groups, remove_groups),
    ]
