import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Avatar',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('user_id', models.CharField(help_text="The name in the stream's address.", max_length=64, unique=True, validators=[django.core.validators.RegexValidator('\\A[A-Za-z0-9_-]{1,64}\\Z', '1 to 64 letters, digits, _ or -.')])),
                ('status', models.CharField(choices=[('queued', 'Queued'), ('preparing', 'Preparing'), ('ready', 'Ready'), ('failed', 'Failed'), ('disabled', 'Disabled')], default='queued', max_length=16)),
                ('stage', models.CharField(blank=True, help_text='What is being done now.', max_length=64)),
                ('percent', models.PositiveSmallIntegerField(default=0, validators=[django.core.validators.MaxValueValidator(100)])),
                ('error', models.TextField(blank=True, help_text='Why it failed, and what to do.')),
                ('error_reason', models.CharField(blank=True, help_text='The same, for programs.', max_length=64)),
                ('folder', models.CharField(blank=True, help_text='The asset folder, once there is one.', max_length=64)),
                ('version', models.CharField(blank=True, help_text='Of the asset folder.', max_length=64)),
                ('is_default', models.BooleanField(default=False, help_text='Shown to users who have no avatar of their own.', verbose_name='default')),
                ('upload', models.CharField(blank=True, help_text='What it is made of, under AVATARS_DIR/.uploads.', max_length=64)),
                ('job_id', models.UUIDField(blank=True, help_text='The preparation that runs or ran.', null=True)),
                ('attempts', models.PositiveSmallIntegerField(default=0, help_text='How often this preparation was begun; it may die with its machine.')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('started_at', models.DateTimeField(blank=True, help_text='Of the preparation.', null=True)),
                ('heartbeat_at', models.DateTimeField(blank=True, help_text='The last sign of life of the preparation.', null=True)),
            ],
            options={
                'ordering': ['user_id'],
                'constraints': [models.UniqueConstraint(condition=models.Q(('is_default', True)), fields=('is_default',), name='avatars_one_default', violation_error_message='Another avatar is the default already.'), models.CheckConstraint(condition=models.Q(('percent__lte', 100)), name='avatars_percent_at_most_100')],
            },
        ),
    ]
