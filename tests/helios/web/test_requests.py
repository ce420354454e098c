"""What every request gets: id, timing, one log line, CORS where allowed, and a policy against foreign hosts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import Client, RequestFactory
from hypothesis import given
from hypothesis import strategies as st
from loguru import logger

from helios import VERSION
from helios.web.middleware import REQUEST_ID, RequestLog, request_id
from helios.web.roles import Role
from tests.support import warm
from tests.support.people import api_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """The log records of a test, as dicts of their extra fields with level and message."""
    kept: list[dict[str, Any]] = []

    def keep(message: Any) -> None:
        record = message.record
        kept.append({**record["extra"], "level": record["level"].name, "message": record["message"]})

    sink = logger.add(keep, level="DEBUG")
    yield kept
    logger.remove(sink)


def requests_in(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if line["message"] == "http.request"]


@given(st.text(max_size=80))
def test_whatever_a_caller_claims_the_request_id_is_safe_in_a_header_and_in_a_log(claimed: str) -> None:
    assert REQUEST_ID.fullmatch(request_id(claimed))


def test_a_well_formed_request_id_is_kept_and_another_is_replaced(client: Client) -> None:
    kept = client.get("/health", headers={"X-Request-ID": "trace-0123456789"})
    replaced = client.get("/health", headers={"X-Request-ID": "a b\tc"})
    assert kept["X-Request-ID"] == "trace-0123456789"
    assert replaced["X-Request-ID"] != "a b\tc"
    assert len(replaced["X-Request-ID"]) == 32


def test_two_requests_get_two_ids(client: Client) -> None:
    assert client.get("/health")["X-Request-ID"] != client.get("/health")["X-Request-ID"]


def test_server_timing_tells_total_and_database_time(client: Client) -> None:
    timing = client.get("/health/ready")["Server-Timing"]
    assert timing.startswith("app;dur=")
    assert "db;dur=" in timing
    assert '"0 queries"' not in timing
    assert '"0 queries"' in client.get("/health")["Server-Timing"]


def test_a_request_leaves_exactly_one_line_without_its_query_string(
    client: Client, lines: list[dict[str, Any]]
) -> None:
    response = client.get("/?token=do-not-log-me")
    (line,) = requests_in(lines)
    assert (line["method"], line["path"], line["status"], line["level"]) == ("GET", "/", 200, "INFO")
    assert line["request_id"] == response["X-Request-ID"]
    assert line["duration_ms"] >= 0
    assert "do-not-log-me" not in json.dumps(line, default=str)


def test_health_probes_are_logged_at_debug_only(client: Client, lines: list[dict[str, Any]]) -> None:
    client.get("/health")
    assert [line["level"] for line in requests_in(lines)] == ["DEBUG"]


def test_the_line_names_the_user_of_a_token(lines: list[dict[str, Any]]) -> None:
    api_of(Role.VIEWER, "desk-bot").get("/api/books/")
    assert requests_in(lines)[-1]["user"] == "desk-bot"


def test_the_line_names_the_user_of_a_session(admin_client: Client, lines: list[dict[str, Any]]) -> None:
    admin_client.get("/admin/")
    assert requests_in(lines)[-1]["user"] == "admin"


@pytest.mark.parametrize(
    ("path", "status"), [("/static/nope.css", 404), ("/docs", 503), ("/redoc", 503), ("/admin/", 503)]
)
def test_while_the_database_is_away_a_page_of_somebody_is_answered_and_logged(
    admin_client: Client, lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, path: str, status: int
) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr("django.contrib.auth.get_user", away)
    monkeypatch.setattr(admin_client, "raise_request_exception", False)
    assert admin_client.get(path).status_code == status
    assert [(line["status"], line["user"]) for line in requests_in(lines)] == [(status, None)]


@pytest.mark.parametrize("path", ["/admin/login/", "/api/books/", "/docs"])
def test_what_lies_around_all_views_says_that_the_database_is_away(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr("django.contrib.sessions.middleware.SessionMiddleware.process_response", away)
    monkeypatch.setattr(admin_client, "raise_request_exception", False)
    answer = admin_client.get(path)
    assert answer.status_code == 503
    assert "The database does not answer" in answer.content.decode()
    assert (answer["Content-Type"] == "application/problem+json") is path.startswith("/api/")


def test_a_failed_request_is_logged_as_a_warning(rf: RequestFactory, lines: list[dict[str, Any]]) -> None:
    from django.http import HttpResponse

    RequestLog(lambda _: HttpResponse(status=502))(rf.get("/health"))
    assert [line["level"] for line in requests_in(lines)] == ["WARNING"]


def test_pages_may_load_from_this_server_only(client: Client) -> None:
    policy = client.get("/")["Content-Security-Policy"]
    assert policy.startswith("default-src 'self'")
    assert "http" not in policy


# --- CORS ---

ORIGIN = "https://desk.example.org"


@pytest.fixture
def allowed(settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN]


def test_without_a_list_no_cors_header_is_sent(client: Client) -> None:
    response = client.get("/health", headers={"Origin": ORIGIN})
    assert not [name for name in response.headers if name.startswith("Access-Control")]


@pytest.mark.usefixtures("allowed")
def test_a_listed_origin_may_read_and_sees_our_headers(client: Client) -> None:
    response = client.get("/health", headers={"Origin": ORIGIN})
    assert response["Access-Control-Allow-Origin"] == ORIGIN
    assert "X-Request-ID" in response["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in response
    assert "origin" in response["Vary"].lower()


@pytest.mark.usefixtures("allowed")
def test_another_origin_gets_nothing_but_the_vary_header(client: Client) -> None:
    response = client.get("/health", headers={"Origin": "https://evil.example.org"})
    assert "Access-Control-Allow-Origin" not in response
    assert "origin" in response["Vary"].lower()


@pytest.mark.usefixtures("allowed")
def test_a_preflight_is_answered_without_credentials(client: Client) -> None:
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}
    response = client.options("/api/books/", headers=headers)
    assert (response.status_code, response.content) == (200, b"")
    assert "Access-Control-Allow-Credentials" not in response
    assert {"authorization", "idempotency-key", "if-match"} <= set(response["Access-Control-Allow-Headers"].split(", "))
    assert "GET" in response["Access-Control-Allow-Methods"]


@pytest.mark.usefixtures("allowed")
def test_a_preflight_of_another_origin_is_not_answered_for(client: Client) -> None:
    headers = {"Origin": "https://evil.example.org", "Access-Control-Request-Method": "GET"}
    response = client.options("/api/books/", headers=headers)
    assert response.content == b""
    assert not [name for name in response.headers if name.startswith("Access-Control")]


# --- index and static files ---


def test_the_index_is_json_for_programs_and_a_page_for_browsers(client: Client) -> None:
    body = client.get("/").json()
    assert (body["name"], body["version"]) == ("Helios", VERSION)
    assert set(body["links"]) == {"admin", "docs", "redoc", "schema", "health", "ready"}
    page = client.get("/", headers={"Accept": "text/html,*/*"})
    assert page["Content-Type"].startswith("text/html")
    assert VERSION in page.content.decode()


def test_every_link_of_the_index_leads_somewhere(client: Client) -> None:
    for href in client.get("/").json()["links"].values():
        assert client.get(href, follow=True).status_code == 200, href


def test_the_index_may_not_be_written_to(client: Client) -> None:
    assert client.post("/").status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        "/static/web/sun.svg",
        "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js",
        "/static/drf_spectacular_sidecar/redoc/bundles/redoc.standalone.js",
        "/static/unfold/css/styles.css",
    ],
)
def test_static_files_come_from_our_own_disk(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert not response.streaming  # a synchronous stream would make Django warn under ASGI
    assert len(response.content) == int(response["Content-Length"])


ANSWERS = """
import sys, django
django.setup()
from django.test import Client
for path in sys.argv[1:]:
    answer = Client(headers={"host": "desk.example"}).get(path, secure=True)
    print(answer.status_code, b"alert" in answer.content)
