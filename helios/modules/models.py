from typing import ClassVar

from django.db import models


class ModuleState(models.TextChoices):
    """Registered, being imported, importable as registered, used by the pipeline, refused with a reason."""

    UNLOADED = "UNLOADED", "unloaded"
    LOADING = "LOADING", "loading"
    LOADED = "LOADED", "loaded"
    ACTIVE = "ACTIVE", "active"
    FAILED = "FAILED", "failed"


class Module(models.Model):
    """One implementation that can be put in the place of a name, such as a stage of the pipeline."""

    name = models.SlugField(max_length=64, unique=True)
    path = models.CharField(max_length=200, help_text="The dotted path of its package.")
    version = models.CharField(max_length=64, help_text="The semantic version that its code must carry.")
    dependencies = models.JSONField(
        default=dict,
        blank=True,
        help_text='Modules it needs and their version ranges: {"features": "^1.0.0"}.',
    )
    hot_reloadable = models.BooleanField(default=True, help_text="May be swapped while the pipeline runs.")
    state = models.CharField(max_length=16, choices=ModuleState.choices, default=ModuleState.UNLOADED)
    error = models.TextField(blank=True)
    generation = models.BigIntegerField(
        default=0, db_index=True, help_text="Number of its last change, over all modules."
    )
    loaded_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "modules"
        ordering = ["id"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(state__in=ModuleState.values), name="modules_state"),
            models.CheckConstraint(
                condition=~models.Q(state=ModuleState.FAILED) | ~models.Q(error=""),
                name="modules_failed_with_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"
