"""From decisions and what came of them to the figures of an arm: pure arithmetic, checked against plain sums."""

import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helios.rollouts.core.measures import ArmMeasures
from tiers.challenge import observations as figures
from tiers.challenge.observations import Observation, Totals


def seen(cycle=1, symbol="AAPL", arm="challenger", book=1, **values):
    return Observation(arm=arm, book=book, cycle=cycle, symbol=symbol, **values)


def challenger(*observations):
    return figures.measures(observations)["challenger"]


def test_an_arm_without_decisions_has_the_defaults():
    assert figures.measures([]) == {"champion": ArmMeasures(), "challenger": ArmMeasures()}


def test_decisions_are_kept_apart_by_arm():
    both = figures.measures([seen(pnl_bps=3.0), seen(arm="champion", pnl_bps=-1.0), seen(arm="champion", failed=True)])
    assert (both["challenger"].n_decisions, both["challenger"].pnl_bps) == (1, (3.0,))
    assert (both["champion"].n_decisions, both["champion"].n_errors) == (2, 1)


def test_a_decision_that_failed_has_no_profit_no_loss_and_no_orders():
    arm = challenger(seen(failed=True, pnl_bps=5.0, loss=0.1, weight=0.4, n_orders=1, n_rejected=1))
    assert (arm.n_decisions, arm.n_errors, arm.pnl_bps, arm.losses, arm.n_orders) == (1, 1, (), (), 0)
    assert (arm.exposure, arm.drawdown) == (None, None)


def test_latency_counts_once_a_cycle():
    arm = challenger(seen(1, "AAPL", latency_ms=4.0), seen(1, "IBM", latency_ms=4.0), seen(2, "AAPL", latency_ms=9.0))
    assert arm.latency_ms == (4.0, 9.0)


def test_exposure_is_the_largest_gross_weight_of_any_cycle():
    arm = challenger(
        seen(1, "AAPL", weight=0.2),
        seen(1, "IBM", weight=-0.3),
        seen(2, "AAPL", weight=0.4),
        seen(2, "IBM", weight=0.0),
    )
    assert arm.exposure == 0.5


def test_drawdown_is_the_deepest_fall_of_one_books_path():
    steps = [(1, 100.0), (2, -250.0), (3, 50.0), (4, -100.0)]
    arm = challenger(*(seen(cycle, pnl_bps=p / 2) for cycle, p in steps for _ in "ab"), seen(9, book=2, pnl_bps=-10.0))
    assert arm.drawdown == pytest.approx(0.03)  # from +100 to -200 bps


def test_a_path_that_only_falls_is_measured_from_its_beginning():
    assert challenger(seen(1, pnl_bps=-40.0)).drawdown == pytest.approx(0.004)


@given(st.lists(st.floats(-500, 500), min_size=1, max_size=40))
def test_drawdown_equals_its_plain_twin(steps):
    path = np.concatenate([[0.0], np.cumsum(steps)])
    plain = max(path[i] - path[j] for i in range(len(path)) for j in range(i, len(path)))
    arm = challenger(*(seen(number, pnl_bps=step) for number, step in enumerate(steps)))
    assert arm.drawdown == pytest.approx(plain / 1e4, abs=1e-12)


def test_a_hypothetical_weight_earns_the_move_and_pays_for_coming_there():
    assert figures.hypothetical_bps(0.5, 0.5, 100.0, 102.0, 7.0) == pytest.approx(100.0)
    assert figures.hypothetical_bps(0.5, 0.2, 100.0, 102.0, 7.0) == pytest.approx(100.0 - 2.1)
    assert figures.hypothetical_bps(0.0, 0.0, 100.0, 50.0, 7.0) == 0.0


def test_a_position_made_its_change_of_value_and_the_cash_of_its_fills():
    assert figures.realised_bps(1_000.0, 1_550.0, -500.0, 10_000.0) == pytest.approx(50.0)
    assert figures.realised_bps(1_000.0, 0.0, 990.0, 10_000.0) == pytest.approx(-10.0)
    assert figures.realised_bps(1_000.0, 0.0, 990.0, 0.0) == 0.0


def test_a_forecast_that_ruled_out_what_happened_costs_much_and_not_infinitely():
    assert figures.log_loss([0.2, 0.3, 0.5], 2) == pytest.approx(-math.log(0.5))
    assert figures.log_loss([0.0, 0.5, 0.5], 0) == pytest.approx(27.63, abs=0.01)


def test_what_decided_nothing_is_only_judged_as_a_forecast():
    mine = [seen(1, loss=0.4, pnl_bps=3.0, weight=0.2, latency_ms=4.0, n_orders=1), seen(2, loss=0.5, failed=True)]
    beside = seen(
        3, decided=False, loss=0.9, pnl_bps=-50.0, weight=5.0, latency_ms=9e9, n_orders=3, n_rejected=2, rows_a_day=24
    )
    alone, arm = challenger(*mine), challenger(*mine, beside, seen(4, decided=False, failed=True, loss=0.1))
    assert (arm.losses, arm.losses_of) == ((0.4, 0.9), ((1, "AAPL"), (3, "AAPL")))
    assert replace(arm, losses=alone.losses, losses_of=alone.losses_of) == alone


# --- totals that are kept ---

NUMBER = st.none() | st.floats(-200, 200)
OBSERVED = st.fixed_dictionaries(
    {
        "failed": st.booleans(),
        "decided": st.booleans(),
        "latency_ms": st.none() | st.floats(0, 50),
        "weight": NUMBER,
        "pnl_bps": NUMBER,
        "loss": NUMBER,
        "n_orders": st.integers(0, 2),
        "n_rejected": st.integers(0, 2),
    }
)
CYCLE = st.tuples(st.integers(1, 3), st.lists(OBSERVED, min_size=1, max_size=3))  # of a book, an observation a symbol


@given(st.lists(CYCLE, max_size=14), st.dictionaries(st.integers(1, 3), st.integers(0, 8)))
def test_totals_that_are_kept_give_the_figures_of_the_whole_however_far_each_book_is_settled(cycles, settled):
    seen_so_far = [
        (book, (datetime(2024, 1, 1 + number, tzinfo=UTC), number), [
            seen(number, f"S{place}", book=book, **values) for place, values in enumerate(observed)
        ])
        for number, (book, observed) in enumerate(cycles)
    ]  # fmt: skip
    of_book = {book: [one for one in seen_so_far if one[0] == book] for book in (3, 2, 1)}
    kept = Totals()
    for book, found in of_book.items():  # a book that is settled further is ahead of the others
        for _, key, observations in found[: settled.get(book, 0)]:
            kept.add(key, observations)
    fresh = kept.continued()
    for book, found in of_book.items():
        for _, key, observations in found[settled.get(book, 0) :]:
            fresh.add(key, observations)
    whole = challenger(*(each for _, _, observations in seen_so_far for each in observations))
    assert kept.measures(fresh) == whole
