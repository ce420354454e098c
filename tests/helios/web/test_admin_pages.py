"""Every page of the admin opens, for whoever may see it, without anything from another server."""

from __future__ import annotations

import hashlib
import pickle
import re
from typing import Any

import pytest
import redis
from django import forms
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.contrib.postgres.forms import SimpleArrayField
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from helios.admin_menu import SIDEBAR
from helios.control.admin import ShownInline
from helios.db.lengths import LONG_COLUMNS
from helios.events.models import SystemEvent
from helios.flags.models import FeatureFlag
from helios.web.admin_base import BoundedList, ReadOnlyAdmin, RoledAdmin
from helios.web.boxes import JsonText, NameList
from helios.web.models import ApiToken
from helios.web.roles import Role
from helios.web.tokens import digest_of, make
from tests.support.admin_people import Desk
from tests.support.people import api_of, in_days

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clean_redis")]

admin.autodiscover()  # as the addresses do
MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
FOREIGN = re.compile(r"""(?:src|href|action)=["'](?:https?:)?//""")


def changelist(model: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_every_list_opens_with_its_search_and_its_add_page_or_a_refusal(admin_client: Client, model: Any) -> None:
    for query in ({}, {"q": "nothing"}) if admin.site._registry[model].search_fields else ({},):
        response = admin_client.get(changelist(model), query)
        assert response.status_code == 200
        assert not FOREIGN.search(response.content.decode())
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_add"
    assert admin_client.get(reverse(name)).status_code in {200, 403}


@pytest.mark.parametrize(("data", "coloured"), [({"a": [1, {"b": None}]}, True), ([[[[0] * 40_000]]] * 8, False)])
def test_json_of_a_row_is_shown_in_colours_where_it_is_short(admin_client: Client, data: Any, coloured: bool) -> None:
    row = SystemEvent.objects.create(kind="test.long", source="test", data={"nested": data})
    page = admin_client.get(reverse("admin:events_systemevent_change", args=[row.pk])).content.decode()
    assert ("nested" in page, "<span style=" in page.partition("nested")[2]) == (True, coloured)
    assert len(page) < 3_000_000


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_every_choice_of_every_filter_opens(admin_client: Client, model: Any) -> None:
    listed = admin_client.get(changelist(model)).context["cl"]
    for each in listed.filter_specs:
        for choice in each.choices(listed):
            if isinstance(asked := choice.get("query_string"), str):
                assert admin_client.get(changelist(model) + asked).status_code == 200, asked
    if admin.site._registry[model].date_hierarchy:
        day = {f"{admin.site._registry[model].date_hierarchy}__{of}": 1 for of in ("month", "day")}
        assert admin_client.get(changelist(model), {**day, "ts__year": 2026}).status_code == 200


@pytest.mark.parametrize(
    "asked",
    [
        *("data__0__isnull=1", "kind__icontains=a", "severity__search=a"),
        *("severity__in=" + "a," * 1_000, "&".join(["severity__in=info"] * 21)),
    ],
)
def test_a_list_is_asked_by_its_filters_alone_and_by_few_values(admin_client: Client, asked: str) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert admin_client.get(f"/admin/events/systemevent/?{asked}").status_code in {302, 400}
    assert "system_events" not in " ".join(query["sql"] for query in queries)
    assert admin_client.get("/admin/events/systemevent/?severity__exact=critical&q=feed").status_code == 200


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_no_list_reads_its_table_for_who_asks_for_more_than_a_person_does(admin_client: Client, model: Any) -> None:
    with CaptureQueriesContext(connection) as queries:
        for asked in ("q=" + "a+" * 101, "&".join(["pk=1"] * 21), "pk__in=" + "1," * 1_000, "pk__regex=a"):
            assert admin_client.get(f"{changelist(model)}?{asked}").status_code in {302, 400}, asked
        assert admin_client.post(changelist(model), {"q": "a"}).headers["Location"] == changelist(model)
    assert f'FROM "{model._meta.db_table}" WHERE (' not in " ".join(query["sql"] for query in queries)


@pytest.mark.parametrize(("who", "data"), [("viewer", {"index": 0, "_selected_action": 1}), ("trader", {"q": 1})])
def test_a_list_is_not_read_for_who_sends_no_action(who: str, data: dict[str, Any]) -> None:
    """Such requests have the threads that serve halts."""
    page = Desk(who).http
    with CaptureQueriesContext(connection) as queries:
        for method in ("post", "put", "delete"):
            found = getattr(page, method)("/admin/trading/pipelinecycle/?status__exact=DONE", data)
            assert (found.status_code, found.headers.get("Location")) == (302, "/admin/trading/pipelinecycle/")
    assert "pipeline_cycles" not in " ".join(query["sql"] for query in queries)


def test_no_list_reads_what_may_be_long(admin_client: Client) -> None:
    """Of a worker's rows that is a megabyte each: a page of them would take the memory of whoever halts a book."""
    asked = [(admin_client, changelist(model)) for model in MODELS]
    viewer = api_of(Role.VIEWER).http
    asked += [(viewer, path) for path in ("/api/cycles/", "/api/modularity/modules/status")]
    for person, path in asked:
        with CaptureQueriesContext(connection) as queries:
            assert person.get(path).status_code == 200
        said = " ".join(query["sql"] for query in queries)
        for table, columns in LONG_COLUMNS.items():
            assert [each for each in columns if f'"{table}"."{each}"' in said] == [], path


@pytest.mark.parametrize("year", ["99999999999", "9999", "0", "²", "5" * 5000])
@pytest.mark.parametrize("model", [model for model, page in admin.site._registry.items() if page.date_hierarchy])
def test_a_year_that_no_calendar_has_leads_back_to_the_whole_list(admin_client: Client, model: Any, year: str) -> None:
    field = admin.site._registry[model].date_hierarchy
    response = admin_client.get(changelist(model), {f"{field}__year": year})
    assert (response.status_code, response["Location"]) == (302, f"{changelist(model)}?e=1")


def test_every_page_has_the_look_of_the_theme() -> None:
    from unfold.admin import ModelAdmin

    plain = [model._meta.label for model, page in admin.site._registry.items() if not isinstance(page, ModelAdmin)]
    assert plain == []


def test_every_link_of_the_sidebar_leads_to_a_page(admin_client: Client) -> None:
    links = [str(item["link"]) for group in SIDEBAR for item in group["items"]]
    assert len(links) == len(set(links))
    for link in links:
        assert admin_client.get(link).status_code == 200, link


def test_the_sidebar_shows_only_what_a_user_may_see(client: Client, django_user_model: type[User]) -> None:
    viewer = django_user_model.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_featureflag"))
    client.force_login(viewer)
    page = client.get("/admin/").content.decode()
    assert "Feature flags" in page
    assert "Circuit breakers" not in page


def test_the_login_page_is_shown_to_strangers(client: Client) -> None:
    response = client.get("/admin/", follow=True)
    assert response.redirect_chain[0][0].startswith("/admin/login/")
    assert not FOREIGN.search(response.content.decode())


def test_a_new_token_is_shown_once_and_never_listed(admin_client: Client, admin_user: User) -> None:
    end = in_days(30)
    data = {"user": admin_user.pk, "name": "bot", "expires_at_0": f"{end:%Y-%m-%d}", "expires_at_1": "00:00:00"}
    page = admin_client.post(reverse("admin:web_apitoken_add"), data, follow=True).content.decode()
    (token,) = re.findall(r"helios_[\w-]{59}", page)
    row = ApiToken.objects.get()
    assert (row.digest, row.made_by) == (digest_of(token), admin_user.get_username())
    listed = admin_client.get(reverse("admin:web_apitoken_changelist")).content.decode()
    assert token not in listed
    assert row.digest not in listed


def test_the_form_of_a_token_refuses_an_end_that_is_past(admin_client: Client, admin_user: User) -> None:
    data = {"user": admin_user.pk, "name": "bot", "expires_at_0": "2020-01-01", "expires_at_1": "00:00:00"}
    page = admin_client.post(reverse("admin:web_apitoken_add"), data).content.decode()
    assert "a token must end from now to 3650 days on, was 2020-01-01 00:00 UTC" in page
    assert not ApiToken.objects.exists()


def test_a_token_is_revoked_in_the_admin(admin_client: Client, admin_user: User, client: Client) -> None:
    token, row, _ = make(admin_user, "bot", expires_at=in_days(1), actor="ann")
    data = {"action": "revoke", "_selected_action": [row.pk]}
    assert "1 token(s) revoked." in admin_client.post(
        reverse("admin:web_apitoken_changelist"), data, follow=True
    ).content.decode()  # fmt: skip
    assert Client().get("/api/books/", headers={"Authorization": f"Token {token}"}).status_code == 401
    row.refresh_from_db()
    assert row.revoked_by == admin_user.get_username()
    assert admin_client.post(reverse("admin:web_apitoken_delete", args=[row.pk])).status_code == 403


def test_a_periodic_task_can_be_edited(admin_client: Client) -> None:
    every = IntervalSchedule.objects.create(every=5, period="seconds")
    task = PeriodicTask.objects.create(name="probe", task="sentinel.audit", interval=every)
    page = admin_client.get(reverse("admin:django_celery_beat_periodictask_change", args=[task.pk]))
    assert page.status_code == 200
    assert "sentinel.audit" in page.content.decode()


@pytest.mark.parametrize("action", ["add", "change", "delete"])
def test_a_read_only_page_refuses_even_a_superuser(admin_client: Client, admin_user: User, action: str) -> None:
    from helios.events.models import SystemEvent

    event = SystemEvent.objects.create(kind="test.made", source="tests")
    args = [] if action == "add" else [event.pk]
    url = reverse(f"admin:events_systemevent_{action}", args=args)
    assert admin_client.post(url, {"kind": "test.changed"}).status_code == 403


@pytest.mark.parametrize("name", ["viewer", "operator", "trader"])
def test_no_page_offers_an_action_that_no_rule_covers(name: str) -> None:
    """A package's actions ask for no permission: by those of periodic tasks a viewer stopped the desk."""
    request = RequestFactory().get("/")
    request.user = User.objects.get(username=Desk(name).name)
    for page in admin.site._registry.values():
        offered = set(page.get_actions(request)) if page.has_view_permission(request) else set()
        ruled = set(page.action_routes) if isinstance(page, RoledAdmin) else set()
        guarded = {each for each in offered if getattr(getattr(page, each, None), "allowed_permissions", None)}
        assert offered - ruled - guarded - {"delete_selected"} == set(), page


class _Code:
    """What runs where its pickle is read."""

    def __reduce__(self) -> Any:
        return exec, ("import tests.helios.web.test_admin_pages as here; here.RAN.append(1)",)


RAN: list[int] = []


def test_nothing_that_lies_in_valkey_is_run_by_the_web(admin_client: Client, clean_redis: redis.Redis) -> None:
    """The search box of the admin reads Django's cache by a key that anybody can work out."""
    user = User.objects.get(username="admin")
    digest = hashlib.sha256(f"{user.pk}_book".encode()).hexdigest()
    clean_redis.set(f":1:unfold_search_{digest}", pickle.dumps(_Code()))
    assert "Books" in admin_client.get(reverse("admin:search"), {"s": "book"}).content.decode()
    assert RAN == []


@pytest.mark.parametrize("page", ["abc", "-5", "0", "99", "1.5", ""])
def test_a_page_that_a_search_does_not_have_is_not_found(admin_client: Client, page: str) -> None:
    for wanted in ({}, {"extended": ""}):
        asked = {"s": "book", "page": page} | wanted
        assert admin_client.get(reverse("admin:search"), asked).status_code == 404
        assert "Books" in admin_client.get(reverse("admin:search"), asked | {"page": "1"}).content.decode()


@pytest.mark.parametrize("more", ["", "?_facets=True"])
def test_a_filter_offers_few_of_the_values_of_a_column(admin_client: Client, more: str) -> None:
    events = [SystemEvent(kind="x", severity="info", source=f"s{number:04d}") for number in range(1_000)]
    SystemEvent.objects.bulk_create(events)
    page = admin_client.get(f"/admin/events/systemevent/{more}").content.decode()
    offered = set(re.findall(r"source=(s\d{4})", page))
    assert 50 < len(offered) <= 100
    assert "s0000" in offered
    assert admin_client.get("/admin/events/systemevent/?source=s0900").status_code == 200


def test_no_page_completes_what_is_typed_by_a_search_without_bound(admin_client: Client) -> None:
    asked = {"app_label": "trading", "model_name": "tradeexecution", "field_name": "order", "term": "p"}
    assert admin_client.get("/admin/autocomplete/", asked).status_code == 404


def test_a_search_is_for_staff_alone(client: Client) -> None:
    assert client.get(reverse("admin:search"), {"s": "book"})["Location"].startswith(reverse("admin:login"))


def test_every_inline_of_the_admin_is_only_shown() -> None:
    """What a form said of its rows was believed: of 2,000 that were none, each page took seconds."""
    for page in admin.site._registry.values():
        assert isinstance(page, BoundedList), page
        for inline in page.inlines:
            assert issubclass(inline, ShownInline) or isinstance(page, ReadOnlyAdmin), inline


@pytest.mark.parametrize("kind", ["flags/featureflag", "flags/flagsegment", "breakers/circuitbreaker"])
def test_a_form_says_nothing_of_the_rows_that_are_shown_beside_it(admin_client: Client, kind: str) -> None:
    path = f"/admin/{kind}/add/"
    prefix = re.search(r'name="(\w+)-TOTAL_FORMS"', admin_client.get(path).content.decode())
    named = prefix[1] if prefix else "history"
    body = {f"{named}-{each}_FORMS": "1000" for each in ("TOTAL", "INITIAL", "MIN_NUM", "MAX_NUM")}
    page = admin_client.post(path, {"name": "", **body})
    assert (page.status_code, f"{named}-1-" in page.content.decode()) == (200, False)


@pytest.mark.parametrize("page", ["9" * 4_400, "²", "٣", "0", "-1", "999999999", "soon"])
def test_a_page_of_a_history_that_there_is_not_is_the_first(admin_client: Client, page: str) -> None:
    flag = reverse("admin:flags_featureflag_change", args=[FeatureFlag.objects.get(name="websocket_v2").pk])
    (named,) = re.findall(r'name="(\w+)-TOTAL_FORMS"', admin_client.get(flag).content.decode())
    assert admin_client.get(flag, {f"{named}-page": page}).status_code == 200
    assert admin_client.post(flag, {f"{named}-page": page, "percentage": "many"}).status_code == 200


@pytest.mark.parametrize(
    "typed",
    [{"task": "x" * 201}, {"task": "a\0"}, {"task": "a", "args": "[" * 2_000}, {"task": "a", "kwargs": "[[NaN"}],
)
def test_what_is_typed_into_a_periodic_task_is_refused_beside_it(admin_client: Client, typed: dict[str, str]) -> None:
    page = admin_client.post(reverse("admin:django_celery_beat_periodictask_add"), {"name": "n", "args": "[]", **typed})
    assert page.status_code == 200
    assert {*typed} & {*page.context["adminform"].form.errors}


def test_an_address_that_names_no_field_shows_the_row(admin_client: Client) -> None:
    row = SystemEvent.objects.create(kind="test.row", source="test")
    page = reverse("admin:events_systemevent_change", args=[row.pk])
    assert [admin_client.get(f"{page}?_to_field={each}").status_code for each in ("", "id", "nope")] == [200, 200, 400]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_no_box_of_a_form_takes_more_values_than_a_person_types(admin_client: Client, model: Any) -> None:
    """Django reads a megabyte of them several times, and tells of each that is wrong."""
    response = admin_client.get(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add"))
    if response.status_code == 200:
        fields = response.context["adminform"].form.fields.values()
        several = [each for each in fields if isinstance(each, (forms.JSONField, SimpleArrayField))]
        assert all(isinstance(each, (JsonText, NameList)) for each in several)
        assert len(several) == {"FeatureFlag": 9, "FlagSegment": 1, "Module": 1}.get(model.__name__, 0)
