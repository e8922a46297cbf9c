"""What avatars exist, and how far their preparation is."""

from django.contrib.auth.models import User as User
from django.core.validators import MaxValueValidator, RegexValidator
from django.db import models

from inference.assets.names import NAME_PATTERN, NAME_RULE


class Avatar(models.Model):
    """A person's likeness: a row here, and an asset folder once it is prepared.

    The row is also the preparation's job. Its states::

        QUEUED ──taken──▶ PREPARING ──▶ READY ◀─▶ DISABLED
           ▲                  │  │
           └── sent again ────┘  └────▶ FAILED

    ``job_id`` names one run of it: a process that finds another one works on something that
    was cancelled or sent again, and stops.
    """

    class Status(models.TextChoices):
        QUEUED = "queued"
        PREPARING = "preparing"
        READY = "ready"
        FAILED = "failed"
        DISABLED = "disabled"

    IN_PROGRESS = (Status.QUEUED, Status.PREPARING)

    user_id = models.CharField(
        max_length=64,
        unique=True,
        validators=[RegexValidator(rf"\A{NAME_PATTERN}\Z", f"{NAME_RULE}.")],
        help_text="The name in the stream's address.",
    )
    status = models.CharField(max_length=16, choices=Status, default=Status.QUEUED)
    stage = models.CharField(max_length=64, blank=True, help_text="What is being done now.")
    percent = models.PositiveSmallIntegerField(default=0, validators=[MaxValueValidator(100)])
    error = models.TextField(blank=True, help_text="Why it failed, and what to do.")
    error_reason = models.CharField(max_length=64, blank=True, help_text="The same, for programs.")
    folder = models.CharField(
        max_length=64,
        blank=True,
        help_text="The asset folder, once there is one.",
    )
    version = models.CharField(max_length=64, blank=True, help_text="Of the asset folder.")
    is_default = models.BooleanField(
        "default", default=False, help_text="Shown to users who have no avatar of their own."
    )
    upload = models.CharField(
        max_length=64, blank=True, help_text="What it is made of, under AVATARS_DIR/.uploads."
    )
    requested_by = models.CharField(
        max_length=255, blank=True, help_text="The subject that sent it, where that is known."
    )
    job_id = models.UUIDField(null=True, blank=True, help_text="The preparation that runs or ran.")
    attempts = models.PositiveSmallIntegerField(
        default=0, help_text="How often this preparation was begun; it may die with its machine."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    started_at = models.DateTimeField(null=True, blank=True, help_text="Of the preparation.")
    heartbeat_at = models.DateTimeField(
        null=True, blank=True, help_text="The last sign of life of the preparation."
    )

    class Meta:
        ordering = ["user_id"]
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"],
                condition=models.Q(is_default=True),
                name="avatars_one_default",
                violation_error_message="Another avatar is the default already.",
            ),
            models.CheckConstraint(
                condition=models.Q(percent__lte=100), name="avatars_percent_at_most_100"
            ),
        ]

    def __str__(self) -> str:
        return self.user_id

    @property
    def is_in_progress(self) -> bool:
        return self.status in self.IN_PROGRESS

    @property
    def has_pictures(self) -> bool:
        """Whether it can be shown: ready, or being prepared again while the old one still is."""
        if self.status == self.Status.READY:
            return True
        return bool(self.folder) and self.is_in_progress


class WebhookEvent(models.Model):
    """Something that the operator's webhook is sent, or was sent."""

    class State(models.TextChoices):
        WAITING = "waiting"
        DELIVERED = "delivered"
        GIVEN_UP = "given_up", "given up"

    id = models.UUIDField(primary_key=True, editable=False)
    type = models.CharField(max_length=32)
    happened_at = models.DateTimeField()
    data = models.JSONField()
    state = models.CharField(max_length=16, choices=State, default=State.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True, help_text="Why the last attempt failed.")

    class Meta:
        ordering = ("-happened_at",)
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=models.Q(state="waiting"),
                name="webhooks_waiting",
            )
        ]
        default_permissions = ("view",)
        permissions = [("resend_webhookevent", "Can send a webhook again")]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class ApiKey(models.Model):
    """A back end's key; of the key itself only a digest is kept."""

    class Role(models.TextChoices):
        VIEWER = "viewer", "opens streams"
        OPERATOR = "operator", "also sees and ends sessions, makes avatars"
        ADMINISTRATOR = "administrator", "also replaces and deletes avatars"

    name = models.CharField(max_length=64, help_text="Who uses it, for people.")
    prefix = models.CharField(max_length=16, unique=True, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    role = models.CharField(max_length=16, choices=Role, default=Role.VIEWER)
    avatars = models.TextField(
        blank=True,
        help_text="The user_ids whose streams it may open, with spaces between; none: all.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    made_by = models.CharField(
        max_length=150, blank=True, editable=False, help_text="The account in the admin."
    )
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    uses = models.PositiveBigIntegerField(default=0, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_by = models.CharField(max_length=150, blank=True, editable=False)

    class Meta:
        verbose_name = "API key"
        ordering = ("name",)

    def __str__(self) -> str:
        return f"{self.name} (tak_{self.prefix}_…)"
