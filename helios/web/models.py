"""What the web base itself keeps: answers to requests that may be sent twice."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models


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
