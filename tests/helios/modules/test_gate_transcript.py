"""What a gate process says is read as a stranger's: another shape, number or turn fails the run and nothing else."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helios.modules.gate.transcript import LOADS, STARTS, Garbled, Transcript

ONE, TWO = ["tiny", "one", True], ["tiny", "two", False]
PLANNED = [
    {"begin": STARTS},
    {"lacking": []},
    {"begin": LOADS},
    {"result": [*LOADS, "passed", "", 1.0]},
    {"plan": [ONE, TWO]},
]


def heard(*words: object) -> Transcript:
    said = Transcript(suites=("tiny",))
    for word in words:
        said.hear(word if isinstance(word, bytes) else json.dumps(word).encode())
    return said


def result(*test: object, outcome: object = "passed", message: object = "", took_ms: object = 1.0) -> dict[str, object]:
    return {"result": [*test, outcome, message, took_ms]}


def test_an_honest_run_is_heard_in_order():
    said = heard(*PLANNED, {"begin": ONE, "patience": 30.0}, result(*ONE), {"begin": TWO}, result(*TWO), {"end": True})
    assert [each.name for each in said.results] == ["loads", "one", "two"]
    assert (said.ended, said.lacking, said.patience) == (True, [], 1.0)


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 500_000,
        b"17",
        b"{",
        b"\xff\xfe",
        b'{"end": true, "plan": []}',
        b'{"surprise": 1}',
        b'{"begin": ["tiny", "one"]}',
        b'{"begin": ["tiny", "one", 1]}',
        b'{"begin": ["tiny", "one", true], "patience": NaN}',
        b'{"begin": ["tiny", "one", true], "patience": -1}',
        b'{"begin": ["tiny", "one", true], "patience": 1e9}',
        b'{"begin": ["tiny", "\\ud800", true]}',
        b'{"begin": ["' + b"a" * 300 + b'", "one", true]}',
        b'{"plan": ' + json.dumps([["tiny", str(number), True] for number in range(2_000)]).encode() + b"}",
    ],
)
def test_a_line_of_another_shape_is_garbled(line: bytes):
    with pytest.raises(Garbled, match="none of the gate's"):
        heard(*PLANNED, line)


@pytest.mark.parametrize(
    "took_ms", [-1.0, float("nan"), float("inf"), 10**400, "1", None, True], ids=lambda value: str(value)[:9]
)
def test_a_time_that_is_none_is_garbled(took_ms: object):
    with pytest.raises(Garbled):
        heard(*PLANNED, {"begin": ONE}, result(*ONE, took_ms=took_ms))


@pytest.mark.parametrize("outcome", ["killed", "timeout", "PASSED", "", True, None])
def test_an_outcome_that_only_we_give_is_garbled(outcome: object):
    with pytest.raises(Garbled):
        heard(*PLANNED, {"begin": ONE}, result(*ONE, outcome=outcome))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([{"end": True}, {"end": True}], "none of the gate's"),
        ([result(*ONE)], "result of 'one' out of turn"),
        ([{"begin": ONE}, result(*TWO)], "result of 'two' out of turn"),
        ([{"begin": ONE}, result("tiny", "one", False)], "result of 'one' out of turn"),
        ([{"begin": ONE}, result(*ONE), result(*ONE)], "result of 'one' out of turn"),
        ([{"begin": ONE}, result(*ONE), {"begin": ONE}], "began the test 'one' out of turn"),
        ([{"begin": ONE}, {"begin": TWO}], "began the test 'two' out of turn"),
        ([{"begin": ["tiny", "three", True]}], "began the test 'three' out of turn"),
        ([{"begin": ONE}, {"end": True}], "ended in the middle of a test"),
        ([{"plan": []}], "told its plan out of turn"),
        ([{"lacking": []}], "told of its walls out of turn"),
        ([{"idle": ["tiny"]}], "told of suites out of turn"),
    ],
)
def test_what_comes_out_of_turn_is_garbled(words: list[object], reason: str):
    with pytest.raises(Garbled, match=reason):
        heard(*PLANNED, *words)


@pytest.mark.parametrize("plan", [[ONE, ONE], [["other", "one", True]], [["gate", "ends", True]]])
def test_a_plan_of_what_nobody_asked_for_is_garbled(plan: list[object]):
    with pytest.raises(Garbled, match="planned tests that nobody asked for"):
        heard(*PLANNED[:-1], {"plan": plan})


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["tiny", "one"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
words = st.dictionaries(st.sampled_from(["begin", "patience", "result", "plan", "idle", "lacking", "end"]), values)


@given(st.lists(words.map(lambda word: json.dumps(word).encode()) | st.binary(max_size=40), max_size=4))
def test_nothing_but_garbled_is_ever_raised(lines: list[bytes]):
    with contextlib.suppress(Garbled):
        heard(*PLANNED, *lines)
