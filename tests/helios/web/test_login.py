"""Logging in and out, from wherever one comes, ends at a page that is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth.models import User
from django.core import management
from django.shortcuts import resolve_url
from django.test import Client
from django.urls import Resolver404, resolve
from django.utils import timezone
from loguru import logger

from helios.web.marks import is_marked

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clean_redis")]

Lines = list[dict[str, Any]]
PASSWORD = "a long enough password"
ADDRESS = re.compile(r"""(?:href|action)=["'](/[^"'?#]*)""")


@pytest.fixture
def staff(django_user_model: type[User]) -> User:
    return django_user_model.objects.create_user("ann", password=PASSWORD, is_staff=True)


@pytest.fixture
def lines() -> Iterator[Lines]:
    """The fields of each failed login that is logged."""
    found: Lines = []
    sink = logger.add(
        lambda each: found.append(each.record["extra"]), filter=lambda each: each["message"] == "login.failed"
    )
    yield found
    logger.remove(sink)


def log_in(client: Client, address: str, **more: str) -> Any:
    return client.post(address, {"username": "ann", "password": PASSWORD} | more, follow=True)


def leads_somewhere(address: str) -> bool:
    """Whether an address has a view of its own; the admin answers every other one below it by a 404."""
    try:
        found = resolve(address)
    except Resolver404:
        return address.startswith(f"/{settings.STATIC_URL.strip('/')}/")
    return found.url_name is not None


@pytest.mark.usefixtures("staff")
@pytest.mark.parametrize(
    ("address", "more", "end"),
    [
        ("/admin/login/", {}, "/admin/"),
        ("/admin/login/", {"next": "/admin/flags/featureflag/"}, "/admin/flags/featureflag/"),
        ("/admin/login/?next=/docs", {}, "/docs"),
        ("/admin/login/?next=https://elsewhere.example/", {}, "/admin/"),
    ],
)
def test_logging_in_ends_where_one_was_going_or_at_the_start_page(
    client: Client, address: str, more: dict[str, str], end: str
) -> None:
    response = log_in(client, address, **more)
    assert [place for place, _ in response.redirect_chain] == [end]
    assert response.status_code in {200, 403}  # ann has no role: she may be told so, at a page that is there


@pytest.mark.usefixtures("staff")
def test_who_is_logged_in_already_is_sent_to_the_start_page(client: Client) -> None:
    log_in(client, "/admin/login/")
    assert client.get("/admin/login/", follow=True).redirect_chain == [("/admin/", 302)]


@pytest.mark.usefixtures("staff")
def test_the_password_is_changed_and_the_page_after_it_is_there(client: Client) -> None:
    log_in(client, "/admin/login/")
    new = {"old_password": PASSWORD, "new_password1": f"another {PASSWORD}", "new_password2": f"another {PASSWORD}"}
    response = client.post("/admin/password_change/", new, follow=True)
    assert response.redirect_chain == [("/admin/password_change/done/", 302)]
    assert response.status_code == 200


@pytest.mark.usefixtures("staff")
def test_guesses_of_the_old_password_by_a_session_end_like_logins(lines: Lines) -> None:
    client = Client(REMOTE_ADDR="10.0.0.9")
    log_in(client, "/admin/login/")
    del client.cookies["helios_browser"]  # which a browser sends to the page of logins alone
    right = {"old_password": PASSWORD, "new_password1": f"another {PASSWORD}", "new_password2": f"another {PASSWORD}"}
    asked = [client.post("/admin/password_change/", right | {"old_password": "wrong"}) for _ in range(5)]
    assert [each.status_code for each in asked] == [200] * 4 + [429]
    assert client.post("/admin/password_change/", right).status_code == 429
    assert [line["user"] for line in lines] == ["ann"] * 6
    assert User.objects.get(username="ann").check_password(PASSWORD)
    management.call_command("axes_reset_username", "ann", stdout=StringIO())
    assert client.post("/admin/password_change/", right).status_code == 302
    assert Client(REMOTE_ADDR="10.0.0.9").post("/admin/password_change/", right).url.startswith("/admin/login/")


@pytest.mark.usefixtures("staff")
def test_after_five_failures_a_user_is_locked_out_from_that_address_alone(client: Client, lines: Lines) -> None:
    for _ in range(4):
        assert log_in(client, "/admin/login/", password="wrong").status_code == 200
    refused = [log_in(client, "/admin/login/", password="wrong"), log_in(client, "/admin/login/")]
    for each in refused:
        assert (each.status_code, each["Retry-After"]) == (429, "900")
        assert each.content == b"Too many logins of this user from your address have failed: try again in 15 minutes."
    assert client.get("/admin/").status_code == 302
    told = [(line["user"], line["address"], line["locked"]) for line in lines]
    assert told == [("ann", "127.0.0.1", False)] * 4 + [("ann", "127.0.0.1", True)] * 2
    assert "wrong" not in str(lines)
    assert log_in(Client(REMOTE_ADDR="10.0.0.7"), "/admin/login/").redirect_chain == [("/admin/", 302)]
    management.call_command("axes_reset_username", "ann", stdout=StringIO())
    assert log_in(client, "/admin/login/").redirect_chain == [("/admin/", 302)]


@pytest.mark.usefixtures("staff")
def test_a_stranger_at_the_same_address_locks_out_nobody_who_has_logged_in_before(client: Client) -> None:
    log_in(client, "/admin/login/")
    with_session = Client()
    log_in(with_session, "/admin/login/")
    client.post("/admin/logout/")
    stranger = Client()
    for _ in range(6):
        last = log_in(stranger, "/admin/login/", password="wrong")
    assert last.status_code == 429
    assert with_session.get("/admin/password_change/").status_code == 200
    assert log_in(client, "/admin/login/").redirect_chain == [("/admin/", 302)]
    assert log_in(Client(), "/admin/login/").status_code == 429


@pytest.mark.usefixtures("staff")
def test_guesses_with_the_cookie_of_a_browser_end_like_others(client: Client, django_user_model: type[User]) -> None:
    django_user_model.objects.create_user("bob", password=PASSWORD, is_staff=True)
    log_in(client, "/admin/login/")
    cookie = client.cookies["helios_browser"]
    assert is_marked(cookie.value)
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/admin/login/")
    client.post("/admin/logout/")
    for _ in range(5):
        last = log_in(client, "/admin/login/", password="wrong")
    assert last.status_code == 429
    assert log_in(Client(), "/admin/login/").redirect_chain == [("/admin/", 302)]
    for _ in range(5):
        log_in(Client(), "/admin/login/", username="bob", password="wrong")
    assert log_in(client, "/admin/login/", username="bob").status_code == 429
    client.cookies["helios_browser"] = f"x{cookie.value}"
    assert log_in(client, "/admin/login/").redirect_chain == [("/admin/", 302)]  # as anybody, who is not locked out


@pytest.mark.usefixtures("staff")
def test_many_names_from_one_address_are_slowed_down_and_who_has_logged_in_before_goes_on(
    client: Client, settings: Any
) -> None:
    log_in(client, "/admin/login/")
    client.post("/admin/logout/")
    settings.API_RATES = {**settings.API_RATES, "anon": "3/min"}
    answers = [log_in(Client(), "/admin/login/", username=f"user-{each}", password="wrong") for each in range(4)]
    assert [each.status_code for each in answers][-1] == 429
    assert 0 < int(answers[-1]["Retry-After"]) <= 120
    assert answers[-1].content.startswith(b"Too many logins from your address: try again in ")
    assert log_in(client, "/admin/login/").redirect_chain == [("/admin/", 302)]


@pytest.mark.usefixtures("staff")
def test_a_login_that_succeeds_forgets_the_failures_before_it(client: Client) -> None:
    for password in ("wrong", "wrong", "wrong", "wrong", PASSWORD, "wrong", "wrong", "wrong", "wrong"):
        client.post("/admin/logout/")
        assert log_in(client, "/admin/login/", password=password).status_code in {200, 403}


@pytest.mark.usefixtures("staff")
def test_a_lock_ends_by_itself_and_holds_nothing_of_what_was_typed_but_the_name(client: Client) -> None:
    for _ in range(7):
        log_in(client, "/admin/login/", password="wrong")
    (kept,) = AccessAttempt.objects.all()
    assert (kept.username, kept.ip_address, kept.failures_since_start) == ("ann", "127.0.0.1", 5)
    assert "wrong" not in kept.post_data
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=15, seconds=1))
    assert log_in(client, "/admin/login/").redirect_chain == [("/admin/", 302)]


