"""How often one may ask: a sliding window, counted in the memory of the web process alone."""

from __future__ import annotations

import os
from typing import Any

import pytest
import redis
from django.db import connection
from django.test import Client, RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from helios.events.admin import SystemEventAdmin
from helios.web import throttling
from helios.web.throttling import Rate, Windows, wait_s
from tests.support import warm
from tests.support.people import Api

RATES = st.builds(Rate, limit=st.integers(1, 50), period_s=st.sampled_from([1, 60, 3600]))


class Plain:
    """The window in plain words: counts by window, nothing else."""

    def __init__(self, rate: Rate) -> None:
        self.rate, self.counts = rate, {}  # type: ignore[var-annotated]

    def ask(self, now: float) -> float:
        window, passed = divmod(now, self.rate.period_s)
        before, count = self.counts.get(window - 1, 0), self.counts.get(window, 0)
        wait = wait_s(self.rate, before=before, now=count, share=passed / self.rate.period_s)
        if wait <= 0:
            self.counts[window] = count + 1
        return wait


@given(RATES, st.floats(0, 1e6), st.integers(1, 120))
def test_a_burst_gets_exactly_the_limit(rate: Rate, start: float, burst: int) -> None:
    counter = Plain(rate)
    admitted = sum(counter.ask(start) <= 0 for _ in range(burst))
    assert admitted == min(burst, rate.limit)


@given(RATES, st.lists(st.floats(0, 0.3), min_size=1, max_size=200))
def test_no_window_of_the_period_gets_more_than_twice_the_limit(rate: Rate, gaps: list[float]) -> None:
    counter, now, admitted = Plain(rate), 0.0, []
    for gap in gaps:
        now += gap * rate.period_s
        if counter.ask(now) <= 0:
            admitted.append(now)
    for each in admitted:
        assert sum(each <= other < each + rate.period_s for other in admitted) <= 2 * rate.limit


@given(RATES, st.integers(0, 50), st.integers(0, 50), st.floats(0, 0.999))
def test_whoever_waits_as_told_may_ask(rate: Rate, before: int, now: int, share: float) -> None:
    before, now = min(before, rate.limit), min(now, rate.limit)
    wait = wait_s(rate, before=before, now=now, share=share)
    later = share + wait / rate.period_s + 1e-9
    assert wait >= 0
    if later < 1:
        assert wait_s(rate, before=before, now=now, share=later) <= 1e-6 * rate.period_s
    elif later < 2:
        assert wait_s(rate, before=now, now=0, share=later - 1) <= 1e-6 * rate.period_s


@given(RATES, st.integers(0, 50), st.integers(0, 50), st.floats(0, 0.999), st.floats(0, 0.999))
def test_the_wait_never_grows_while_time_passes(rate: Rate, before: int, now: int, a: float, b: float) -> None:
    early, late = sorted((a, b))
    assert wait_s(rate, before=before, now=now, share=late) <= wait_s(rate, before=before, now=now, share=early) + 1e-6


@pytest.mark.parametrize("text", ["", "600", "0/min", "-1/min", "600/year", "x/min", "1.5/s", "1/ min"])
def test_a_rate_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must read like 600/min"):
        Rate.parse(text)


def test_rates_of_every_unit_are_read() -> None:
    assert [Rate.parse(f"7/{unit}").period_s for unit in ("s", "min", "h", "day")] == [1, 60, 3600, 86400]


@given(RATES, st.lists(st.floats(0, 0.3), min_size=1, max_size=200))
def test_windows_count_as_the_plain_one_does(rate: Rate, gaps: list[float]) -> None:
    windows, plain, now = Windows(), Plain(rate), 1_000_000.0
    for gap in gaps:
        now += gap * rate.period_s
        assert windows.ask("tests", rate, now) == plain.ask(now)


def test_however_many_ask_some_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttling, "MOST", 3)
    windows, rate = Windows(), Rate(limit=1, period_s=60)
    assert [windows.ask(str(who), rate, 1.0) for who in range(5)] == [0.0] * 5
    assert [windows.ask(str(who), rate, 1.0) > 0 for who in (4, 3, 2, 0)] == [True, True, True, False]


# --- over HTTP ---


@pytest.mark.django_db
def test_a_user_who_asks_too_often_is_told_when_to_come_back(viewer: Api, settings: Any) -> None:
    settings.API_RATES = {**settings.API_RATES, "read": "3/h"}
    assert [viewer.get("segments").status_code for _ in range(3)] == [200] * 3
    response = viewer.get("segments")
    assert (response.status_code, response["Content-Type"]) == (429, "application/problem+json")
    assert 0 < int(response["Retry-After"]) <= 7200
    assert response.json()["status"] == 429


@pytest.mark.django_db
def test_reading_writing_what_is_slow_and_what_is_safer_are_counted_apart_and_for_each_user(
    viewer: Api, operator: Api, settings: Any
) -> None:
    settings.API_RATES = {**settings.API_RATES, "read": "1/h", "write": "1/h", "sensitive": "1/h", "safer": "1/h"}
    assert operator.get("segments").status_code == 200
    assert operator.get("segments").status_code == 429
    assert operator.post("feature-flags/websocket_streaming/enable").status_code == 200
    assert operator.post("feature-flags/websocket_streaming/enable").status_code == 429
    assert operator.post("feature-flags/websocket_streaming/disable").status_code == 200
    assert operator.post("feature-flags/websocket_streaming/disable").status_code == 429
    assert operator.post("modules/nope/load").status_code == 404
    assert operator.post("modules/nope/load").status_code == 429
    assert viewer.get("segments").status_code == 200


