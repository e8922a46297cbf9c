from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('avatars_app', '0005_webhooks'),
    ]

    operations = [
        migrations.AddField(
            model_name='apikey',
            name='made_by',
            field=models.CharField(blank=True, editable=False, help_text='The account in the admin.', max_length=150),
        ),
        migrations.AddField(
            model_name='apikey',
            name='revoked_by',
            field=models.CharField(blank=True, editable=False, max_length=150),
        ),
    ]
