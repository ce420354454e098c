"""What a person does to a breaker, and what everybody then sees."""

from __future__ import annotations

import importlib

import pytest

from helios import flags
from helios.breakers import CircuitOpen, SharedStateAway, UnknownBreaker, breaker, process, selectors, services
from helios.breakers.catalog import SHIPPED
from helios.breakers.errors import InvalidBreaker
from helios.breakers.models import CircuitBreaker, CircuitBreakerEvent, ShownState
from helios.flags import services as flag_services
from tests.support.vendors import VendorError, broken, open_circuit

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("clean_redis", "breakers_installed"),
]


def row(name: str = "llm_api") -> CircuitBreaker:
    return CircuitBreaker.objects.get(name=name)


def history() -> list[tuple[str, str, str, str]]:
    return list(CircuitBreakerEvent.objects.order_by("id").values_list("breaker", "before", "after", "actor"))


def test_the_migration_installs_what_the_catalog_ships():
    migrations = [f"helios.breakers.migrations.{name}" for name in ("0003_shipped_breakers", "0004_ccxt_breaker")]
    installed = {
        name: (failures, open_s, order_path, text)
        for migration in migrations
        for name, failures, open_s, order_path, text in importlib.import_module(migration).SHIPPED
    }
    assert installed == {
        name: (each.config.failure_threshold, each.config.open_s, each.order_path, each.description)
        for name, each in SHIPPED.items()
    }
    assert {each.name: each.settings() for each in CircuitBreaker.objects.all()} == SHIPPED


def test_missing_breakers_are_put_back_and_present_ones_left_alone():
    CircuitBreaker.objects.filter(name="llm_api").delete()
    CircuitBreaker.objects.filter(name="valr_api").update(open_s=5)
    assert services.restore_shipped() == ["llm_api"]
    assert row("valr_api").open_s == 5


def test_forcing_open_refuses_every_call_until_it_is_closed():
    breaker("llm_api").call(str, 1)
    assert services.force_open("llm_api", actor="ann", reason="vendor maintenance") is True
    assert services.force_open("llm_api", actor="ann") is False
    with pytest.raises(CircuitOpen) as caught:
        breaker("llm_api").call(str, 1)
    assert caught.value.retry_after_s is None
    assert selectors.status(row()).sentence().startswith("Opened by a person")
    assert services.close("llm_api", actor="bob") is True
    assert breaker("llm_api").call(str, 1) == "1"
    assert history() == [
        ("llm_api", "CLOSED", "FORCED_OPEN", "ann"),
        ("llm_api", "FORCED_OPEN", "CLOSED", "bob"),
    ]
    assert CircuitBreakerEvent.objects.order_by("id")[0].reason == "vendor maintenance"


def test_a_forced_opening_holds_through_the_loss_of_everything_in_redis(clean_redis):
    services.force_open("llm_api", actor="ann")
    clean_redis.flushdb()
    process.forget()
    with pytest.raises(CircuitOpen):
        breaker("llm_api").call(str, 1)


def test_closing_ends_an_open_interval_at_once():
    open_circuit()
    assert selectors.status(row()).state == "OPEN"
    assert services.close("llm_api", actor="ann") is True
    assert services.close("llm_api", actor="ann") is False
    assert breaker("llm_api").call(str, 1) == "1"


def test_resetting_forgets_failures_of_a_closed_breaker_too():
    for _ in range(3):
        with pytest.raises(VendorError, match="vendor"):
            breaker("llm_api").call(broken)
    assert selectors.status(row()).sentence() == "Calls pass; 3 of the last 3 calls failed."
    services.reset("llm_api", actor="ann")
    assert selectors.status(row()).sentence() == "Calls pass."
    assert history() == [("llm_api", "CLOSED", "CLOSED", "ann")]


def test_all_can_be_reset_together():
    open_circuit()
    assert services.reset_all(actor="ann") == sorted(SHIPPED)
    assert {selectors.status(each).state for each in CircuitBreaker.objects.all()} == {"CLOSED"}


def test_the_state_is_told_in_plain_words(clean_redis):
    open_circuit()
    assert selectors.status(row()).sentence() == "Calls are refused for another 60 s; then the next goes as a probe."
    clean_redis.hset("helios:{breakers}:llm_api", "open_until", "1")
    assert selectors.status(row()).sentence() == "The open interval is over: the next call goes as a probe."
    process.forget()
    with breaker("llm_api"):
        assert selectors.status(row()).sentence() == "Being tried again: 1 probe(s) under way."


@pytest.mark.usefixtures("redis_away")
def test_without_redis_a_person_can_open_but_not_close_and_is_told_so():
    assert selectors.status(row()).sentence() == "Redis cannot be reached; the last state recorded was closed."
    assert services.force_open("llm_api", actor="ann") is True
    for change in (services.close, services.reset):
        with pytest.raises(SharedStateAway, match="llm_api was left as it is"):
            change("llm_api", actor="ann")
    assert row().mode == "forced_open"
    assert len(history()) == 1
    with pytest.raises(CircuitOpen):
        breaker("llm_api").call(str, 1)


def test_the_flag_turned_off_makes_breakers_measure_except_those_that_guard_orders():
    flag_services.disable("circuit_breakers", actor="ann")
    flags.refresh_if_behind()
    open_circuit("neural_network")
    open_circuit("valr_api")
    assert breaker("neural_network").call(str, 1) == "1"
    with pytest.raises(CircuitOpen):
        breaker("valr_api").call(str, 1)


def test_an_unknown_name_is_told_with_those_there_are():
    with pytest.raises(UnknownBreaker, match=r"no circuit breaker is named 'moon'; there are alpaca_api"):
        services.close("moon", actor="ann")


