"""The suite `generic` catches what no stage may be; and the parts that it is made of."""

from __future__ import annotations

import builtins
import copy
import signal
import sys
import threading
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helios.modules.gate.child import Planned, plan_of, run_one, short, stages_of, verdict
from helios.modules.suites import Call, Candidate, GateFailure, GateTest, contract_of, fits, generic, require
from helios.modules.suites.equality import difference
from helios.modules.suites.process_state import ProcessState
from tests.support.mutants import candidate, caught, shipped
from tiers.gates.calls import CALLS

SHIPPED = shipped("risk")


def said(name: str, run=SHIPPED, *, stage: str = "risk", **attributes) -> str:
    test = next(each for each in generic.TESTS if each.name == name)
    subject = candidate(stage, run, **attributes)
    return verdict(lambda: test.function(subject, 7))[1]


_calls = iter(range(10**9))


def forgetful(**inputs):
    out = SHIPPED(**inputs)
    return replace(out, leverage=out.leverage + 1e-12 * next(_calls))


def writes_into_returns(**inputs):
    inputs["returns"][-1] = 0.0
    return SHIPPED(**inputs)


def forgets_an_argument(*, forecast, volatility, book, returns, params):
    raise AssertionError


async def waits(**inputs):
    return SHIPPED(**inputs)


def constant(context):
    return {"always": "the same"}


@pytest.mark.parametrize(
    ("name", "attributes", "message"),
    [
        ("version is the registered one", {"VERSION": "1.0"}, "VERSION must be a semantic version"),
        ("version is the registered one", {"VERSION": 1}, "VERSION must be a text like '1.4.0', was 1"),
        ("version is the registered one", {"VERSION": "1.0.1"}, "VERSION must be 1.0.0 as registered, was 1.0.1"),
        ("run is callable", {"run": 3}, "run must be a function, was 3"),
        ("run is callable", {"run": waits}, "was a coroutine function"),
        ("signature fits the stage's call", {"run": forgets_an_argument}, "run must take the call of stage risk"),
        ("the first call succeeds", {"run": lambda **_: None}, "run must give a result, it gave None"),
        ("the first call succeeds", {"run": lambda **_: 1 / 0}, "it raised ZeroDivisionError: division by zero"),
        ("the same input gives the same result", {"run": forgetful}, "but it.leverage was"),
        ("input is left as it was", {"run": writes_into_returns}, "but it[1]['returns'] differs in 6 of 720 places"),
        ("hooks are callable", {"on_load": "soon"}, "the hook on_load must be a function, was 'soon'"),
        ("it says what it is", {"__doc__": None}, "the module should carry a docstring"),
    ],
)
def test_code_that_is_no_module_is_caught_by(name: str, attributes: dict[str, object], message: str):
    implementation = {"VERSION": "1.0.0", "run": SHIPPED, "__doc__": "x" * 30, **attributes}
    subject = replace(candidate("risk", SHIPPED), implementation=SimpleNamespace(**implementation))
    test = next(each for each in generic.TESTS if each.name == name)
    assert message in verdict(lambda: test.function(subject, 7))[1]


def test_a_slow_call_is_over_its_budget(monkeypatch):
    monkeypatch.setattr(generic, "BUDGET_MS", 0.0)
    monkeypatch.setattr(generic, "TIGHT_MS", 1e9)
    assert "one call must take at most 0 ms, took " in said("one call stays within its budget")
    assert not said("one call is fast")


def test_a_constant_is_told_as_one():
    assert "three different inputs should not all give the same" in said(
        "other input gives another result", constant, stage="llm"
    )


def test_code_of_an_unknown_contract_is_not_called():
    def explodes():
        raise AssertionError

    assert caught("nowhere", explodes, "generic").keys() == {"it says what it is"}


@pytest.mark.parametrize("stage", list(CALLS))
def test_every_call_is_made_of_its_seed_alone(stage: str):
    if stage != "predict":  # two predictors of one seed are two objects
        assert not difference(CALLS[stage](3), CALLS[stage](3))
    assert difference(CALLS[stage](3), CALLS[stage](4))


# --- what an import may not change ---


@pytest.fixture
def victim(monkeypatch) -> ModuleType:
    module = ModuleType("victimised.part")
    module.limit, module.work = 3, SHIPPED
    monkeypatch.setitem(sys.modules, "victimised", ModuleType("victimised"))
    monkeypatch.setitem(sys.modules, "victimised.part", module)
    return module


def changes(work, *, own: str = "") -> list[str]:
    before = ProcessState.now(("victimised",))
    work()
    return before.changes(("victimised",), own=own)


