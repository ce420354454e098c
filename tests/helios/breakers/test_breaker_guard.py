"""The ways in: `with`, `async with`, decorators, `call`, `acall`; and what counts as a failure."""

from __future__ import annotations

import pickle
import signal
import sys
from dataclasses import replace

import pytest

from helios import flags
from helios.breakers import CircuitOpen, UnknownBreaker, breaker, process, refresh_if_behind
from helios.breakers.catalog import SHIPPED
from helios.breakers.shared_state import SharedStore
from helios.errors import Rejected, Transient
from tests.support.together import at_once
from tests.support.vendors import VendorError, broken, half_open, open_circuit, window

pytestmark = pytest.mark.usefixtures("clean_redis")

FAILURES = SHIPPED["llm_api"].config.failure_threshold


def test_a_context_manager_passes_errors_on_and_refuses_after_enough_of_them():
    for _ in range(FAILURES):
        with pytest.raises(VendorError), breaker("llm_api"):
            raise VendorError
    with pytest.raises(CircuitOpen) as caught, breaker("llm_api"):
        pytest.fail("the call was made")
    assert isinstance(caught.value, Transient)
    assert 59 < caught.value.retry_after_s <= 60


def test_a_decorated_function_keeps_its_name_and_its_value():
    @breaker("llm_api")
    def ask(question: str, *, loud: bool = False) -> str:
        """Ask the vendor."""
        return question.upper() if loud else question

    assert ask("why", loud=True) == "WHY"
    assert (ask.__name__, ask.__doc__) == ("ask", "Ask the vendor.")
    open_circuit()
    with pytest.raises(CircuitOpen):
        ask("why")


def test_call_hands_arguments_through_and_returns_the_value():
    assert breaker("llm_api").call(divmod, 7, 2) == (3, 1)
    assert breaker("llm_api").call(int, "11", base=2) == 3


def test_a_fallback_answers_failures_and_refusals_and_sees_the_error():
    seen = []

    def fallback(error: Exception) -> str:
        seen.append(type(error))
        return "rules"

    answers = [breaker("llm_api").call(broken, fallback=fallback) for _ in range(FAILURES + 1)]
    assert answers == ["rules"] * (FAILURES + 1)
    assert seen == [VendorError] * FAILURES + [CircuitOpen]


def refuse() -> str:
    raise Rejected("the request was wrong")


def test_rejected_requests_are_no_failures_and_reach_the_caller_past_a_fallback():
    for _ in range(FAILURES + 1):
        with pytest.raises(Rejected):
            breaker("llm_api").call(refuse, fallback=lambda _: "never")
    assert window() == ""


def test_the_errors_to_ignore_can_be_named():
    patient = breaker("llm_api", ignore=(VendorError,))
    for _ in range(FAILURES + 1):
        with pytest.raises(VendorError):
            patient.call(broken)
    assert window() == ""
    with pytest.raises(Rejected):
        patient.call(refuse)
    assert window() == "F"


def test_the_refusal_of_another_breaker_is_not_this_ones_failure():
    open_circuit("neural_network")
    with pytest.raises(CircuitOpen, match="neural_network"), breaker("llm_api"), breaker("neural_network"):
        pytest.fail("the call was made")
    assert window() == ""


def test_what_to_ignore_can_be_a_predicate_too():
    patient = breaker("llm_api", ignore=lambda error: "busy" in str(error))

    def say(words: str) -> None:
        raise VendorError(words)

    with pytest.raises(VendorError):
        patient.call(say, "busy", fallback=lambda _: "never")
    assert window() == ""
    assert patient.call(say, "broken", fallback=lambda _: "rules") == "rules"
    assert window() == "F"


def test_an_error_that_is_not_to_be_recorded_counts_as_a_success():
    choosy = breaker("llm_api", record_if=lambda error: isinstance(error, VendorError))

    def not_found() -> None:
        raise KeyError("no such symbol")

    with pytest.raises(KeyError):
        choosy.call(not_found)
    with pytest.raises(VendorError):
        choosy.call(broken)
    assert window() == "SF"


@pytest.mark.parametrize("option", ["ignore", "record_if"])
def test_a_predicate_that_raises_hides_nothing_and_counts_a_failure(option: str):
    def confused(_: Exception) -> bool:
        raise ZeroDivisionError

    judged = breaker("llm_api", **{option: confused})
    with pytest.raises(VendorError):
        judged.call(broken)
    assert judged.call(broken, fallback=lambda error: type(error).__name__) == "VendorError"
    assert window() == "FF"


def test_an_error_in_a_fallback_reaches_the_caller_and_counts_for_nothing():
    def worse(_: Exception) -> str:
        raise LookupError("the rules are gone too")

    with pytest.raises(LookupError) as caught:
        breaker("llm_api").call(broken, fallback=worse)
    assert isinstance(caught.value.__context__, VendorError)
    assert window() == "F"