"""


def test_no_static_file_comes_from_where_a_worker_may_write(tmp_path: Path) -> None:
    paths = ["unfold/js/alpine/alpine.anchor.js", "planted.js"]
    for each in paths:
        planted = tmp_path / "static" / each
        planted.parent.mkdir(parents=True, exist_ok=True)
        planted.write_text("alert(1)")
    outside = {"HELIOS_ENVIRONMENT": "prod", "HELIOS_SECRET_KEY": "k" * 60, "HELIOS_ALLOWED_HOSTS": "desk.example"}
    environ = {**os.environ, **outside, "HELIOS_VAR_DIR": str(tmp_path)}
    ended = warm.run(["-c", ANSWERS, *(f"/static/{each}" for each in paths)], env=environ)
    assert ended.stdout.splitlines() == ["200 False", "404 False"], ended.stderr


def test_an_unchanged_static_file_is_not_sent_again(client: Client) -> None:
    first = client.get("/static/web/sun.svg")
    again = client.get("/static/web/sun.svg", headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_part_of_a_static_file_can_be_asked_for(client: Client) -> None:
    whole = client.get("/static/web/sun.svg").content
    part = client.get("/static/web/sun.svg", headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.content) == (206, whole[:10])


def test_the_favicon_leads_to_a_file_that_exists(client: Client) -> None:
    assert client.get("/favicon.ico", follow=True).status_code == 200


def test_times_read_as_iso_in_the_admin(admin_client: Client, admin_user: User) -> None:
    page = admin_client.get("/admin/auth/user/").content.decode()
    assert admin_user.last_login is None or "a.m." not in page
    from django.utils.formats import date_format

    assert date_format(admin_user.date_joined, "DATETIME_FORMAT") == f"{admin_user.date_joined:%Y-%m-%d %H:%M:%S}"


def test_a_page_of_somebody_else_can_neither_frame_ours_nor_send_its_forms(admin_user: User, settings: Any) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(admin_user)
    page = browser.get("/admin/trading/book/")
    assert page["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in page["Content-Security-Policy"]
    assert "form-action 'self'" in page["Content-Security-Policy"]
    assert (settings.SESSION_COOKIE_HTTPONLY, settings.SESSION_COOKIE_SAMESITE) == (True, "Lax")
    for address in ("/admin/trading/book/", "/admin/login/"):
        assert browser.post(address, {"action": "halt_books"}).status_code == 403
    assert browser.post("/api/books/demo/halt", "{}", content_type="application/json").status_code == 403
