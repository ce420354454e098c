"""Forms for flags and segments in the admin: what the services would refuse stands beside its field."""

from __future__ import annotations

from types import ModuleType
from typing import Any, ClassVar, Final

from django import forms
from unfold.forms import ActionForm
from unfold.widgets import UnfoldAdminTextInputWidget

from helios.control.admin import ChangeForm
from helios.entries import MAX_REASON
from helios.errors import Conflict, HeliosError
from helios.flags import references, roles, segments, services
from helios.flags.core.definition import Strategy
from helios.flags.core.fields import EDITABLE
from helios.flags.errors import InvalidFlagError
from helios.flags.models import JSON_LISTS, FeatureFlag, FlagSegment
from helios.flags.roles import Direction
from helios.web.boxes import JsonText
from helios.web.roles import Role

LISTS = ("whitelist", "blacklist", "segments", "environments")
MAX_ROWS: Final = 20
_HELP = {
    "whitelist": "symbols, users, strategies or systems, separated by commas",
    "blacklist": "symbols, users, strategies or systems, separated by commas",
    "environments": "such as prod, separated by commas; empty: in all",
    "segments": "names, separated by commas",
}


class TriedForm(ChangeForm):
    """A change that is tried out before it is made."""

    service: ClassVar[ModuleType]  # its `create` and `edit` make the change, and take it back when it is a trial

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            if name in {"description", *LISTS}:
                field.widget.attrs["rows"] = 2
            if isinstance(field, JsonText):
                n_lines = str(field.prepare_value(self.initial.get(name))).count("\n") + 1
                field.widget.attrs["rows"] = min(n_lines + 1, MAX_ROWS)

    def try_out(self) -> None:
        """Make the change as the services do, as a new row or as an edit of the one that was seen, and take it back."""
        trial: dict[str, Any] = {"actor": "trial", "dry_run": True}
        if self.instance.pk is None:
            self.service.create(self.cleaned_data["name"], self.changes(), **trial)
        else:
            seen = self.cleaned_data["seen_version"]
            self.service.edit(self.instance.name, self.changes(), version=seen, **trial)

    def clean(self) -> dict[str, Any]:
        """Try the change out, so that a refusal is shown where it belongs and nothing that was typed is lost."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        data.update({name: [] for name in JSON_LISTS if name in data and data[name] is None})  # an emptied box
        if not self.errors:
            try:
                self.try_out()
            except InvalidFlagError as error:
                self.add_error(error.field if error.field in self.fields else None, str(error))
            except Conflict as error:
                self.add_error(None, f"Nothing was changed: {error}")
            except HeliosError as error:
                self.add_error(None, str(error))
        return data


class FlagForm(TriedForm):
    """A flag. A killed one comes back by the button alone."""

    editable = EDITABLE
    service: ClassVar[ModuleType] = services

    class Meta:
        model = FeatureFlag
        fields = ("name", *EDITABLE)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in _HELP.keys() & self.fields.keys():
            self.fields[name].help_text = _HELP[name]
        if "segments" in self.fields:
            known = ", ".join(FlagSegment.objects.values_list("name", flat=True)) or "none yet"
            self.fields["segments"].help_text += f"; there are: {known}"
        if "strategy" in self.fields:
            choices = [(each.value, each.value) for each in Strategy if each is not Strategy.KILL_SWITCH]
            self.fields["strategy"].choices = choices  # type: ignore[attr-defined]

    def needed(self) -> Role:
        """A new flag may do anything; an edit what its changed fields do."""
        if self.instance.pk is None:
            return roles.for_flag(self.cleaned_data.get("name", ""), Direction.OTHER)
        direction = roles.direction_of(self.changes(), enabled=bool(self.cleaned_data.get("enabled")))
        return roles.for_flag(self.instance.name, direction, references.steered_by_flag(self.instance.name))


class SegmentForm(TriedForm):
    """A segment; its constraints in Unleash's form."""

    editable = segments.EDITABLE
    service: ClassVar[ModuleType] = segments

    class Meta:
        model = FlagSegment
        fields = ("name", *segments.EDITABLE)

    def needed(self) -> Role:
        """By the flags that use it."""
        return roles.for_segment(references.steered_by_segment(self.instance.name))


def _named(name: str) -> dict[str, str]:
    """A field that says itself what it is for."""
    return {"placeholder": name, "aria-label": name}


class FlagActionForm(ActionForm):  # type: ignore[misc]
    """What an action on several flags may be given: a share for `set percentage`, and a reason."""

    percentage = forms.CharField(  # a text: what is wrong with it is told by the action, not swallowed by the form
        required=False, label="", widget=UnfoldAdminTextInputWidget(attrs=_named("percentage"))
    )
    reason = forms.CharField(
        required=False, max_length=MAX_REASON, label="", widget=UnfoldAdminTextInputWidget(attrs=_named("reason"))
    )