def test_nested_breakers_each_count_what_is_theirs():
    def inner() -> str:
        return breaker("neural_network").call(broken)

    with pytest.raises(VendorError):
        breaker("llm_api").call(inner)
    assert (window("llm_api"), window("neural_network")) == ("F", "F")
    caught_inside = breaker("llm_api").call(breaker("neural_network").call, broken, fallback=lambda _: "inner")
    assert caught_inside == "inner"


def test_a_fallback_inside_keeps_the_failure_from_the_breaker_outside():
    def inner() -> str:
        return breaker("neural_network").call(broken, fallback=lambda _: "neutral")

    assert breaker("llm_api").call(inner) == "neutral"
    process.current().share()
    assert (window("llm_api"), window("neural_network")) == ("S", "F")


def test_a_nested_use_of_a_breaker_whose_only_probe_is_outside_is_refused_and_the_probe_goes_back(clean_redis):
    half_open(clean_redis)
    with pytest.raises(CircuitOpen), breaker("llm_api"):
        breaker("llm_api").call(str, 1)
    assert breaker("llm_api").call(str, 1) == "1"  # the permit was given back, and closes it


def test_an_ignored_error_of_a_probe_lets_another_go(clean_redis):
    half_open(clean_redis)
    with pytest.raises(Rejected):
        breaker("llm_api").call(refuse)
    assert breaker("llm_api").call(str, 1) == "1"


@pytest.mark.parametrize("error", [SystemExit(3), BaseException("a panic")], ids=repr)
def test_a_probe_that_ends_in_no_exception_has_failed_and_gives_its_permit_back(clean_redis, error):
    half_open(clean_redis)
    with pytest.raises(type(error)), breaker("llm_api"):
        raise error
    with pytest.raises(CircuitOpen, match="it is open after failures"):
        breaker("llm_api").call(str, 1)


def test_a_predicate_that_leaves_keeps_neither_the_permit_nor_the_callers_error(clean_redis):
    half_open(clean_redis)
    with pytest.raises(VendorError):
        breaker("llm_api", ignore=lambda _: sys.exit()).call(broken)
    with pytest.raises(CircuitOpen, match="it is open after failures"):
        breaker("llm_api").call(str, 1)


def test_a_generator_that_is_closed_is_no_failure():
    def quotes():
        with breaker("llm_api"):
            yield 1

    opened = quotes()
    next(opened)
    opened.close()
    assert window() == ""


def test_an_interrupt_is_no_failure(monkeypatch):
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.default_int_handler)  # a shell may have it ignored
    with pytest.raises(KeyboardInterrupt), breaker("llm_api"):
        raise KeyboardInterrupt
    assert window() == ""


@pytest.mark.usefixtures("settings_read")
def test_calls_that_only_reduce_pass_the_order_path():
    open_circuit("valr_api")
    with pytest.raises(CircuitOpen):
        breaker("valr_api").call(str, 1)
    assert breaker("valr_api").call(str, 1, reducing=True) == "1"
    with breaker("valr_api", reducing=True):
        pass
    assert breaker("valr_api", reducing=True)(str)(1) == "1"


def test_an_unknown_name_is_told_with_those_there_are_when_it_is_first_used():
    unused = breaker("moon_api")
    with pytest.raises(
        UnknownBreaker, match="no circuit breaker is named 'moon_api'; there are alpaca_api, ccxt_api, llm_api"
    ):
        unused.call(str, 1)


def test_one_use_cannot_be_entered_twice_nor_left_unentered():
    use = breaker("llm_api")
    with use, pytest.raises(RuntimeError, match="entered already"):
        use.__enter__()
    with pytest.raises(RuntimeError, match="without having been entered"):
        use.__exit__(None, None, None)
    with use:  # one after the other is fine
        pass


def test_a_refusal_survives_the_way_between_processes():
    error = CircuitOpen("llm_api", reason="it is open after failures", retry_after_s=12.0)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - Celery does the same with its own messages
    assert (str(copy), copy.name, copy.retry_after_s) == (str(error), "llm_api", 12.0)


def test_a_process_without_a_database_uses_the_shipped_settings():
    breaker("neural_network").call(str, 1)
    assert process.current().circuit("neural_network").settings == replace(SHIPPED["neural_network"], read=False)
    refresh_if_behind()
    assert process.current().circuit("neural_network").settings == replace(SHIPPED["neural_network"], read=False)


def test_a_process_with_neither_redis_nor_a_database_still_guards(tmp_path):
    process.current().__dict__["store"] = SharedStore.from_url(f"unix://{tmp_path}/nobody.sock?db=0")
    open_circuit()
    with pytest.raises(CircuitOpen, match="it is open after failures"):
        breaker("llm_api").call(str, 1)


def test_breakers_act_while_their_flag_cannot_be_read(monkeypatch):
    def unreadable(_: str) -> bool:
        raise RuntimeError("no snapshot")

    monkeypatch.setattr(flags, "is_enabled", unreadable)
    open_circuit()
    with pytest.raises(CircuitOpen):
        breaker("llm_api").call(str, 1)


def test_threads_that_begin_together_share_one_circuit():
    found = at_once(lambda _: process.current().circuit("llm_api"), range(4))
    assert len({id(circuit) for circuit in found}) == 1
