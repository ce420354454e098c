"""Success is shown: a worse challenger seldom has it, whatever its luck, and an equal one does with enough bars."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.stats import norm, t

from helios.rollouts.core import differences
from helios.rollouts.core.assignment import Mode
from helios.rollouts.core.guards import Guard, Strength, default_guards, judge_guard, sure_at
from helios.rollouts.core.machine import Verdict
from helios.rollouts.core.measures import ArmMeasures
from helios.rollouts.core.rollout_plan import Step
from helios.rollouts.core.statistics import batch_means_interval, samples_for
from helios.rollouts.core.verdict import Judgement, judge

REPLAY = Step(kind=Mode.REPLAY)
GUARDS = default_guards("module", "predict")
THETA, HORIZON, N_SYMBOLS = 0.5, 5, 4
CALM = (10.0,) * 100  # latencies


def market(n_bars: int, edge: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """True probabilities (n_bars, n_symbols, 3), and what happened over horizons that overlap, of symbols alike."""
    steps = rng.normal(size=(n_bars + HORIZON, N_SYMBOLS)) + rng.normal(size=(n_bars + HORIZON, 1))
    drift = edge * rng.normal(size=(n_bars // HORIZON + 1, N_SYMBOLS)).repeat(HORIZON, axis=0)[:n_bars]
    ahead = np.lib.stride_tricks.sliding_window_view(steps[1:], HORIZON, axis=0).sum(axis=2)[:n_bars]
    move = ahead / np.sqrt(2 * HORIZON) + drift
    sell, buy = norm.cdf(-THETA - drift), norm.sf(THETA - drift)
    return np.stack([sell, 1 - sell - buy, buy], axis=2), np.select([move < -THETA, move > THETA], [0, 2], 1)


def arm(probability: np.ndarray, outcome: np.ndarray) -> ArmMeasures:
    losses = -np.log(np.take_along_axis(probability, outcome[:, :, None], axis=2)[:, :, 0])
    places = tuple(product(range(len(outcome)), "abcd"))
    zeros = (0.0,) * losses.size
    told = tuple(losses.ravel().tolist())
    return ArmMeasures(
        n_decisions=losses.size, latency_ms=CALM, losses=told, losses_of=places, pnl_bps=zeros, pnl_of=places
    )


def verdict(champion: ArmMeasures, challenger: ArmMeasures, look: int = 1) -> Judgement:
    return judge({"champion": champion, "challenger": challenger}, GUARDS, REPLAY, seed=1, look=look)


@pytest.mark.parametrize("n_bars", [30, 250])
@pytest.mark.parametrize("edge", [0.08, 0.12, 0.3])
def test_a_challenger_with_buy_and_sell_swapped_is_refused_in_95_of_100_runs(n_bars: int, edge: float) -> None:
    """An edge of 0.08 costs the swapped forecast some 0.01 nats; the trained example's costs 0.011."""
    rng, n_runs = np.random.default_rng(n_bars), 200
    succeeded = 0
    for _ in range(n_runs):
        probability, outcome = market(n_bars, edge, rng)
        found = verdict(arm(probability, outcome), arm(probability[:, :, ::-1], outcome))
        succeeded += found.verdict is Verdict.SUCCESS
    assert succeeded <= 0.05 * n_runs


def test_who_looks_again_and_again_sees_a_harm_at_the_limit_pass_in_5_of_100_runs() -> None:
    """Thirty looks at bars that grow: at 5 % each, one of them would pass it in every fifth run."""
    rng, n_runs = np.random.default_rng(11), 100
    places = tuple((bar, "a") for bar in range(330))

    def first(losses: np.ndarray, n_bars: int) -> ArmMeasures:
        told, zeros, of = tuple(losses[:n_bars].tolist()), (0.0,) * n_bars, places[:n_bars]
        return ArmMeasures(n_decisions=n_bars, latency_ms=CALM, losses=told, losses_of=of, pnl_bps=zeros, pnl_of=of)

    def passes() -> bool:
        champion = rng.normal(1.0, 0.3, 330)
        challenger = champion + 0.005 + rng.normal(0, 0.02, 330)
        looks = [(first(champion, n), first(challenger, n), look) for look, n in enumerate(range(40, 331, 10), 1)]
        return any(verdict(*each).verdict is Verdict.SUCCESS for each in looks)

    assert sum(passes() for _ in range(n_runs)) <= 0.05 * n_runs
    assert sum(1 - sure_at(look) for look in range(1, 10_000)) == pytest.approx(0.05, abs=1e-5)


def test_a_challenger_that_says_the_same_is_shown_not_worse_at_once() -> None:
    same = arm(*market(30, 0.1, np.random.default_rng(1)))
    assert verdict(same, same).verdict is Verdict.SUCCESS


