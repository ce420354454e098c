"""Whatever is done in whatever order: row, machine and history tell the same story, and an end serves nothing."""

from __future__ import annotations

import math
import random
from datetime import timedelta
from itertools import pairwise

import pytest

from helios.errors import Rejected
from helios.rollouts import rows, selectors, services
from helios.rollouts.core.machine import LIVE, SERVING
from helios.rollouts.core.measures import ArmMeasures
from helios.rollouts.models import RolloutAnalysis, RolloutEvent
from tests.helios.rollouts.conftest import T0, Desk, asked
from tests.support.arms import arm, reading

pytestmark = pytest.mark.django_db

READINGS = {
    "good": reading(),
    "hard": reading(arm(n_errors=30)),
    "soft": reading(arm(400, pnl=-60.0), arm(400, seed=1)),
    "few": reading(arm(2), ArmMeasures()),
    "nan": reading(arm(pnl_bps=(math.nan,) * 60)),
}
PEOPLE = (services.start, services.pause, services.resume, services.promote, services.abort)
WEIGHTS = (4, 2, 4, 2, 0.3)


@pytest.mark.parametrize("seed", range(8))
def test_any_order_of_people_analyses_and_cycles_keeps_the_rules(plan, desk: Desk, seed: int) -> None:
    chance, now, row = random.Random(seed), T0, plan()
    for _ in range(30):
        before, n_analyses = selectors.get(row.pk), RolloutAnalysis.objects.count()
        now += timedelta(seconds=chance.choice([10, 70]))
        desk.arms = READINGS[chance.choices(list(READINGS), weights=(8, 1, 2, 2, 2))[0]]
        if by_hand := chance.random() < 0.4:
            try:
                chance.choices(PEOPLE, weights=WEIGHTS)[0](row.pk, actor="ada", now=now)
            except Rejected:
                assert rows.state(selectors.get(row.pk)) == rows.state(before)
        elif chance.random() < 0.3:
            services.react(row.pk, now)
        else:
            services.run_due(now)
        after = selectors.get(row.pk)
        made = list(RolloutAnalysis.objects.order_by("id")[n_analyses:])
        promoted = after.state in {"PROMOTING", "SUCCEEDED"} and before.state in {"RUNNING", "PAUSED"}
        if after.step > before.step or promoted:
            assert by_hand or [each.verdict for each in made] == ["Success"]
        if any(each.hard for each in made):
            assert after.state == "ROLLED_BACK"
        if before.state == "PAUSED" and not by_hand:
            assert (after.state, after.step) in {("PAUSED", before.step), ("ROLLED_BACK", before.step)}
        served = asked(["AAPL", "IBM", "MSFT"])
        assert bool(served) == (after.state in SERVING and after.step > 0)
        if before.state not in LIVE:
            assert rows.state(after) == rows.state(before)
    entries = list(RolloutEvent.objects.order_by("id"))
    assert all(one.after == following.before for one, following in pairwise(entries))
    assert entries[-1].after == rows.state(selectors.get(row.pk))
    assert (desk.champion == "momentum") == (selectors.get(row.pk).state == "SUCCEEDED")