def test_a_shipped_breaker_without_a_row_gets_one_when_it_is_changed():
    CircuitBreaker.objects.all().delete()
    services.force_open("llm_api", actor="ann")
    assert row().mode == "forced_open"


def test_a_breaker_that_only_measures_passes_everything_and_says_what_it_would_have_done():
    assert services.metrics_only("llm_api", actor="ann", reason="a week of trial") is True
    assert services.metrics_only("llm_api", actor="ann") is False
    open_circuit()
    for _ in range(3):
        assert breaker("llm_api").call(str, 1) == "1"
    process.current().share()
    now = selectors.status(row())
    assert (now.state, now.circuit) == ("METRICS_ONLY", "OPEN")
    assert now.sentence() == "Only measures, every call passes. It would be open now; 0 of the last 3 calls failed."
    would_be = CircuitBreakerEvent.objects.order_by("id").last()
    assert (would_be.before, would_be.after, would_be.enforced) == ("CLOSED", "OPEN", False)
    assert row().last_state == "METRICS_ONLY"
    assert services.normal("llm_api", actor="bob") is True
    assert services.normal("llm_api", actor="bob") is False
    with pytest.raises(CircuitOpen):  # it acts from the state that it measured
        breaker("llm_api").call(str, 1)
    assert history()[-1] == ("llm_api", "METRICS_ONLY", "OPEN", "bob")


def test_closing_ends_measuring_only_and_resetting_does_not():
    services.metrics_only("llm_api", actor="ann")
    open_circuit()
    services.reset("llm_api", actor="ann")
    assert selectors.status(row()).sentence() == "Only measures, every call passes. It would pass calls now."
    assert services.close("llm_api", actor="ann") is True
    assert row().mode == "normal"


def test_a_breaker_that_guards_orders_cannot_be_made_to_only_measure():
    with pytest.raises(InvalidBreaker, match="valr_api guards orders and must act: it cannot only measure"):
        services.metrics_only("valr_api", actor="ann")
    services.metrics_only("llm_api", actor="ann")
    with pytest.raises(InvalidBreaker, match="llm_api guards orders and must act"):
        services.configure("llm_api", {"order_path": True}, actor="ann")
    assert not row("llm_api").order_path
    assert history() == [("llm_api", "CLOSED", "METRICS_ONLY", "ann")]


@pytest.mark.usefixtures("redis_away")
def test_without_redis_modes_can_be_set_all_the_same():
    assert services.metrics_only("llm_api", actor="ann") is True
    assert services.force_open("llm_api", actor="ann") is True
    assert services.normal("llm_api", actor="ann") is True
    assert history()[-1] == ("llm_api", "FORCED_OPEN", "CLOSED", "ann")
    assert breaker("llm_api").call(str, 1) == "1"


def test_with_the_flag_off_a_forced_opening_holds_on_the_order_path_only():
    flag_services.disable("circuit_breakers", actor="ann")
    flags.refresh_if_behind()
    services.force_open("llm_api", actor="ann")
    services.force_open("valr_api", actor="ann")
    assert breaker("llm_api").call(str, 1) == "1"
    with pytest.raises(CircuitOpen, match="a person opened it"):
        breaker("valr_api").call(str, 1)


def test_with_the_flag_off_the_history_tells_what_was_not_enforced():
    flag_services.disable("circuit_breakers", actor="ann")
    flags.refresh_if_behind()
    open_circuit()
    event = CircuitBreakerEvent.objects.get()
    assert (event.after, event.enforced) == ("OPEN", False)
    assert row().last_state == "CLOSED"  # calls pass


def test_a_status_tells_rates_modes_and_intervals():
    for outcome in (broken, broken, None):
        if outcome is None:
            breaker("llm_api").call(str, 1)
        else:
            with pytest.raises(VendorError, match="vendor"):
                breaker("llm_api").call(outcome)
    process.current().share()
    services.force_open("redis_cache", actor="ann")
    listed = {each.name: selectors.status(each) for each in CircuitBreaker.objects.all()}
    assert sorted(listed) == sorted(SHIPPED)
    llm = listed["llm_api"]
    assert (llm.calls, llm.failures, llm.failure_rate, llm.slow, llm.slow_rate) == (3, 2, 0.6667, 0, 0.0)
    assert (llm.mode, llm.state, llm.open_for_s) == ("normal", "CLOSED", 0.0)
    assert (listed["redis_cache"].mode, listed["redis_cache"].state) == ("forced_open", "FORCED_OPEN")
    open_circuit("neural_network")
    opened = selectors.status(row("neural_network"))
    assert (opened.state, opened.openings) == ("OPEN", 1)
    assert 0 < opened.open_for_s <= 120


def test_history_is_read_by_name_the_newest_first():
    services.force_open("llm_api", actor="ann")
    services.close("llm_api", actor="bob")
    assert [event.actor for event in selectors.history("llm_api")] == ["bob", "ann"]
    assert [event.actor for event in selectors.history("llm_api", limit=1)] == ["bob"]
    assert selectors.history("valr_api") == []
    with pytest.raises(UnknownBreaker):
        selectors.history("moon")


@pytest.mark.parametrize(
    ("shown", "refuses"),
    [
        ({"state": ShownState.OPEN, "known": True, "open_for_s": 3.0}, True),
        (
            {"state": ShownState.OPEN, "known": True, "open_for_s": 0.0},
            False,
        ),  # its interval is over: the next call tries
        ({"state": ShownState.OPEN, "known": False, "open_for_s": 3.0}, False),
        ({"state": ShownState.FORCED_OPEN, "known": False}, True),
        ({"state": ShownState.CLOSED, "known": True}, False),
    ],
)
def test_a_breaker_refuses_while_its_interval_lasts_or_a_person_says_so(shown, refuses):
    assert selectors.Status(name="valr_api", **shown).refuses is refuses
