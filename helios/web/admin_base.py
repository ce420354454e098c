"""Bases of the admin's pages: read-only ones, and those on which nobody does what the API would refuse.

Django's permissions open a page; the table of `helios.web.roles` decides about each change, as in the API.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

from django import forms
from django.contrib import messages
from django.contrib.admin.filters import AllValuesFieldListFilter, FieldListFilter
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import SEARCH_VAR, ChangeList
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.core.exceptions import ValidationError
from django.db.models import BooleanField, DateField, Field, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold import fields
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.utils import prettify_json

from helios.db.lengths import long_fields
from helios.db.locks import waiting_once
from helios.web import boxes, roles
from helios.web.access import missing, role_of
from helios.web.roles import Role
from helios.web.shapes import Reasoned

NOTICE = "web/role_notice.html"
MAX_COLOURED: Final = 65_536  # letters of JSON
MAX_ASKED: Final = 20  # values in a list's address
READING: Final = frozenset({"GET", "HEAD"})
MAX_ADDRESS: Final = 2_000  # letters of what they ask
COMPARED: Final = frozenset({"exact", "in", "isnull", "gt", "gte", "lt", "lte", "year", "month", "day", "name", "id"})
MAX_VALUES: Final = 100  # of a column, that a filter offers
MAX_SEARCH: Final = 200  # letters: each word of a search is looked for in every column


class FewValues(AllValuesFieldListFilter):
    """Django's choice of every value of a column, for as many as a person looks through; an address may have others."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lookup_choices = self.lookup_choices[:MAX_VALUES]


FieldListFilter.register(
    lambda field: not (field.remote_field or field.flatchoices or isinstance(field, (BooleanField, DateField))),
    FewValues,
    take_priority=True,
)


class BoundedList(ModelAdmin):  # type: ignore[misc]
    """A list that nobody can ask for more than a person does; every page of the admin has it."""

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Django's, which lets a moment that no calendar has, such as the year 99999999999, pass by its own checks.

        Its rows come without what may be long in them, and in those that they refer to: no list shows it.
        """
        if len(request.GET.get(SEARCH_VAR, "")) > MAX_SEARCH:
            raise IncorrectLookupParameters(f"a search must have at most {MAX_SEARCH} letters")
        n_asked = sum(len(values) for _, values in request.GET.lists())
        if n_asked > MAX_ASKED or len(request.META["QUERY_STRING"]) > MAX_ADDRESS:
            raise IncorrectLookupParameters(
                f"a list must be asked by at most {MAX_ASKED} values, in {MAX_ADDRESS} letters"
            )
        try:
            found: ChangeList = super().get_changelist_instance(request)
        except (OverflowError, ValueError) as error:
            raise IncorrectLookupParameters(error) from error
        found.result_list = found.result_list.defer(*long_fields(self.model))
        return found

    def formfield_for_dbfield(self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        """unfold's, with boxes of which nobody can ask for more than a person types."""
        return super().formfield_for_dbfield(db_field, request, **kwargs | boxes.bounded(db_field))

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Django's, which looks for a field without a name where an address names none."""
        return super().get_object(request, object_id, from_field or None)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Django's of the filters that the page has: nobody need have the database look through each row by others."""
        shown = {each[0] if isinstance(each, tuple) else each for each in self.get_list_filter(request)}
        shown |= {getattr(each, "parameter_name", None) for each in shown}  # of a filter that is a class
        field, *how = lookup.split("__")
        asked = field in {*shown, self.date_hierarchy, "pk", "id"} and {*how} <= COMPARED
        return asked and bool(super().lookup_allowed(lookup, value, request))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Django's; who sends no action that is theirs is sent to the list, which is read where others read."""
        chosen = {"index", ACTION_CHECKBOX_NAME} & request.POST.keys()  # there is none of another method
        if request.method not in READING and not (chosen and self.get_actions(request)):
            return HttpResponseRedirect(request.path)
        response: HttpResponse = super().changelist_view(request, extra_context)
        return response


