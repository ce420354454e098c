"""The table that counts the changes of every subject."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q


class SubjectGeneration(models.Model):
    """Which state of a subject's tables is current; its row is locked by every change of the subject.

    The number is for people and messages. The token is new at every change: a database restored from a backup
    counts over the same numbers again, and must never be taken for the one that a process has read.
    """

    subject = models.CharField(max_length=16, primary_key=True)
    value = models.BigIntegerField(default=0)
    token = models.UUIDField(default=uuid.uuid4)

    class Meta:
        db_table = "control_generations"
        ordering: ClassVar = ["subject"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=~Q(subject=""), name="control_generations_subject"),
            models.CheckConstraint(condition=Q(value__gte=0), name="control_generations_value"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} generation {self.value}"
