"""What the web base itself keeps: answers to requests that may be sent twice, and hashes of API tokens."""

from __future__ import annotations

from typing import ClassVar, Final

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

NAME_RULE: Final = RegexValidator(
    r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z",
    "a token's name must be 1 to 64 letters, digits or _ . -, the first a letter or digit",
)


class IdempotencyKey(models.Model):
    """One POST with an `Idempotency-Key`: what was asked, and the answer once there is one."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    method = models.CharField(max_length=8)
    path = models.CharField(max_length=500)
    request_hash = models.CharField(max_length=64, help_text="SHA-256 of the parameters and the body.")
    status = models.PositiveSmallIntegerField(null=True, help_text="Null while the request runs.")
    headers = models.JSONField(default=dict)
    body = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        db_table = "api_idempotency_keys"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "key"], name="api_idempotency_keys_once"),
            models.CheckConstraint(condition=~models.Q(key=""), name="api_idempotency_keys_key"),
        ]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class ApiToken(models.Model):
    """One token of a user. Its text is known to whoever was shown it; here is its hash, which no one can turn back."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=64, validators=[NAME_RULE])
    digest = models.CharField(max_length=64, unique=True, editable=False, help_text="SHA-256 of the token.")
    made_by = models.CharField(max_length=150, editable=False)
    made_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, editable=False, help_text="Last use, to the minute.")
    revoked_at = models.DateTimeField(null=True, editable=False)
    revoked_by = models.CharField(max_length=150, blank=True, default="", editable=False)

    class Meta:
        db_table = "api_tokens"
        verbose_name = "API token"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["user", "name"], condition=models.Q(revoked_at=None), name="api_tokens_one_of_a_name"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.user}"

    @property
    def state(self) -> str:
        """Whether it opens anything: valid, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        return "valid" if timezone.now() < self.expires_at else "expired"
