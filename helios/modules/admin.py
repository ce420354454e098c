"""Modules in the admin: what stands for each stage of the pipeline, and three buttons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.decorators import action, display

from helios.errors import HeliosError
from helios.modules import services
from helios.modules.errors import ModuleRefused
from helios.modules.models import Module

COLOURS = {
    "active": "success",
    "loaded": "info",
    "loading": "warning",
    "unloaded": "default",
    "failed": "danger",
}


class RegistrationForm(ModelForm):  # type: ignore[type-arg]
    """A new module; the registry's refusals stand beside the form."""

    class Meta:
        model = Module
        fields = ("name", "path", "version", "dependencies", "hot_reloadable")

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                services.check_registration(data["name"], data["path"], data["version"], data["dependencies"])
            except ModuleRefused as error:
                raise ValidationError(str(error)) from error
        return data


@admin.register(Module)
class ModuleAdmin(ModelAdmin):
    list_display = ("name", "badge", "version", "path", "needs", "hot_reloadable", "error", "updated_at")
    form = RegistrationForm
    list_filter = ("state", "hot_reloadable")
    search_fields = ("name", "path")
    actions: ClassVar = ["load_selected", "activate_selected", "unload_selected"]
    readonly_fields = ("badge", "error", "generation", "loaded_at", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("name", "path", "version", "dependencies", "hot_reloadable")}),
        ("Where it stands", {"fields": readonly_fields}),
    )

    @display(description="state", label=COLOURS, ordering="state")
    def badge(self, row: Module) -> str:
        return str(row.get_state_display())

    @display(description="needs")
    def needs(self, row: Module) -> str:
        return ", ".join(f"{name} {wanted}" for name, wanted in row.dependencies.items()) or "nothing"

    @action(description="Load: import the code and check it, without using it yet", permissions=["change"])
    def load_selected(self, request: HttpRequest, rows: QuerySet[Module]) -> None:
        self._each(request, rows, services.load, "is loaded")

    @action(description="Activate: the pipeline uses it from its next task on", permissions=["change"])
    def activate_selected(self, request: HttpRequest, rows: QuerySet[Module]) -> None:
        self._each(request, rows, services.activate, "is in use")

    @action(
        description="Unload: the pipeline stops using it, and cycles end at that stage",
        permissions=["change"],
    )
    def unload_selected(self, request: HttpRequest, rows: QuerySet[Module]) -> None:
        self._each(request, rows, services.unload, "is unloaded")

    def save_model(self, request: HttpRequest, obj: Module, _form: Any, _change: bool) -> None:
        """The form has asked `check_registration` already, so this refuses only in a race."""
        row = services.register(
            obj.name,
            obj.path,
            obj.version,
            dependencies=obj.dependencies,
            hot_reloadable=obj.hot_reloadable,
            actor=request.user.get_username(),
        )
        obj.pk = row.pk
        obj.refresh_from_db()

    def has_change_permission(self, request: HttpRequest, obj: Module | None = None) -> bool:
        """Rows are changed by registering and by the actions, which check them; the form only shows them."""
        return obj is None and bool(super().has_change_permission(request, obj))

    def has_delete_permission(self, _request: HttpRequest, _obj: Module | None = None) -> bool:
        """History and cycles name modules: they are unloaded, not deleted."""
        return False

    def _each(self, request: HttpRequest, rows: QuerySet[Module], change: Callable[..., Module], done: str) -> None:
        for row in rows:
            try:
                change(row.name, actor=request.user.get_username())
            except HeliosError as error:
                self.message_user(request, str(error), messages.ERROR)
            else:
                self.message_user(request, f"{row.name} {done}", messages.SUCCESS)
