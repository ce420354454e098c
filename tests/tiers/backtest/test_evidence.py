"""What a backtest says of its model: figures against plain loops, and sentences of models whose knowledge is known."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from tests.support.backtests import LinearModel, lots, market, prices, short_params
from tiers.backtest import evidence, presentation
from tiers.backtest.engine import Config, Result, run_helios, run_strategy
from tiers.backtest.evidence import Estimate, Evidence, block_means, estimate
from tiers.backtest.sampling import Sampling
from tiers.contracts import FIELDS, Bars, FloatArray, Switches
from tiers.predict import labels
from trading.market.calendars import ALWAYS_OPEN, US_EQUITIES, Calendar
from trading.market.timestamps import utc
from trading.strategies import SmaCross

PRIOR = np.array([0.3, 0.4, 0.3])
CARD = SimpleNamespace(prior=PRIOR.tolist(), horizon_bars=5, theta=0.5, params={"volatility_bars": 20})
MODEL = SimpleNamespace(card=CARD, horizon_bars=5)
BARS = market(900, 3, seed=11)
MADE = labels.make(BARS.close, horizon_bars=5, theta=0.5, volatility_bars=20)
RNG = np.random.default_rng(4)


class Carded(LinearModel):
    """A model that has a card."""

    card = CARD


def backtest(probability: FloatArray, **changes: Any) -> Any:
    """What `evidence.of` reads of a result, over all bars."""
    ts = [moment.item() for moment in BARS.ts]
    bare = SimpleNamespace(ts=ts)
    log = SimpleNamespace(probability=probability)
    given = {
        "log": log,
        "bar_ts": BARS.ts,
        "run": bare,
        "n_seen": 100,
        "lead": SimpleNamespace(frequencies=None),
    }
    return SimpleNamespace(**{**given, **changes})


def told(probability: FloatArray, until: int = 99) -> Evidence:
    found = evidence.of(backtest(probability, n_seen=until + 1), BARS, [MODEL] * 3)
    assert found is not None
    return found


def knowing(*, moving: float, direction: float) -> FloatArray:
    """Forecasts that lean to what will happen, by how far each part of it is known (0: the class frequencies)."""
    outcome = np.maximum(MADE.outcome, 0)
    hold = np.where(outcome == labels.HOLD, PRIOR[1] + moving, PRIOR[1] - moving)
    up = 0.5 + direction * np.sign(np.nan_to_num(MADE.forward))
    blurred = np.clip(up + RNG.normal(scale=0.02, size=up.shape), 0.05, 0.95)
    return np.stack([(1 - hold) * (1 - blurred), hold, (1 - hold) * blurred], axis=2)


def test_the_figures_are_those_of_plain_loops_over_the_bars_that_were_not_seen() -> None:
    said = RNG.dirichlet((3.0, 4.0, 3.0), size=BARS.close.shape)
    said[200:210, 1] = np.nan
    found, until = told(said), 99
    gains, hits, ups, n = [], [], [], 0
    for row in range(until + 1, BARS.n_bars):
        known = [c for c in range(3) if MADE.outcome[row, c] >= 0 and not math.isnan(said[row, c, 0])]
        if not known:
            continue
        n += len(known)
        outcomes = [int(MADE.outcome[row, c]) for c in known]
        gains.append(np.mean([math.log(said[row, c, o] / PRIOR[o]) for c, o in zip(known, outcomes, strict=True)]))
        hits += [(said[row, c, 2] - said[row, c, 0]) * MADE.forward[row, c] > 0 for c in known]
        ups += [MADE.forward[row, c] > 0 for c in known]
    assert (found.n_forecasts, found.n_bars) == (n, len(gains))
    assert found.start == BARS.ts[until + 1].item()
    assert found.gain.value == pytest.approx(np.mean(gains), rel=1e-9)
    assert found.class_frequencies_log_loss - found.log_loss == pytest.approx(np.mean(gains), rel=1e-9)
    assert found.gain_on_moving.value + found.gain_on_direction.value == pytest.approx(found.gain.value, rel=1e-9)
    assert (found.hit_rate, found.always_up) == (pytest.approx(np.mean(hits)), pytest.approx(np.mean(ups)))
    assert found.hit_rate_above_always_up.value == pytest.approx(np.mean(hits) - np.mean(ups))
    assert found.gain.low < found.gain.value < found.gain.high


def test_each_forecast_counts_once_where_most_bars_have_one_symbol_alone() -> None:
    said = RNG.dirichlet((3.0, 4.0, 3.0), size=BARS.close.shape)
    alone = np.arange(BARS.n_bars) % 7 < 5
    said[alone, 1:] = np.nan  # as a coin's hours beside those of stocks
    found, rows = told(said), range(100, BARS.n_bars - 5)
    hits, ups, n, gains = [], [], [], []
    for row in rows:
        known = [c for c in range(1 if alone[row] else 3) if MADE.outcome[row, c] >= 0]
        gains.append(
            np.mean([math.log(said[row, c, MADE.outcome[row, c]] / PRIOR[MADE.outcome[row, c]]) for c in known])
        )
        hits.append(sum((said[row, c, 2] > said[row, c, 0]) == (MADE.forward[row, c] > 0) for c in known))
        ups.append(sum(MADE.forward[row, c] > 0 for c in known))
        n.append(len(known))
    assert (found.n_forecasts, found.hit_rate) == (sum(n), pytest.approx(sum(hits) / sum(n)))
    assert found.always_up == pytest.approx(sum(ups) / sum(n))
    assert found.gain.value == pytest.approx(np.mean(gains))  # a mean over bars, as the log loss is
    above, rng, n_blocks, drawn = found.hit_rate_above_always_up, np.random.default_rng(0), len(rows) // 10, []
    for starts in rng.integers(0, len(rows) - 9, size=(10_000, n_blocks)):
        block = (starts[:, None] + np.arange(10)).ravel()
        drawn.append((np.take(hits, block).sum() - np.take(ups, block).sum()) / np.take(n, block).sum())
    assert above.value == pytest.approx((sum(hits) - sum(ups)) / sum(n))
    assert (above.low, above.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))


def test_a_block_holds_two_horizons_in_the_rows_that_forecasts_take(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = []

    def spied(values: FloatArray, block: int, real: Any = block_means, **options: Any) -> FloatArray:
        blocks.append(block)
        return real(values, block, **options)

    monkeypatch.setattr(evidence, "block_means", spied)
    said = RNG.dirichlet((3.0, 4.0, 3.0), size=BARS.close.shape)
    session = np.arange(BARS.n_bars)[:, None] % 3 == 0  # a stock's bars beside those of coins
    fields = {name: getattr(BARS, name).copy() for name in FIELDS}
    for values in fields.values():
        values[:, 1:2][~session] = np.nan
    for bars in (BARS, replace(BARS, **fields)):
        assert evidence.of(backtest(said), bars, [MODEL] * 3) is not None
    assert blocks == [10, 12]  # 15 rows of one forecast in seven, 5 of the others


@pytest.mark.parametrize("lean", [-0.01, 0.0, 0.01])
def test_a_price_that_did_not_move_is_no_hit_of_either_side(lean: float) -> None:
    coarse = np.round(BARS.close / 8) * 8
    bars = replace(BARS, open=coarse, high=coarse, low=coarse, close=coarse)
    said = np.broadcast_to([0.16 - lean, 0.68, 0.16 + lean], (*coarse.shape, 3))
    found = evidence.of(backtest(said), bars, [MODEL] * 3)
    made = labels.make(coarse, horizon_bars=5, theta=0.5, volatility_bars=20)
    ups, downs, still = [], [], 0
    for row in range(100, bars.n_bars - 5):
        known = [c for c in range(3) if made.outcome[row, c] >= 0]
        if known:
            moves = [coarse[row + 5, c] - coarse[row, c] for c in known]
            ups += [move > 0 for move in moves]
            downs += [move < 0 for move in moves]
            still += moves.count(0.0)
    assert found is not None
    assert still > found.n_forecasts / 4
    assert found.always_up == pytest.approx(np.mean(ups))
    assert found.hit_rate == pytest.approx(0.0 if lean == 0 else np.mean(ups if lean > 0 else downs))


@pytest.mark.parametrize(
    ("moving", "direction", "sentence"),
    [
        (0.1, 0.0, "this model knows when nothing will happen, not where prices go."),
        (0.0, 0.15, "this model knows something of where prices go, not of when they move."),
        (0.1, 0.15, "this model knows something of when prices move, and of where they go."),
        (0.0, 0.0, "this model is not shown to know more than how often prices rose and fell."),
        (-0.1, -0.15, "this model knows less than how often prices rose and fell."),
        (0.0, -0.15, "this model knows less than how often prices rose and fell."),
        (0.1, -0.05, "this model knows when nothing will happen, not where prices go."),
    ],
)
def test_the_sentence_follows_from_what_the_model_knows(moving: float, direction: float, sentence: str) -> None:
    says = told(knowing(moving=moving, direction=direction)).says
    assert says[0] == f"On bars that it did not see, {sentence}"
    parts = [what for part, what in ((moving, "of when prices move"), (direction, "of where they go")) if part < 0]
    worse = [f"Its opinion {' and '.join(parts)} is worse than none, which is class frequencies."]
    assert [sentence for sentence in says if "worse than none" in sentence] == worse * bool(parts)
    assert any(each.startswith("It is right about the side of a move more often") for each in says) is (direction > 0)


def test_a_model_that_knows_less_than_nothing_in_all_is_not_said_to_know_a_part() -> None:
    figures = [(-0.02, -0.03, -0.01), (0.01, 0.005, 0.015), (0.0, -0.01, 0.01), (-0.03, -0.04, -0.02), (0.0, 0.0, 0.0)]
    says = evidence.what_it_knows(*(Estimate(value=value, low=low, high=high) for value, low, high in figures))
    assert says == [
        "On bars that it did not see, this model knows less than how often prices rose and fell.",
        evidence.YARDSTICK,
        "Its opinion of where they go is worse than none, which is class frequencies.",
        'It is right about the side of a move as often as always saying "up" is.',
    ]


def test_who_knows_the_width_of_the_threshold_alone_is_not_said_to_know_when_nothing_will_happen() -> None:
    """Of a price whose volatility never changes the width tells all that can be known, and this model says it."""
    steps = np.random.default_rng(8).normal(scale=0.01, size=(3_000, 3))
    close = 100.0 * np.exp(np.cumsum(steps, axis=0))
    ts = BARS.ts[0] + np.arange(3_000) * np.timedelta64(1, "D")
    bars = replace(BARS, ts=ts, **dict.fromkeys(FIELDS, close))
    square = np.full(close.shape, np.nan)
    square[20:] = np.lib.stride_tricks.sliding_window_view(steps[1:] ** 2, 20, axis=0).mean(axis=2)
    moves = 2.0 * norm.sf(0.5 * np.sqrt(square) / 0.01)
    said = np.stack([moves / 2, 1.0 - moves, moves / 2], axis=2)
    found = evidence.of(backtest(said, bar_ts=ts, run=SimpleNamespace(ts=[*ts.tolist()])), bars, [MODEL] * 3)
    assert found is not None
    assert found.gain_on_moving.sign == 1
    assert found.gain_beyond_width.low < 0.0 < found.gain_beyond_width.high
    assert found.says[0].endswith("when nothing will happen as far as its threshold tells that, not where prices go.")
    assert found.says[1] == evidence.YARDSTICK
    moving, beyond = found.gain_on_moving, found.gain_beyond_width
    knows, scaled, *_ = evidence.what_it_knows(moving, moving, beyond, moving, moving)
    assert knows.endswith("of where prices go, and when nothing will happen as far as its threshold tells that.")
    assert scaled == evidence.YARDSTICK


def test_the_width_of_the_threshold_is_fitted_to_what_came_of_each_symbol() -> None:
    found, returns = told(knowing(moving=0.1, direction=0.0)), np.diff(np.log(BARS.close), axis=0)
    best = []
    for column in range(3):
        rows = []
        for row in range(100, BARS.n_bars - 5):
            past = returns[:row, column] ** 2
            short, long, longer = (np.log(past[-n:].mean()) / 2 for n in (20, 250, 1_000))
            rows.append([1.0, short - long, short - longer])
        best.append(least_loss(np.array(rows), MADE.outcome[100 : BARS.n_bars - 5, column] != labels.HOLD))
    naive = -np.log(np.where(MADE.outcome[100 : BARS.n_bars - 5] != labels.HOLD, 0.6, 0.4)).mean()
    gained = found.gain_on_moving.value - found.gain_beyond_width.value
    assert gained == pytest.approx(naive - np.mean(best), abs=1e-7)
    assert found.gain_beyond_width.sign == 1


def test_the_width_is_the_same_however_much_is_loaded_before() -> None:
    close = 100.0 * np.exp(np.cumsum(np.random.default_rng(2).normal(scale=0.01, size=3_000)))
    whole, part = evidence._width(close, 20), evidence._width(close[900:], 20)
    np.testing.assert_allclose(part[1_000:], whole[1_900:], rtol=1e-9)


@pytest.mark.parametrize(("prior", "share"), [(0.96, 0.8), (0.9, 0.5), (0.4, 1.0), (0.4, 0.0)])
def test_the_fit_is_the_best_however_far_what_came_lies_from_the_training(prior: float, share: float) -> None:
    width = np.column_stack([np.ones(900), RNG.normal(scale=1.5, size=(900, 2))])
    moved = RNG.random(900) < share
    chance = evidence._moves_by_width(width, moved)
    loss = -np.log(np.where(moved, chance, 1.0 - chance)).mean()
    assert loss == pytest.approx(least_loss(width, moved), abs=2e-5)
    assert loss < -np.log(np.where(moved, 1.0 - prior, prior)).mean()


def least_loss(width: FloatArray, moved: FloatArray) -> float:
    def loss(factors: FloatArray) -> float:
        at = width @ factors
        return float((np.logaddexp(0.0, at) - moved * at).mean())

    options = {"xatol": 1e-8, "fatol": 1e-13, "maxiter": 9_000}
    return float(minimize(loss, np.zeros(3), method="Nelder-Mead", options=options).fun)


def test_a_model_without_a_card_or_without_enough_unseen_bars_gets_no_figures() -> None:
    said = knowing(moving=0.0, direction=0.0)
    assert evidence.of(backtest(said, n_seen=BARS.n_bars - 29), BARS, [MODEL] * 3) is None
    assert evidence.of(backtest(said, n_seen=0), BARS, [LinearModel()] * 3) is None
    assert evidence.of(backtest(said, log=None), BARS, [MODEL] * 3) is None


def test_blocks_of_one_give_the_spread_of_independent_values() -> None:
    values = RNG.normal(size=(900, 1))
    drawn = block_means(values, 1, seed=1, n_resamples=4_000)
    assert drawn.std() == pytest.approx(values.std() / 30, rel=0.05)
    assert drawn.mean() == pytest.approx(values.mean(), abs=0.003)


def test_there_are_eight_blocks_at_least_of_however_few_values() -> None:
    values = RNG.normal(size=(100, 1))
    drawn = [block_means(values, block, n_resamples=50) for block in (12, 50, 100, 9_000)]
    assert all(np.array_equal(drawn[0], each) for each in drawn)


def test_intervals_cover_the_mean_of_a_series_whose_neighbours_hang_together() -> None:
    hits = 0
    for run in range(200):
        series = np.convolve(RNG.normal(size=504), np.ones(5), mode="valid")[:, None]
        found = estimate(0.0, block_means(series, 10, seed=run, n_resamples=400)[:, 0])
        hits += found.low <= 0.0 <= found.high
    assert 0.85 <= hits / 200 <= 0.98  # with blocks of one 60 in 100


def helios(model: Any, *, calendar: str = US_EQUITIES, n_seen: int = 0, **options: Any) -> Result:
    bars: Bars = market(420, 3, seed=1)
    config = Config(
        lots=lots(bars),
        start_row=260,
        calendars=dict.fromkeys(bars.symbols, Calendar(calendar)) if calendar else {},
        trained_until=utc(bars.ts[259 + n_seen]),
    )
    return run_helios(bars, model, config, params=short_params(), switches=Switches(auto_trading=True), **options)


def test_class_frequencies_go_through_the_same_tiers() -> None:
    class Frequencies(Carded):
        def probabilities(self, features: FloatArray) -> FloatArray:
            known = np.isfinite(super().probabilities(features))
            return np.where(known, PRIOR, np.nan)

    compared = helios(Carded(), compared=True)
    plain = helios(Frequencies())
    assert compared.frequencies is not None
    assert compared.frequencies.run.equity == plain.run.equity
    assert compared.frequencies.metrics.fees_paid == plain.metrics.fees_paid
    assert compared.run.equity == helios(Carded()).run.equity
    assert helios(LinearModel(), compared=True).frequencies is None  # no card tells its class frequencies
    assert list(presentation.columns(compared)) == [
        *("helios", "class frequencies", "buy and hold", "buy and hold, same volatility")
    ]


@pytest.mark.parametrize("n_seen", [0, 70, 150])
def test_every_column_names_buy_and_hold_of_its_own_bars(n_seen: int) -> None:
    made = helios(Carded(), compared=True, n_seen=n_seen)
    lead, *_ = presentation.columns(made).values()
    held = lead["buy_hold_return_pct"]
    assert held != lead["total_return_pct"]
    for name, column in presentation.columns(made).items():
        over_all = name.endswith("with bars seen in training")
        assert column["n_bars"] == (160 if over_all else lead["n_bars"])
        if "same volatility" not in name:
            of_these = made.baseline if over_all else made.lead.baseline
            assert column["buy_hold_return_pct"] == of_these.metrics.total_return_pct
            assert (column["buy_hold_return_pct"] == held) is (not over_all)


def test_the_sharpe_ratio_has_an_interval_and_is_compared_with_that_of_class_frequencies() -> None:
    mine = 1e-4 + 0.01 * RNG.normal(size=899)
    curves = [np.cumprod(np.concatenate([[1.0], 1.0 + r])) for r in (mine + 0.002, mine)]
    first, other = (SimpleNamespace(run=SimpleNamespace(equity_curve=curve[100:])) for curve in curves)
    lead = SimpleNamespace(
        run=first.run, frequencies=other, sampling=Sampling(rows=np.arange(800), per_year=252.0, of_days=True)
    )
    found = evidence.of(backtest(knowing(moving=0.0, direction=0.0), lead=lead), BARS, [MODEL] * 3)
    assert found is not None
    assert found.sharpe is not None
    assert found.sharpe_above_class_frequencies is not None
    part = (mine + 0.002)[100:]  # from the close of the first bar that it did not see
    assert found.sharpe.value == pytest.approx(part.mean() / part.std(ddof=1) * math.sqrt(252))
    assert found.sharpe_above_class_frequencies.value == pytest.approx(0.002 / part.std(ddof=1) * math.sqrt(252))
    assert found.sharpe_above_class_frequencies.sign == 1
    assert found.says[-1].startswith("For its risk it earned more than the same pipeline")
    swapped = replace(found.sharpe_above_class_frequencies, low=-0.2, high=0.4)
    shown = replace(found.sharpe, value=0.672, low=-0.214, high=1.648)
    ratio, earned = evidence.what_it_earns(shown, swapped)
    assert ratio == "The backtest's Sharpe ratio is 0.67, with a 95 % interval from -0.21 to 1.65."
    assert earned.startswith("It is open whether it earned more for its risk than the same pipeline without")
    assert evidence.what_it_earns(None, None) == []


def test_a_block_of_the_sharpe_ratio_is_of_its_returns_where_these_have_two_rows_each() -> None:
    every, second = np.arange(801), np.arange(0, 801, 2)
    curves = np.cumprod(1.0 + 0.01 * RNG.normal(size=(2, 801)), axis=1)

    def of(rows: Any, sampling: Any) -> Any:
        mine, frequencies = (SimpleNamespace(run=SimpleNamespace(equity_curve=curve[rows])) for curve in curves)
        return SimpleNamespace(
            run=mine.run, frequencies=frequencies, sampling=Sampling(rows=sampling, per_year=252.0, of_days=True)
        )

    assert evidence._sharpes(of(every, second), 10) == evidence._sharpes(of(second, np.arange(401)), 5)


@pytest.mark.parametrize("calendar", [US_EQUITIES, ALWAYS_OPEN, ""])
def test_the_sharpe_ratio_of_the_evidence_is_the_one_that_leads_the_figures(calendar: str) -> None:
    bars = market(420, 3, seed=1)
    made = helios(Carded(), compared=True, calendar=calendar, n_seen=70)
    result = replace(made, unseen=replace(made.lead, frequencies=made.lead.baseline))
    found = evidence.of(result, bars, [Carded()] * 3)
    mine, frequencies, *_ = presentation.columns(result).values()
    assert found is not None
    assert found.sharpe is not None
    assert found.sharpe_above_class_frequencies is not None
    assert found.sharpe.value == mine["sharpe"]
    assert found.sharpe_above_class_frequencies.value == pytest.approx(mine["sharpe"] - frequencies["sharpe"])
    assert found.sharpe.low < found.sharpe.value < found.sharpe.high
    still = evidence.of(made, bars, [Carded()] * 3)  # these class frequencies never buy: no ratio of theirs
    assert still is not None
    assert (still.sharpe, still.sharpe_above_class_frequencies) == (found.sharpe, None)


def test_buy_and_hold_of_the_same_volatility_moves_as_much_as_the_strategy() -> None:
    bars = market(300, 2, seed=9)
    calendars = dict.fromkeys(bars.symbols, Calendar(US_EQUITIES))
    result = run_strategy(bars, SmaCross(fast=5, slow=20), Config(lots=lots(bars), start_row=30, calendars=calendars))
    found = presentation.same_volatility(result)
    assert found is not None
    held = result.baseline.run.equity_curve
    part = result.metrics.volatility_pct / result.baseline.metrics.volatility_pct
    assert 0 < part < 1
    assert found["volatility_pct"] == pytest.approx(result.metrics.volatility_pct)
    assert found["sharpe"] == pytest.approx(result.baseline.metrics.sharpe)
    growth = math.prod(1.0 + part * (after / before - 1.0) for before, after in pairwise(held))
    assert found["total_return_pct"] == pytest.approx(100 * (growth - 1.0))
    assert "fees_paid" not in found
    calm = prices([100.0] * 40, [100.0] * 40)
    still = run_strategy(calm, SmaCross(fast=2, slow=5), Config(lots=lots(calm)))
    assert presentation.same_volatility(still) is None