class CheckedActions(BoundedList):
    """Actions on chosen rows: what comes with one keeps the rules of the API, or nothing is done."""

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        wrong = self._wrong(request)
        if wrong:
            self.message_user(request, f"Nothing was changed: {wrong}", messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        with waiting_once():  # however many rows were chosen, and whoever holds them
            response: HttpResponse | None = super().response_action(request, queryset)
        return response

    def _wrong(self, request: HttpRequest) -> str:
        """What is wrong with the reason or with the rows, as a sentence; empty when nothing is."""
        reasoned = Reasoned(data={"reason": request.POST.get("reason", "")})
        if not reasoned.is_valid():
            return f"the reason is not valid: {reasoned.errors['reason'][0]}"
        for chosen in request.POST.getlist(ACTION_CHECKBOX_NAME):
            try:
                self.model._meta.pk.clean(chosen, None)  # noqa: SLF001 - Django's own name for it
            except ValidationError:
                return f"a row must be chosen by its key, was {chosen[:20]!r}"
        return ""


class ReadOnlyAdmin(CheckedActions):
    """Lists and shows rows; nothing is added, changed or deleted by hand.

    `show_full_result_count` is off: large tables are not counted twice a page.
    """

    show_full_result_count = False
    list_per_page = 50
    actions_on_top = True

    def has_add_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False


def json_lines(value: Any, encoder: Any) -> SafeString | None:
    """JSON in lines and colours; None where it is long, which unfold shows as one text: a megabyte took 18 s."""
    if len(json.dumps(value, cls=encoder)) > MAX_COLOURED:
        return None
    return None if len(json.dumps(value, cls=encoder, indent=4)) > MAX_COLOURED else prettify_json(value, encoder)


fields.prettify_json = json_lines  # of every page that shows a row


class RoledForm(forms.ModelForm):  # type: ignore[type-arg]
    """A form that refuses what the person's role does not cover, with everything that was typed still in it."""

    person: ClassVar[AbstractBaseUser | AnonymousUser] = AnonymousUser()  # who asks; `RoledAdmin` says it

    def needed(self) -> Role:
        """The role that this change needs, by what was typed."""
        return Role.OPERATOR

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        lacking = missing(self.person, self.needed())
        if lacking:
            self.add_error(None, f"Nothing was changed: {lacking}")
        return data

    def _post_clean(self) -> None:
        """After a refusal the page shows the row as it is, not as it was wished for; the fields keep what was typed."""
        super()._post_clean()  # type: ignore[misc]
        if self.errors and self.instance.pk is not None:
            self.instance.refresh_from_db()


def lines(texts: Iterable[str]) -> SafeString:
    """Sentences below each other."""
    return format_html_join("", "<p>{}</p>", ((each,) for each in texts))


class RoledAdmin(CheckedActions):
    """A page on which every change asks for a role; what a person may not do is not offered, and the page says so."""

    list_before_template = NOTICE
    change_form_before_template = NOTICE
    none_yet = ""  # what an empty list says
    action_routes: ClassVar[Mapping[str, str]] = {}  # the API's method and route for each action: one rule for both

    def role_for(self, _obj: Any | None) -> Role:
        """The least role that can change anything of this row, or of some row."""
        return Role.OPERATOR

    def above_operator(self, _obj: Any | None) -> str:
        """What needs a trader here, as a sentence for an operator; empty when nothing does."""
        return ""

    def notice(self, request: HttpRequest, obj: Any | None = None) -> str:
        """What the person's role does not cover on this page, as a sentence; empty when it covers everything."""
        held = role_of(request.user)
        if held is None or held < Role.OPERATOR:
            return (
                f"You can only read here: a change needs the role operator, you have {held.label if held else 'none'}."
            )
        return self.above_operator(obj) if held < Role.TRADER else ""

    def refused(self, request: HttpRequest, name: str, needed: Role) -> bool:
        """Tell a person whose role does not cover a change of this row; whether it does not."""
        lacking = missing(request.user, needed)
        if lacking:
            self.message_user(request, f"{name}: nothing was changed, {lacking}", messages.ERROR)
        return bool(lacking)

    @display(description="what the buttons of the list do")  # type: ignore[untyped-decorator]
    def button_words(self, _obj: Any) -> SafeString:
        """The actions of the list, in their own words."""
        return lines(getattr(self, name).short_description for name in self.action_routes)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Those that the person may use on some row; a row may ask for more."""
        found: dict[str, Any] = super().get_actions(request)
        return {name: each for name, each in found.items() if self._offers(request, name)}

    def get_form(self, request: HttpRequest, obj: Any | None = None, change: bool = False, **kwargs: Any) -> Any:
        """A form that knows who fills it in; the class is made for this request."""
        form = super().get_form(request, obj, change=change, **kwargs)
        form.person = request.user
        return form

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return bool(super().has_add_permission(request, *args)) and not missing(request.user, self.role_for(None))

    def has_change_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        return bool(super().has_change_permission(request, obj)) and not missing(request.user, self.role_for(obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        return bool(super().has_delete_permission(request, obj)) and not missing(request.user, self.role_for(obj))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"role_notice": self.notice(request)}
        response: HttpResponse = super().changelist_view(request, context | (extra_context or {}))
        return response

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, obj: Any | None = None, **kwargs: Any
    ) -> HttpResponse:
        context["role_notice"] = self.notice(request, obj)
        response: HttpResponse = super().render_change_form(request, context, *args, obj=obj, **kwargs)
        return response

    def _offers(self, request: HttpRequest, action: str) -> bool:
        method, _, route = self.action_routes.get(action, "").partition(" ")
        rule = roles.rule(route, method)
        return rule is not None and rule.role is not None and not missing(request.user, rule.role)