def test_nothing_done_is_nothing_changed(victim):
    assert changes(lambda: None) == []


def test_a_changed_global_of_another_module_is_named(victim):
    assert changes(lambda: setattr(victim, "limit", 4)) == ["it changed victimised.part.limit"]
    assert changes(lambda: delattr(victim, "work")) == ["it changed victimised.part.work"]
    assert changes(lambda: setattr(victim, "limit", 5), own="victimised.part") == []


def test_a_submodule_that_appeared_is_no_change(victim):
    assert changes(lambda: setattr(victim, "below", ModuleType("victimised.part.below"))) == []


def test_a_module_that_the_import_brought_in_may_hold_nothing_of_the_code(monkeypatch):
    def work():
        """What the code under test plants."""

    def brings() -> None:
        late = ModuleType("victimised.late")
        late.work, late.own = work, SHIPPED
        monkeypatch.setitem(sys.modules, "victimised.late", late)

    assert changes(brings, own="elsewhere") == []
    assert changes(brings) == []
    monkeypatch.delitem(sys.modules, "victimised.late")
    assert changes(brings, own=__name__) == ["it changed victimised.late.work"]
    monkeypatch.delitem(sys.modules, "victimised.late")
    assert changes(brings, own=__name__.rpartition(".")[0]) == ["it changed victimised.late.work"]


def test_a_removed_module_is_named(victim):
    assert changes(lambda: sys.modules.pop("victimised.part")) == ["it removed the module victimised.part"]


def test_a_replaced_builtin_is_named(monkeypatch):
    assert changes(lambda: monkeypatch.setattr(builtins, "sorted", list)) == ["it changed builtins.sorted"]
    wrapped = partial(builtins.__import__)
    patched = changes(lambda: monkeypatch.setattr(builtins, "__import__", wrapped))
    assert patched == ["it changed builtins.__import__"]


def test_paths_environment_folder_signals_and_streams_are_watched(monkeypatch, tmp_path):
    assert changes(lambda: monkeypatch.syspath_prepend(tmp_path)) == ["it changed sys.path"]
    assert changes(lambda: monkeypatch.setenv("ODD", "1")) == ["it changed the environment"]
    assert changes(lambda: monkeypatch.setenv("KMP_INIT_AT_FORK", "FALSE")) == []  # as scikit-learn does
    assert changes(lambda: monkeypatch.setenv("KMP_INIT_AT_FORK", "TRUE")) == ["it changed the environment"]
    assert changes(lambda: monkeypatch.chdir(tmp_path)) == ["it changed the working folder"]
    assert changes(lambda: monkeypatch.setattr(sys, "stdout", sys.stderr)) == [
        "it replaced standard streams or the exception hook"
    ]
    before = signal.getsignal(signal.SIGALRM)
    assert changes(lambda: signal.signal(signal.SIGALRM, lambda *_: None)) == ["it changed signal handlers"]
    signal.signal(signal.SIGALRM, before)


def test_a_thread_that_was_left_is_counted():
    leave = threading.Event()
    thread = threading.Thread(target=leave.wait)
    assert changes(thread.start) == ["it left 1 threads running"]
    leave.set()
    thread.join()


def test_the_suite_tells_what_an_import_changed(victim):
    subject = replace(candidate("nowhere", SHIPPED), before=ProcessState.now(("victimised",)))
    test = next(each for each in generic.TESTS if each.name == "importing changes nothing else")
    assert verdict(lambda: test.function(subject, 7)) == ("passed", "")
    victim.limit = 9
    assert "it changed victimised.part.limit" in verdict(lambda: test.function(subject, 7))[1]


# --- whether two values are the same ---