def test_the_lock_costs_other_requests_no_query(admin_client: Client, django_assert_num_queries: Any) -> None:
    admin_client.get("/admin/password_change/")
    with django_assert_num_queries(2):  # the session and its user
        admin_client.get("/admin/password_change/")


@pytest.mark.parametrize("address", ["/admin/", "/admin/logout/", "/admin/password_change/"])
def test_a_stranger_is_sent_to_the_login_page(client: Client, address: str) -> None:
    response = client.get(address, follow=True)
    assert response.redirect_chain[-1][0].startswith("/admin/login/")
    assert response.status_code == 200


def test_logging_out_shows_a_page_whose_links_lead_on(admin_client: Client) -> None:
    response = admin_client.post("/admin/logout/", follow=True)
    assert response.status_code == 200
    assert "/admin/" in ADDRESS.findall(response.content.decode())


@pytest.mark.parametrize(
    "setting", ["LOGIN_URL", "LOGIN_REDIRECT_URL", "LOGOUT_REDIRECT_URL", "ABSOLUTE_URL_OVERRIDES"]
)
def test_no_default_address_of_django_leads_nowhere(setting: str) -> None:
    value = getattr(settings, setting)
    assert not value or leads_somewhere(resolve_url(value))


@pytest.mark.parametrize("address", ["/", "/admin/", "/admin/login/", "/admin/password_change/", "/admin/logout/"])
def test_every_address_on_a_page_leads_somewhere(admin_client: Client, client: Client, address: str) -> None:
    asking = client if address == "/admin/login/" else admin_client
    post = address == "/admin/logout/"
    response = asking.post(address) if post else asking.get(address, headers={"Accept": "text/html"})
    found = set(ADDRESS.findall(response.content.decode()))
    assert found
    assert [each for each in sorted(found) if not leads_somewhere(each)] == []


def test_a_name_longer_than_any_account_s_is_an_error_of_the_form(client: Client) -> None:
    answer = log_in(client, "/admin/login/", username="a" * 60_000)
    assert (answer.status_code, AccessAttempt.objects.count()) == (200, 0)
    assert "Ensure this value has at most 150 characters" in answer.content.decode()
