"""The suite `generic`: what any code must be before it may stand in for a module.

Tests that call `run` use the call of the candidate's contract; code whose contract is not known is not called.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Any, Final

from helios.modules import hooks
from helios.modules.core.versions import parse
from helios.modules.errors import ModuleRefused
from helios.modules.suites import Call, Candidate, GateFailure, GateTest, fits, require
from helios.modules.suites.equality import difference

BUDGET_MS: Final = 5_000.0  # one call of a live size, the best of three
TIGHT_MS: Final = 250.0
MIN_DOCSTRING: Final = 20  # characters

__all__ = ["TESTS"]


def version_is_the_registered_one(candidate: Candidate, _seed: int) -> None:
    seen = getattr(candidate.implementation, "VERSION", None)
    require(isinstance(seen, str), f"VERSION must be a text like '1.4.0', was {seen!r}")
    try:
        same = parse(str(seen)) == parse(candidate.version)
    except ModuleRefused as error:
        raise GateFailure(f"VERSION must be a semantic version, but {error}") from error
    require(same, f"VERSION must be {candidate.version} as registered, was {seen}")


def run_is_callable(candidate: Candidate, _seed: int) -> None:
    found = getattr(candidate.implementation, "run", None)
    require(callable(found), f"run must be a function, was {found!r}")
    require(not inspect.iscoroutinefunction(found), "run must be a plain function, was a coroutine function")


def signature_fits_the_call(candidate: Candidate, seed: int) -> None:
    call = _call(candidate, seed)
    if call is not None:
        require(
            fits(candidate.run, call),
            f"run must take the call of stage {candidate.contract}, "
            f"{_shape(call)}, its signature is {_signature(candidate.run)}",
        )


def importing_changes_nothing_else(candidate: Candidate, _seed: int) -> None:
    if candidate.before is not None:
        packages = tuple({name.partition(".")[0] for name in candidate.before.names})
        found = candidate.before.changes(packages, own=_own(candidate))
        require(not found, f"importing the code must change nothing outside it, but {'; '.join(found[:5])}")


def the_first_call_succeeds(candidate: Candidate, seed: int) -> None:
    """Also the one that compiles and loads; whatever it raises is the verdict."""
    call = _call(candidate, seed)
    if call is not None:
        require(call.of(candidate.run) is not None, "run must give a result, it gave None")


def the_same_input_gives_the_same_result(candidate: Candidate, seed: int) -> None:
    call = candidate.call
    if call is not None:
        first, second = call(seed).of(candidate.run), call(seed).of(candidate.run)
        found = difference(first, second)
        require(not found, f"the same input must give the same result, but {found}")


def input_is_left_as_it_was(candidate: Candidate, seed: int) -> None:
    if candidate.call is None:
        return
    used, untouched = candidate.call(seed), candidate.call(seed)
    used.of(candidate.run)
    found = difference((untouched.args, untouched.kwargs), (used.args, used.kwargs))
    require(not found, f"run must leave its input as it was, but {found}")


def one_call_stays_within_its_budget(candidate: Candidate, seed: int) -> None:
    _within(candidate, seed, BUDGET_MS)


def one_call_is_fast(candidate: Candidate, seed: int) -> None:
    _within(candidate, seed, TIGHT_MS)


def hooks_are_callable(candidate: Candidate, _seed: int) -> None:
    for name in hooks.NAMES:
        found = getattr(candidate.implementation, name, None)
        require(found is None or callable(found), f"the hook {name} must be a function, was {found!r}")


def it_says_what_it_is(candidate: Candidate, _seed: int) -> None:
    implementation = candidate.implementation
    for what, text in (("the module", implementation.__doc__), ("run", candidate.run.__doc__)):
        require(
            isinstance(text, str) and len(text) >= MIN_DOCSTRING,
            f"{what} should carry a docstring of at least {MIN_DOCSTRING} characters, was {text!r}",
        )


def other_input_gives_another_result(candidate: Candidate, seed: int) -> None:
    if candidate.call is not None:
        results = [candidate.call(seed + offset).of(candidate.run) for offset in range(3)]
        same = all(not difference(results[0], other) for other in results[1:])
        require(not same, "three different inputs should not all give the same result, they did")


def _call(candidate: Candidate, seed: int) -> Call | None:
    return None if candidate.call is None else candidate.call(seed)


def _own(candidate: Candidate) -> str:
    return str(getattr(candidate.implementation, "__name__", ""))


def _shape(call: Call) -> str:
    parts = [type(each).__name__ for each in call.args] + [f"{name}=" for name in call.kwargs]
    return f"({', '.join(parts)})"


def _signature(run: Callable[..., Any]) -> str:
    try:
        return str(inspect.signature(run))[:200]
    except (TypeError, ValueError):
        return "not readable"


def _within(candidate: Candidate, seed: int, budget_ms: float) -> None:
    if candidate.call is None:
        return
    candidate.call(seed).of(candidate.run)  # the first call compiles and warms up
    best = min(_took_ms(candidate, seed + 1 + attempt) for attempt in range(3))
    require(best <= budget_ms, f"one call must take at most {budget_ms:g} ms, took {best:.1f} ms at best")


def _took_ms(candidate: Candidate, seed: int) -> float:
    assert candidate.call is not None  # noqa: S101 - the caller looked
    call = candidate.call(seed)
    started = time.perf_counter()
    call.of(candidate.run)
    return 1e3 * (time.perf_counter() - started)


TESTS = (
    GateTest(name="importing changes nothing else", function=importing_changes_nothing_else),
    GateTest(name="version is the registered one", function=version_is_the_registered_one),
    GateTest(name="run is callable", function=run_is_callable),
    GateTest(name="signature fits the stage's call", function=signature_fits_the_call),
    GateTest(name="hooks are callable", function=hooks_are_callable),
    GateTest(name="the first call succeeds", function=the_first_call_succeeds, patience=2.0),
    GateTest(name="the same input gives the same result", function=the_same_input_gives_the_same_result),
    GateTest(name="input is left as it was", function=input_is_left_as_it_was),
    GateTest(name="one call stays within its budget", function=one_call_stays_within_its_budget),
    GateTest(name="one call is fast", function=one_call_is_fast, required=False),
    GateTest(name="other input gives another result", function=other_input_gives_another_result, required=False),
    GateTest(name="it says what it is", function=it_says_what_it_is, required=False),
)
