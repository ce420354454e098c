"""Pages of what services write: history that is only read, changes by the services, and a button for each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.admin import TabularInline
from unfold.decorators import action
from unfold.forms import PaginationInlineFormSet
from unfold.widgets import UnfoldAdminTextareaWidget

from helios.entries import MAX_REASON
from helios.errors import HeliosError
from helios.web.admin_base import RoledAdmin, RoledForm
from helios.web.roles import Role
from helios.web.shapes import ONE_LINE

MOST_AT_ONCE: Final = 50  # rows: each is a transaction, and who halts a book by the admin waits for one of few threads


class ShownRows(PaginationInlineFormSet):
    """Rows that are only shown: what a form says of them, or of how many there are, is not read."""

    def __init__(self, *args: Any, data: Any = None, files: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def get_page_num(self) -> int:
        """By its address; unfold's takes whatever Unicode knows as a number, of any length."""
        given = self.request.GET.get(self.get_pagination_key(), "")
        return int(given) or 1 if given.isascii() and given.isdecimal() and len(given) < 10 else 1

    def is_valid(self) -> bool:
        return True

    def save(self, commit: bool = True) -> list[Any]:
        nothing: list[Any] = []
        self.new_objects = self.changed_objects = self.deleted_objects = nothing
        return nothing


class ShownInline(TabularInline):
    """Rows that services wrote: they can be read here, nothing else."""

    formset = ShownRows
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


class ChangeForm(RoledForm):
    """Editable fields, a reason for the history, and the version at which the person saw the row."""

    editable: ClassVar[tuple[str, ...]] = ()

    reason = forms.CharField(
        required=False,
        max_length=MAX_REASON,
        validators=[ONE_LINE],
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="why you change it; kept in the history",
    )
    seen_version = forms.IntegerField(required=False, widget=forms.HiddenInput())

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["seen_version"].initial = self.instance.version

    def changes(self) -> dict[str, Any]:
        """The fields that the person changed, with their new values."""
        return {
            name: self.cleaned_data[name]
            for name in self.changed_data
            if name in self.editable and name in self.cleaned_data
        }


class ServicedAdmin(RoledAdmin):
    """Rows that services write: a refused change is a message, and each chosen row is changed by itself."""

    list_per_page = 50
    create: Callable[..., object]  # the services of a page with a `ChangeForm`
    edit: Callable[..., object]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Hand the changed fields to the services; the form itself writes nothing."""
        by = {"actor": request.user.get_username(), "reason": form.cleaned_data["reason"]}
        if change:
            self.edit(obj.name, form.changes(), version=form.cleaned_data["seen_version"], **by)
        else:
            self.create(obj.name, form.changes(), **by)
            obj.pk = self.model.objects.get(name=obj.name).pk
        obj.refresh_from_db()

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Beside what was typed and refused stands the row as it is."""
        form = context["adminform"].form
        if form.errors:
            form.instance = self.get_queryset(request).filter(pk=form.instance.pk).first() or self.model()
        return super().render_change_form(request, context, *args, **kwargs)

    def get_readonly_fields(self, _request: HttpRequest, obj: Any | None = None) -> tuple[str, ...]:
        """Code finds a row by its name, so it stays."""
        return self.readonly_fields if obj is None else (*self.readonly_fields, "name")

    def has_delete_permission(self, _request: HttpRequest, _obj: Any | None = None) -> bool:
        """What goes is taken away by a service."""
        return False

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
        chosen = list(rows)
        if len(chosen) > MOST_AT_ONCE:
            self.message_user(request, f"choose {MOST_AT_ONCE} at most, were {len(chosen)}", messages.ERROR)
            return
        for row in chosen:
            if needed is not None and self.refused(request, row.name, needed(row)):
                continue
            try:
                message, new = change(row)
            except HeliosError as error:
                self.message_user(request, f"{row.name}: {error}", messages.ERROR)
            else:
                self.message_user(request, message, messages.SUCCESS if new else messages.INFO)


def button(words: str, change: Callable[..., Any], *, permission: str = "change", **options: Any) -> Any:
    """An action of the list: `change` for every chosen row, by the page's `change_each` with its own `options`."""

    def pressed(page: Any, request: HttpRequest, rows: Iterable[Any]) -> None:
        page.change_each(request, rows, change, **options)

    return action(description=words, permissions=[permission])(pressed)