@dataclass(frozen=True)
class Pair:
    left: object
    right: object = None


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        (1, 1, ""),
        (float("nan"), float("nan"), ""),
        (1, 1.0, "it was a int, then a float"),
        ("a", "b", "it was 'a', then 'b'"),
        ([1, 2], [1, 3], "it[1] was 2, then 3"),
        ([1], [1, 2], "it had 1 parts, then 2"),
        ({"a": 1}, {"a": 2}, "it['a'] was 1, then 2"),
        ({"a": 1}, {"b": 1}, "it had the keys ['a'], then ['b']"),
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), ""),
        (np.array([1.0, 2.0]), np.array([1.0, np.nan]), "it differs in 1 of 2 places"),
        (np.array([1.0]), np.array([1.0], np.float32), "it was float64 (1,), then float32 (1,)"),
        (np.array(["a", "b"]), np.array(["a", "c"]), "it differs in 1 of 2 places"),
        (Pair(np.zeros(2)), Pair(np.ones(2)), "it.left differs in 2 of 2 places"),
        (Pair((1, [2.0])), Pair((1, [2.5])), "it.left[1][0] was 2.0, then 2.5"),
        (object(), object(), ""),
        (Decimal("NaN"), Decimal("NaN"), ""),
        (Decimal(1), Decimal("NaN"), "it was Decimal('1'), then Decimal('NaN')"),
        (np.array(["NaT"], "M8[s]"), np.array(["NaT"], "M8[s]"), ""),
        (np.array(["NaT"], "M8[s]"), np.array([3], "M8[s]"), "it differs in 1 of 1 places"),
        (None, 0, "it was a NoneType, then a int"),
    ],
)
def test_a_difference_is_named_by_its_place(one, other, told: str):
    assert difference(one, other) == told


def apart(value: object) -> object:
    """A copy that differs in its first leaf."""
    if isinstance(value, list) and value:
        return [apart(value[0]), *value[1:]]
    if isinstance(value, dict) and value:
        key = next(iter(value))
        return {**value, key: apart(value[key])}
    return ("changed", value)


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))


@given(TREES)
def test_a_value_is_the_same_as_its_copy_and_not_as_a_changed_one(value):
    assert difference(value, copy.deepcopy(value)) == ""
    assert difference(value, apart(copy.deepcopy(value)))


# --- plan and verdict ---


def quiet(_candidate, _seed):
    """Passes."""


TESTS = (
    GateTest(name="extra", function=quiet, required=False),
    GateTest(name="anybody", function=quiet),
    GateTest(name="of risk", function=quiet, contracts=("risk",)),
    GateTest(name="of llm", function=quiet, contracts=("llm",)),
)


def test_a_plan_holds_the_tests_of_the_contract_the_required_ones_first():
    plan = plan_of({"one": TESTS, "two": TESTS[2:]}, "risk")
    assert [(each.suite, each.test.name) for each in plan] == [
        ("one", "anybody"),
        ("one", "of risk"),
        ("two", "of risk"),
        ("one", "extra"),
    ]
    assert stages_of({"one": TESTS}) == ("risk", "llm")


def test_code_is_known_by_its_name_or_by_what_it_takes():
    assert contract_of("risk", lambda: None, CALLS, (), 7) == "risk"
    assert contract_of("mine", SHIPPED, CALLS, ("llm", "risk"), 7) == "risk"
    assert contract_of("mine", shipped("execute"), CALLS, ("portfolio", "execute"), 7) == "execute"
    assert contract_of("mine", lambda: None, CALLS, tuple(CALLS), 7) == ""
    analyst = shipped("llm")
    assert contract_of("mine", analyst, CALLS, ("risk", "llm"), 7) == "llm"
    assert contract_of("mine", analyst, CALLS, tuple(CALLS), 7) == ""  # features take one argument too
    assert not fits(dict.update, Call(args=(1, 2, 3, 4)))


@pytest.mark.parametrize(
    ("error", "outcome", "message"),
    [
        (GateFailure("it is red"), "failed", "it is red"),
        (MemoryError(), "error", "it asked for more memory than it may use (MemoryError)"),
        (ZeroDivisionError("division by zero"), "error", "it raised ZeroDivisionError: division by zero"),
        (SystemExit(3), "error", "it raised SystemExit: 3"),
        (GeneratorExit(), "error", "it raised GeneratorExit()"),
    ],
)
def test_whatever_is_raised_has_a_verdict(error, outcome: str, message: str):
    def work():
        raise error

    assert verdict(work) == (outcome, message)
    assert verdict(lambda: None) == ("passed", "")


def test_a_message_is_one_bounded_line():
    assert short("a\n b\t\0c \ud800") == "a b c ?"
    assert len(short("x" * 5_000)) == 600


def test_each_test_is_announced_and_told():
    words = []
    pipe = SimpleNamespace(send=lambda **word: words.append(word))
    run_one(pipe, Planned(suite="s", test=TESTS[0]), Candidate(name="n", version="1", contract="", implementation=0), 1)
    assert words[0] == {"begin": ["s", "extra", False], "patience": 1.0}
    assert words[1]["result"][:5] == ["s", "extra", False, "passed", ""]


def test_a_requirement_is_a_failure_with_its_sentence():
    require(True, "never said")
    with pytest.raises(GateFailure, match="said"):
        require(False, "said")
