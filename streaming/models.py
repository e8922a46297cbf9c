"""The history of sessions; only `streaming.history.writer` writes it."""

import uuid

from django.db import models


class GatewayProcess(models.Model):
    """A process that clients connect to. Its heartbeat says whether its sessions can be alive.

    The numbers are those of all its connections so far, those without a session included.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=128, help_text="Host and process id.")
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()
    is_stopped = models.BooleanField(default=False)
    drain_requested = models.BooleanField(
        default=False, help_text="An operator wants no new sessions there."
    )
    places = models.PositiveIntegerField(
        null=True, blank=True, help_text="Sessions that can speak at once, where that is known."
    )
    places_used = models.PositiveIntegerField(default=0)
    sessions = models.PositiveIntegerField(default=0, help_text="That are alive.")
    connections_open = models.PositiveIntegerField(default=0)
    connections_ever = models.PositiveBigIntegerField(default=0)
    samples = models.PositiveBigIntegerField(default=0)
    frames_sent = models.PositiveBigIntegerField(default=0)
    frames_dropped = models.PositiveBigIntegerField(default=0)
    video_bytes = models.PositiveBigIntegerField(default=0)
    workers_lost = models.PositiveIntegerField(default=0)
    errors = models.JSONField(default=dict)

    class Meta:
        verbose_name = "process"
        verbose_name_plural = "processes"
        ordering = ["is_stopped", "-heartbeat_at"]
        default_permissions = ("view",)
        permissions = [("drain_gatewayprocess", "Can drain a process")]

    def __str__(self) -> str:
        return self.name


class SessionRecord(models.Model):
    """One session, as it was when it was last looked at."""

    class CloseCause(models.TextChoices):
        CLIENT_REQUEST = "client_request", "closed"
        DISCONNECTED = "disconnected", "client gone"
        TIMEOUT = "timeout", "client silent"
        SUPERSEDED = "superseded", "taken over"
        OPERATOR = "operator", "by an operator"
        CAPACITY = "capacity", "no room"
        UNAUTHORIZED = "unauthorized", "not allowed"
        NO_AVATAR = "no_avatar", "no avatar"
        SERVER_SHUTDOWN = "server_shutdown", "server shut down"
        SERVER_FAULT = "server_fault", "fault of ours"
        LOST = "lost", "process died"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    session_id = models.CharField("session", max_length=64)
    user_id = models.CharField("user", max_length=64)
    subject = models.TextField(blank=True, help_text="Who opened it, where AUTH is on.")
    watchable_since = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When it was opened, as its watch tokens say; empty: nobody may watch it.",
    )
    avatar = models.CharField(max_length=64)
    worker = models.CharField(max_length=200, blank=True, help_text="The last one that had it.")
    engine = models.CharField(max_length=64, blank=True)
    process = models.ForeignKey(GatewayProcess, models.PROTECT, verbose_name="gateway")
    started_at = models.DateTimeField("start")
    recorded_at = models.DateTimeField(help_text="When it was last looked at.")
    last_message_at = models.DateTimeField(help_text="When its client last sent something.")
    ended_at = models.DateTimeField("end", null=True, blank=True)
    close_cause = models.CharField(max_length=16, blank=True, choices=CloseCause)
    is_waiting = models.BooleanField(default=False, help_text="No worker has it just now.")
    connections = models.PositiveIntegerField(
        default=1, help_text="More than one: it was resumed after a connection was lost."
    )
    frames = models.PositiveBigIntegerField(default=0, help_text="Sent to the client.")
    frames_dropped = models.PositiveBigIntegerField(
        default=0, help_text="Left out, because the client was too slow."
    )
    video_bytes = models.PositiveBigIntegerField(default=0)
    speech_ms = models.PositiveBigIntegerField(default=0, help_text="Speech accepted.")
    queued_ms = models.PositiveIntegerField(default=0, help_text="Of it, not yet shown.")
    workers_lost = models.PositiveIntegerField(default=0)
    lateness_p50_ms = models.PositiveIntegerField(
        default=0, help_text="Half of the frames were less late than this."
    )
    lateness_p95_ms = models.PositiveIntegerField(default=0)
    lateness_p99_ms = models.PositiveIntegerField(default=0)
    errors = models.JSONField(default=dict, help_text="ERROR messages by code.")
    termination_requested = models.BooleanField(
        default=False, help_text="An operator wants it to end."
    )

    class Meta:
        verbose_name = "session"
        ordering = ["-started_at"]
        indexes = [
            models.Index(fields=["started_at"], name="sessions_by_start"),
            models.Index(
                fields=["process"],
                condition=models.Q(ended_at__isnull=True),
                name="sessions_live",
            ),
        ]
        default_permissions = ("view", "delete")
        permissions = [("end_sessionrecord", "Can end a live session")]

    def __str__(self) -> str:
        return f"{self.user_id} {self.session_id}"

    @property
    def is_live(self) -> bool:
        return self.ended_at is None
