"""Pages of what services write: history that is only read, refusals as messages, and a change of every chosen row."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.admin import TabularInline

from helios.errors import HeliosError
from helios.web.admin_base import RoledAdmin
from helios.web.roles import Role


class ShownInline(TabularInline):
    """Rows that services wrote: they can be read here, nothing else."""

    verbose_name_plural = "history, newest first"
    extra = 0
    per_page = 20
    can_delete = False
    hide_title = True
    tab = True

    def has_add_permission(self, *_: Any) -> bool:
        return False

    def has_change_permission(self, *_: Any) -> bool:
        return False


class ServicedAdmin(RoledAdmin):
    """Rows that services write: a refused change is a message, and each chosen row is changed by itself."""

    list_per_page = 50

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show what was refused between check and write as a message instead of an error page."""
        try:
            response: HttpResponse = super().changeform_view(request, object_id, form_url, extra_context)
        except HeliosError as error:
            self.message_user(request, f"Nothing was changed: {error}", messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        return response

    def each(
        self,
        request: HttpRequest,
        rows: Iterable[Any],
        change: Callable[[Any], tuple[str, bool]],
        needed: Callable[[Any], Role] | None = None,
    ) -> None:
        """Change every chosen row; what one refuses, or asks a higher role for, is told, and the others go on.

        `change` says what became of a row, and whether that is new.
        """
        for row in rows:
            if needed is not None and self.refused(request, row.name, needed(row)):
                continue
            try:
                message, new = change(row)
            except HeliosError as error:
                self.message_user(request, f"{row.name}: {error}", messages.ERROR)
            else:
                self.message_user(request, message, messages.SUCCESS if new else messages.INFO)