def test_bars_that_were_seen_in_training_succeed_no_step_and_harm_on_them_still_counts() -> None:
    probability, outcome = market(250, 0.12, np.random.default_rng(5))
    same = arm(probability, outcome)
    seen = replace(same, n_bars=250, n_seen=190)
    told = "190 of the 250 bars were seen in training: what they show is no evidence"
    for look in (1, 0):
        assert (verdict(seen, seen, look).verdict, verdict(seen, seen, look).reason) == (Verdict.INCONCLUSIVE, told)
    assert verdict(seen, replace(seen, n_errors=40)).verdict is Verdict.FAILED
    assert verdict(same, replace(same, n_bars=250)).verdict is Verdict.SUCCESS


def test_an_equal_challenger_succeeds_in_most_runs_of_the_stated_length() -> None:
    """Both arms add noise of their own to what is true. Power 0.8: of 100 runs 80, less or more what chance does."""
    rng = np.random.default_rng(5)

    def noisy(probability: np.ndarray) -> np.ndarray:
        made = probability * np.exp(rng.normal(scale=0.08, size=probability.shape))
        return made / made.sum(axis=2, keepdims=True)

    def run(n_bars: int) -> tuple[ArmMeasures, ArmMeasures]:
        probability, outcome = market(n_bars, 0.1, rng)
        return arm(noisy(probability), outcome), arm(noisy(probability), outcome)

    sure = sure_at(1)
    found = [differences.log_loss(*run(400), confidence=2 * sure - 1) for _ in range(30)]
    needed = int(np.median([samples_for(one.interval, one.n, 0.005, confidence=sure, power=0.8) for one in found]))
    succeeded = sum(verdict(*run(needed)).verdict is Verdict.SUCCESS for _ in range(100))
    assert 50 < needed < 1_000
    assert 68 <= succeeded <= 92


def test_without_enough_evidence_nothing_succeeds_and_the_bars_that_are_lacking_are_said() -> None:
    rng = np.random.default_rng(3)
    champion = arm(*market(60, 0.3, rng))
    noisy = replace(champion, losses=tuple(rng.normal(np.mean(champion.losses), 0.5, 240).tolist()))
    told = verdict(champion, noisy)
    assert told.verdict is Verdict.INCONCLUSIVE
    assert "log_loss_excess may be 0." in told.reason
    assert "above 0.005, after 60 bars: arms that are equal show less after about " in told.reason
    later = judge({"champion": champion, "challenger": noisy}, GUARDS, REPLAY, seed=1)
    assert later.verdict is Verdict.SUCCESS, "later steps only watch for what is surely worse"


@pytest.mark.parametrize(
    ("rows_a_day", "deficit", "passes"), [(1, 4.0, True), (1, 6.0, False), (390, 0.01, True), (390, 0.02, False)]
)
def test_the_limit_of_pnl_is_one_of_a_day_at_every_timeframe(rows_a_day: int, deficit: float, passes: bool) -> None:
    places = tuple((bar, "a") for bar in range(400))
    champion = ArmMeasures(n_decisions=400, pnl_bps=(1.0,) * 400, pnl_of=places, rows_a_day=rows_a_day)
    challenger = replace(champion, pnl_bps=(1.0 - deficit,) * 400)
    guard = Guard(metric="pnl_deficit_bps", limit=5, kind=Strength.SOFT, min_samples=30)
    found = judge_guard(guard, {"champion": champion, "challenger": challenger}, REPLAY, seed=1, look=1)
    assert found.value == pytest.approx(deficit * rows_a_day)
    assert (str(found.outcome) == "passed") is passes


def test_pairs_are_found_by_bar_and_symbol_and_what_only_one_arm_has_is_left_out() -> None:
    a = ArmMeasures(pnl_bps=(1.0, 2.0, 3.0, 9.0), pnl_of=((1, "a"), (1, "b"), (2, "a"), (3, "a")))
    b = ArmMeasures(pnl_bps=(5.0, 4.0, 2.0), pnl_of=((2, "a"), (1, "b"), (1, "a")))
    found = differences.pnl(a, b)
    assert (found.n, found.interval.estimate) == (2, pytest.approx(((1 + 2) / 2 + 2) / 2))
    apart = differences.pnl(a, replace(b, pnl_of=((2, "x"), (1, "y"), (1, "z"))))
    assert apart.n == 3  # two independent samples


def test_the_interval_of_batch_means_equals_one_worked_by_hand() -> None:
    values = [1.0, 3.0, 2.0, 4.0, 6.0, 2.0, 5.0, 7.0, 9.0]  # three stretches: means 2, 4, 7
    half = t.ppf(0.95, df=2) * np.std([2.0, 4.0, 7.0], ddof=1) / np.sqrt(3)
    found = batch_means_interval(values, confidence=0.9)
    assert (found.estimate, found.low, found.high) == pytest.approx((13 / 3, 13 / 3 - half, 13 / 3 + half))


def test_the_interval_covers_the_mean_of_a_series_whose_neighbours_hang_together() -> None:
    rng, hits = np.random.default_rng(8), 0
    for _ in range(400):
        found = batch_means_interval(np.convolve(rng.normal(size=254), np.ones(5), mode="valid"), confidence=0.9)
        hits += found.low <= 0.0 <= found.high
    assert 0.82 <= hits / 400 <= 0.95  # an interval of 250 independent values covers it in 53 of 100
