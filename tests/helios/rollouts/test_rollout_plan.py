"""A plan leads from nothing served to everything served, and a bad one is refused in one sentence."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helios.rollouts.core.assignment import Mode
from helios.rollouts.core.rollout_plan import DEFAULT, MAX_STEPS, parse_steps
from helios.rollouts.errors import RolloutRefused


def live(*percentages: int) -> list[dict]:
    return [{"kind": "live", "percentage": percentage} for percentage in percentages]


def test_the_default_plan_is_replay_shadow_and_growing_shares() -> None:
    assert [step.kind for step in DEFAULT] == [Mode.REPLAY, Mode.SHADOW] + [Mode.LIVE] * 5
    assert [step.percentage for step in DEFAULT] == [0, 0, 1, 5, 25, 50, 100]
    assert [step.serves for step in DEFAULT[:3]] == [
        "replay over stored history",
        "shadow, nothing served",
        "1 % of symbols",
    ]


def test_the_default_plan_obeys_its_own_rules_and_survives_json() -> None:
    assert parse_steps(json.loads(json.dumps([step.to_json() for step in DEFAULT]))) == DEFAULT


@given(st.lists(st.integers(1, 99), unique=True, max_size=8), st.booleans(), st.booleans())
def test_growing_shares_after_replay_and_shadow_are_a_plan(shares, replay, shadow) -> None:
    before = [{"kind": "replay"}] * replay + [{"kind": "shadow"}] * shadow
    steps = parse_steps([*before, *live(*sorted(shares), 100)])
    served = [step.percentage for step in steps if step.kind is Mode.LIVE]
    assert served == [*sorted(shares), 100]


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ([], "1 to 32 steps, had 0"),
        (live(100) * 2, "must grow from step to step, were 100 and then 100"),
        (live(5, 1, 100), "were 5 and then 1"),
        (live(1, 50), "last step must be live at 100 percent, was 50 % of symbols"),
        ([{"kind": "shadow"}], "last step must be live at 100 percent, was shadow"),
        ([*live(5), {"kind": "shadow"}, *live(100)], "replay, shadow, live, was shadow after live"),
        ([{"kind": "shadow"}, {"kind": "replay"}, *live(100)], "was replay after shadow"),
        ([{"kind": "replay"}, {"kind": "replay"}, *live(100)], "was replay after replay"),
        (live(0, 100), "percentage of step 1 must be a whole number from 1 to 100, was 0"),
        (live(101), "was 101"),
        (live(True), "was True"),
        (live(99.5), "was 99.5"),
        ([{"kind": "live", "percentage": "5"}, *live(100)], "was '5'"),
        ([{"kind": "shadow", "percentage": 5}, *live(100)], "must be 0 in shadow, was 5"),
        ([{"kind": "canary"}], "kind of step 1 must be replay, shadow, live, was 'canary'"),
        ([{"percentage": 100}], "was None"),
        ([{"kind": []}], "was []"),
        ([{"kind": {}}], "was {}"),
        ([{"kind": "live", "percentage": 100, "interval_s": 10**400}], "interval_s of step 1 must be above 0"),
        ([{"kind": "live", "percentage": 100, "interval_s": 0}], "interval_s of step 1 must be above 0"),
        ([{"kind": "live", "percentage": 100, "interval_s": float("nan")}], "was nan"),
        ([{"kind": "live", "percentage": 100, "interval_s": "1h"}], "was '1h'"),
        ([{"kind": "live", "percentage": 100, "interval_s": 1e12}], "at most 7776000"),
        (
            [{"kind": "live", "percentage": 100, "min_samples": 0}],
            "min_samples of step 1 must be a whole number from 1",
        ),
        ([{"kind": "live", "percentage": 100, "min_samples": 2.5}], "was 2.5"),
        (
            [{"kind": "live", "percentage": 100, "pause": 1}],
            "no fields but interval_s, kind, min_samples, percentage, had pause",
        ),
        (["live"], "step 1 must be an object, was 'live'"),
        ("live", "must be a list of objects, was 'live'"),
        ({"kind": "live"}, "must be a list of objects"),
        (7, "must be a list of objects, was 7"),
        (live(*range(1, MAX_STEPS + 2)), "1 to 32 steps, had 33"),
    ],
)
def test_a_bad_plan_is_refused_in_one_sentence(steps, sentence: str) -> None:
    with pytest.raises(RolloutRefused, match=re.escape(sentence)):
        parse_steps(steps)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["kind", "percentage", "x"]), inner),
    max_leaves=12,
)


@given(anything)
def test_whatever_comes_is_a_plan_or_refused(raw) -> None:
    try:
        steps = parse_steps(raw)
    except RolloutRefused:
        return
    assert steps[-1].percentage == 100