@pytest.mark.django_db
def test_what_a_person_may_not_do_counts_too(viewer: Api, settings: Any) -> None:
    settings.API_RATES = {**settings.API_RATES, "safer": "2/h"}
    answers = [viewer.post("/api/books/main/halt", {"reason": "x"}).status_code for _ in range(3)]
    assert answers == [403, 403, 429]


@pytest.mark.django_db
def test_pages_of_the_admin_count_with_the_requests_of_the_same_person(
    viewer: Api, settings: Any, client: Client
) -> None:
    settings.API_RATES = {**settings.API_RATES, "read": "3/h", "write": "1/h"}
    client.force_login(viewer.user)
    assert [client.get("/admin/password_change/").status_code for _ in range(3)] == [302] * 3  # he is not staff
    refused = client.get("/admin/password_change/")
    assert (refused.status_code, int(refused["Retry-After"]) > 0) == (429, True)
    assert refused.content.startswith(b"You ask too often: try again in ")
    assert viewer.get("segments").status_code == 429
    assert [client.post("/admin/rollouts/rollout/").status_code for _ in range(2)] == [302, 429]
    assert client.post("/admin/trading/book/").status_code == 302  # where a book is halted


@pytest.mark.django_db
def test_pages_that_are_asked_with_a_session_of_nobody_count_as_a_strangers(
    viewer: Api, settings: Any, client: Client
) -> None:
    settings.API_RATES = {**settings.API_RATES, "anon": "2/h"}
    client.force_login(viewer.user)
    ended = client.cookies["sessionid"].value
    client.logout()
    client.cookies["sessionid"] = ended
    assert [client.post("/admin/x/halt").status_code for _ in range(3)] == [302, 302, 429]
    assert viewer.get("segments").status_code == 200


@pytest.mark.django_db
def test_a_page_whose_statement_takes_too_long_ends_in_a_sentence(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def search(*_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 20")
            cursor.execute("SELECT pg_sleep(60)")

    monkeypatch.setattr(SystemEventAdmin, "get_search_results", search)
    response = admin_client.get("/admin/events/systemevent/?q=x")
    assert (response.status_code, response.content[:42]) == (503, b"The database does not answer, or gave up w")


@pytest.mark.django_db
@pytest.mark.parametrize("question", [f"q={'a+' * 101}", "component__regex=(((.{1,200}){1,200}){1,200})zz"])
def test_a_page_is_not_asked_what_takes_the_database_long(admin_client: Client, question: str) -> None:
    response = admin_client.get(f"/admin/events/systemevent/?{question}")
    assert (response.status_code, response.headers.get("Location", "")) in {
        (302, "/admin/events/systemevent/?e=1"), (400, "")
    }  # fmt: skip


def test_a_web_process_has_its_statements_bounded(fresh_database: str) -> None:
    asked = "SELECT current_setting('statement_timeout')"
    words = f"import helios.asgi; from helios.db.statements import fetch; print(fetch({asked!r}, []))"
    ended = warm.run(["-c", words], env={**os.environ, "HELIOS_DATABASE_URL": fresh_database})
    assert ended.stdout.endswith("[('30s',)]\n"), ended.stderr


@pytest.mark.django_db
def test_guessing_tokens_is_slowed_down_and_those_with_a_token_go_on(viewer: Api, settings: Any, client: Any) -> None:
    settings.API_RATES = {**settings.API_RATES, "anon": "3/h"}
    wrong = {"Authorization": "Token wrong"}
    codes = [client.get("/api/modularity/segments", headers=wrong).status_code for _ in range(4)]
    assert codes == [401, 401, 401, 429]
    assert client.get("/api/modularity/segments").status_code == 429
    assert client.get("/health").status_code == 200
    assert viewer.get("segments").status_code == 200


def test_strangers_of_one_network_of_ipv6_share_a_rate(settings: Any) -> None:
    settings.API_RATES = {**settings.API_RATES, "anon": "1/h"}
    asked = [RequestFactory(REMOTE_ADDR=f"2001:db8:0:{each}").get("/") for each in ("1::1", "1::2", "2::1")]
    assert [throttling.stranger_wait_s(each) > 0 for each in asked] == [False, True, False]


@pytest.mark.django_db
def test_nothing_that_lies_in_valkey_holds_up_a_halt(
    operator: Api, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    def no_valkey(*_: object, **__: object) -> None:
        raise AssertionError("asked Valkey")

    settings.API_RATES = {**settings.API_RATES, "safer": "2/h"}
    with monkeypatch.context() as patch:
        patch.setattr(redis.Connection, "connect", no_valkey)
        patch.setattr(redis.UnixDomainSocketConnection, "connect", no_valkey)
        answers = [operator.post("/api/books/main/halt", {"reason": "x"}).status_code for _ in range(3)]
    assert answers == [404, 404, 429]
