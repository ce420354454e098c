"""A backtest with nothing to show says why, in the same words everywhere."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from tests.support.backtests import FIELDS, LinearModel, happened, lots, market, of_closes, prices, short_params
from tiers.backtest import metrics, reasons, report, sampling
from tiers.backtest.engine import Config, Result, run_helios, run_strategy
from tiers.backtest.exact import Initial
from tiers.backtest.history import ServingModels
from tiers.backtest.outcome import Outcome
from tiers.contracts import Bars, IntArray, Switches, TradingState, utc
from tiers.contracts.parameters import ExecuteParams
from tiers.management.commands import backtest
from trading.market.calendars import ALWAYS_OPEN, Calendar
from trading.strategies import BuyAndHold, SmaCross, Strategy

COIN = prices([110_000.0, 111_000.0, 112_000.0], [111_000.0, 112_000.0, 113_000.0], symbol="COIN")
TOO_DEAR = (
    "COIN was not bought: its smallest lot, 1, cost 111,000.00 where 100,000.00 was meant for it. More cash changes "
    "that, or smaller lots (import_data --asset-class crypto has those of coins)."
)
BELOW_LEAST = (
    "Over the 3 bars from 2020-01-01 to 2020-01-03 were refused: orders below the least that can be ordered (once)."
)
NO_TRADE = (
    "No position was made smaller, so profit factor, profit a trade, trades won and reductions won have no value."
)
NO_MOVE = "The equity did not move, so ratios to its risk have no value."


def held(bars: Bars, *, step: str = "1", cash: int = 100_000) -> Result:
    config = Config(lots=lots(bars, step), initial=Initial(cash=Decimal(cash)))
    return run_strategy(bars, BuyAndHold(), config)


def of_model(bars: Bars, execute: ExecuteParams = ExecuteParams(), n_seen: int = 0) -> Result:  # noqa: B008 - frozen
    served = ServingModels(champion=LinearModel(), champion_name="linear")
    return run_helios(
        bars,
        served,
        Config(lots=lots(bars), start_row=260, trained_until=utc(bars.ts[259 + n_seen])),
        params=replace(short_params(), execute=execute),
        switches=Switches(auto_trading=True),
    )


@pytest.fixture(scope="module")
def nothing() -> Result:
    return held(COIN)


def test_a_lot_that_costs_more_than_there_is_money_is_named(nothing: Result) -> None:
    assert nothing.reasons == (TOO_DEAR, BELOW_LEAST, NO_TRADE, NO_MOVE, TOO_SHORT)


@pytest.mark.parametrize(("n_left_out", "is_told"), [(0, False), (7, False), (8, True), (30, True)])
def test_a_symbol_whose_bars_end_while_it_is_held_is_named(n_left_out: int, is_told: bool) -> None:
    bars = market(60, 2, seed=3)  # a bar a day from 2010-01-01 on
    gone = np.arange(60)[:, None] >= np.array([60, 60 - n_left_out])
    fields = {name: np.where(gone, np.nan, getattr(bars, name)) for name in ("open", "high", "low", "close", "volume")}
    told = [sentence for sentence in held(replace(bars, **fields)).reasons if "no bar after" in sentence]
    day = np.datetime64("2010-01-01") + 59 - n_left_out
    sentence = (
        f"S01 had no bar after {day} and counts at its close of then to the end: what became of it, and how it moved, "
        "is in no figure."
    )
    assert told == [sentence] * is_told


@pytest.mark.parametrize(("n_missing", "is_told"), [(0, False), (7, False), (8, True), (200, True)])
def test_bars_that_did_not_come_are_counted(n_missing: int, is_told: bool) -> None:
    bars = market(800, 1, seed=3)
    fields = ("ts", "open", "high", "low", "close", "volume")
    thin = replace(bars, **{name: np.delete(getattr(bars, name), slice(100, 100 + n_missing), 0) for name in fields})
    config = Config(lots=lots(bars), calendars={"S00": Calendar(ALWAYS_OPEN)})
    result = run_strategy(replace(thin, ts=thin.ts + np.timedelta64(3, "h")), BuyAndHold(), config)
    told = [sentence for sentence in result.reasons if "did not come" in sentence]
    sentence = (
        f"Bars that the calendar has and that did not come: S00 {n_missing} of 800. Figures of a year are those of the "
        f"{799 - n_missing} returns from one day that no symbol lacks to the next (one without bars for more than a "
        "week, which seldom has such pauses, counts at its last close meanwhile)."
    )
    assert told == [sentence] * is_told
    assert result.sampling.per_year == pytest.approx(365 * (799 - n_missing) / 799)


def test_enough_money_or_smaller_lots_are_no_matter() -> None:
    assert held(COIN, cash=120_000).reasons[0] == NO_TRADE
    assert held(COIN, step="0.00001").reasons[0] == NO_TRADE


ONE_RETURN = "There is only one return, so volatility and Sharpe ratio have no value."
NO_LOSS = "No return was notably below zero, so the Sortino ratio has no value."
NEVER_FELL = "The equity never fell, so Sortino and Calmar ratio have no value."
ALIKE = "The returns did not differ, so the Sharpe ratio has no value."
RUIN = "The equity fell to zero or below, so volatility, Sharpe and Sortino ratio have no value."
NOTHING_LEFT = "No equity was left, so growth a year and Calmar ratio have no value."
TOO_SHORT = (
    "The bars span fewer than 90 days, which tell nothing of a year, so growth a year and Calmar ratio have no value."
)
A_GUESS = (
    "The bars make {part} of a year: by chance alone a Sharpe ratio of so few is up to {off} off (95 %), and all "
    "figures a year are guesses."
)
TOO_FAST = (
    "A year at this pace would make more than a millionfold of the equity, so growth a year and Calmar ratio have "
    "no value."
)


@pytest.mark.parametrize(
    ("equity", "sentences"),
    [
        ([100, 96.13], [ONE_RETURN]),
        ([100, 101], [ONE_RETURN, NEVER_FELL]),
        ([100, 100, 100], [NO_MOVE]),
        ([100, 100.1, 100.3], [NEVER_FELL]),
        ([64, 32, 16], [ALIKE]),
        ([100, 50, 0], [RUIN, NOTHING_LEFT]),
        ([100, 0, 50], [RUIN]),
        ([100, 90, 4e16], [NO_LOSS, TOO_FAST]),
        ([100, 99, 101, 100], []),
    ],
)
def test_each_figure_of_the_equity_without_a_value_has_its_sentence(equity: list[float], sentences: list[str]) -> None:
    assert reasons_of(equity, days_apart=400) == sentences
    short = [sentence for sentence in sentences if sentence not in (NOTHING_LEFT, TOO_FAST)]
    found = [sentence for sentence in reasons_of(equity, days_apart=1) if "by chance alone" not in sentence]
    assert found == [*short, NOTHING_LEFT if NOTHING_LEFT in sentences else TOO_SHORT]


@pytest.mark.parametrize(
    ("days_apart", "sentences"),
    [
        (1, [TOO_SHORT, A_GUESS.format(part="0.0082", off="21.6")]),  # 1.96 / sqrt(3 / 365.25)
        (100, [A_GUESS.format(part="0.82", off="2.2")]),
        (120, []),  # as far apart as the first and the last session of a year
    ],
)
def test_a_ratio_of_less_than_a_year_tells_how_far_off_it_may_be(days_apart: int, sentences: list[str]) -> None:
    assert reasons_of([100, 99, 101, 100], days_apart=days_apart) == sentences


def test_returns_from_day_to_day_may_all_be_above_zero_though_the_equity_fell_within_a_day() -> None:
    assert NO_LOSS in reasons_of([100, 99, 101, 100, 103], days_apart=400, rows=np.array([0, 2, 4]))


def reasons_of(equity: list[float], *, days_apart: int, rows: IntArray | None = None) -> list[str]:
    step = np.timedelta64(days_apart, "D")
    ts = np.datetime64("2020-01-01T21:00:00", "us") + np.arange(len(equity)) * step
    measured = metrics.measure(
        ts=ts,
        equity=np.array(equity, dtype=float),
        weights=np.zeros((len(equity), 1)),
        pnl=[Decimal(1), Decimal(-1)],
        reduction_pnl=[Decimal(1), Decimal(-1)],
        traded_notional=Decimal(0),
        fees_paid=Decimal(0),
        sampling=sampling.Sampling(rows=np.arange(len(ts)) if rows is None else rows, per_year=365.0, of_days=False),
    )
    found = reasons.of_metrics(measured)
    names = {"volatility_pct", "sharpe", "sortino", "calmar", "cagr_pct"}
    assert any("no value" in sentence for sentence in found) == any(getattr(measured, name) is None for name in names)
    return found


def test_a_return_of_any_size_is_shown_and_a_growth_of_a_millionfold_is_said() -> None:
    closes = np.geomspace(2e-8, 1.0, 400)
    result = held(prices([2e-8, *closes[:-1]], list(closes), symbol="MOON"), step="0.01")
    curve = result.run.equity_curve
    assert result.metrics.total_return_pct == pytest.approx(100 * (curve[-1] / curve[0] - 1))
    assert result.metrics.total_return_pct > 1e9
    assert (result.metrics.cagr_pct, result.metrics.calmar) == (None, None)
    assert TOO_FAST in result.reasons


def test_the_terminal_json_and_the_report_say_it_in_the_same_words(nothing: Result) -> None:
    outcome = Outcome(result=nothing, elapsed_s=0.1)
    context = report.Context(made_at=datetime(2024, 1, 1, tzinfo=UTC), elapsed_s=0.1)
    assert outcome.to_json()["reasons"] == list(nothing.reasons)
    assert backtest.notes_of(outcome, None)[1:] == list(nothing.reasons)
    page = unescape(report.render(nothing, context))
    assert all(f'<p class="note">{sentence}</p>' in page for sentence in nothing.reasons)


def test_what_limits_refused_is_told_in_the_same_words_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    result = of_model(market(420, 2, seed=1), ExecuteParams(max_notional=Decimal(100)))
    n_refused = result.run.denials["NOTIONAL_ABOVE_LIMIT"]
    assert n_refused > 0
    assert result.run.all_fills == []
    assert "Nothing was traded: every order was refused." in result.reasons
    (told,) = [sentence for sentence in result.reasons if "were refused: " in sentence]
    assert f"orders above the limit on one order ({n_refused:,} times)" in told
    monkeypatch.delitem(reasons.REFUSED, "NOTIONAL_ABOVE_LIMIT")  # as a code of somebody's module
    assert f"NOTIONAL_ABOVE_LIMIT ({n_refused:,} times)" in reasons._refused(result.run)[0]
    outcome = Outcome(result=result, elapsed_s=0.1)
    assert outcome.to_json()["refused"] == dict(result.run.denials)
    assert told in outcome.to_json()["reasons"]
    assert told in backtest.notes_of(outcome, None)


def fallen(bars: Bars, row: int, part: float) -> Bars:
    """The same bars, but that in one night all prices fell to that part."""
    factor = np.where(np.arange(bars.n_bars) < row, 1.0, part)[:, None]
    return replace(bars, **{name: getattr(bars, name) * factor for name in ("open", "high", "low", "close")})


@pytest.mark.parametrize(("part", "state"), [(0.3, TradingState.HALTED), (0.58, TradingState.REDUCING)])
def test_a_book_that_its_drawdown_stopped_says_since_when_and_after_which_fall(
    part: float, state: TradingState
) -> None:
    whole = market(420, 2, seed=1)
    most = int(of_model(whole).run.held.sum(axis=1).argmax())
    result = of_model(fallen(whole, 261 + most, part))
    row, states = result.run.states.index(state), result.run.states
    assert row == most + 1
    curve = result.run.equity_curve
    fall, day = 100 * (1 - curve[row] / curve[: row + 1].max()), result.run.ts[row].date()
    halted = (
        f"The book was halted on {day} after a fall of {fall:.1f} %: nothing was decided on the {159 - row} bars "
        "since, whose returns are those of what it held then."
    )
    reducing = (
        f"On {states.count(state)} of 160 bars, the first of {day} after a fall of {fall:.1f} %, the book might only "
        "reduce what it held."
    )
    assert result.reasons[0] == (halted if state is TradingState.HALTED else reducing)
    said = Outcome(result=result, elapsed_s=0.1).to_json()
    assert said["states"] == {one.value: states.count(one) for one in dict.fromkeys(states)}
    assert said["halted_from"] == (result.run.ts[row].isoformat() if state is TradingState.HALTED else None)
    assert result.run.denials["BOOK_HALTED"] == states.count(TradingState.HALTED)
    if state is TradingState.HALTED:  # what else is refused meanwhile would not have been done
        until = of_model(fallen(whole, 261 + most, part).rows(slice(0, 260 + row))).run.denials
        assert result.run.denials == until + Counter(BOOK_HALTED=160 - row)


def test_a_halt_on_bars_seen_in_training_is_told_of_the_column_that_shows_them() -> None:
    crashed = fallen(market(420, 2, seed=1), 340, 0.3)  # where most is held
    whole = of_model(crashed, n_seen=90)
    assert whole.run.halted_from is not None
    assert whole.lead.run.halted_from is None
    assert whole.lead.reasons[-1] == f"With bars seen in training: {reasons.of_states(whole.run)[0]}"


def test_an_order_that_the_cash_does_not_pay_is_told() -> None:
    dearer = prices([100.0, 100.0, 250.0, 250.0], [100.0, 100.0, 250.0, 250.0], symbol="GAP")
    config = Config(lots=lots(dearer, "1"), initial=Initial(cash=Decimal(150)), start_row=1)
    result = run_strategy(dearer, BuyAndHold(), config)
    assert "the cash at the next open did not pay a single lot (once)" in result.reasons[-4]


def test_an_order_that_waited_for_a_bar_in_vain_is_told_and_counted() -> None:
    bars = market(420, 2, seed=1)
    ordered = [any(intent.symbol == "S01" for intent in row) for row in of_model(bars).run.orders]
    gone = np.arange(420)[:, None] > np.array([420, 260 + ordered.index(True)])
    fields = {name: np.where(gone, np.nan, getattr(bars, name)) for name in ("open", "high", "low", "close", "volume")}
    result = of_model(replace(bars, **fields))
    (told,) = [sentence for sentence in result.reasons if sentence.startswith("Cancelled were ")]
    assert "orders that waited for a bar (S01 1): no bar of their symbol came for a week" in told
    said = Outcome(result=result, elapsed_s=0.1).to_json()
    assert (said["cancelled"], told in said["reasons"]) == ({"S01": 1}, True)


@pytest.mark.parametrize(("splits", "told"), [(True, ""), (False, " Never traded at all: S00.")])
def test_of_a_cancelled_order_is_told_whether_its_symbol_was_ever_traded(splits: bool, told: str) -> None:
    """One that a split ends is said again; one whose symbol had no bar for a week is not."""
    bars = of_closes(np.full((30, 1), 10.0))
    if splits:
        bars = happened(bars, 2, "split", 2)
    else:
        bars.close[2:12] = np.nan
    result = run_strategy(bars, BuyAndHold(), Config(lots=lots(bars), start_row=1))
    (sentence,) = [one for one in result.reasons if one.startswith("Cancelled were ")]
    assert sentence.endswith(f"halted meanwhile.{told}")


def test_what_kept_buy_and_hold_from_buying_is_told_beside_any_strategy() -> None:
    waves = 10 + np.sin(np.arange(120) / 8)
    bars = of_closes(np.stack([waves, np.full(120, 300.0)], axis=1))
    config = Config(lots=lots(bars, "1"), initial=Initial(cash=Decimal(500)))
    result = run_strategy(bars, SmaCross(fast=2, slow=9), config)
    of_baseline = [sentence for sentence in result.reasons if sentence.startswith("Buy and hold: ")]
    assert of_baseline == [f"Buy and hold: {sentence}" for sentence in result.baseline.reasons[:2]]
    assert of_baseline[0].startswith(
        "Buy and hold: S01 was not bought: its smallest lot, 1, cost 300.00 where 250.00 was"
    )
    assert "orders below the least that can be ordered (once)" in of_baseline[1]
    assert not any("Buy and hold: " in sentence for sentence in held(bars).reasons)


def without(bars: Bars, column: int, rows: slice) -> Bars:
    """The same bars, but none of that symbol in those rows."""
    fields = {name: getattr(bars, name).copy() for name in FIELDS}
    for values in fields.values():
        values[rows, column] = np.nan
    return replace(bars, **fields)


@pytest.mark.parametrize("strategy", [BuyAndHold(), SmaCross(fast=2, slow=9)])
def test_a_symbol_without_a_bar_is_left_out_of_the_strategy_and_of_buy_and_hold(strategy: Strategy) -> None:
    bars = without(market(160, 3, seed=3), 1, slice(40, None))  # it had some before the first decided bar
    config = Config(lots=lots(bars), start_row=50)
    result = run_strategy(bars, strategy, config)
    others = {name: getattr(bars, name)[:, [0, 2]] for name in FIELDS}
    alone = run_strategy(replace(bars, symbols=("S00", "S02"), **others), strategy, config)
    assert result.run.equity == alone.run.equity
    assert result.baseline.run.equity == alone.baseline.run.equity
    left_out = "Without a bar from 2010-02-20 to 2010-06-09, and so left out of buy and hold, too: S01."
    assert [sentence for sentence in result.reasons if sentence not in alone.reasons] == [left_out]


def test_a_symbol_that_ended_before_the_first_decided_bar_changes_nothing_of_what_the_tiers_do() -> None:
    wild = np.exp(np.cumsum(np.random.default_rng(1).normal(0.0, [0.0, 0.3, 0.0], (420, 3)), axis=0))
    calm = market(420, 3, seed=1)
    moved = {name: getattr(calm, name) * wild for name in ("open", "high", "low", "close")}
    bars = without(replace(calm, **moved), 1, slice(250, None))
    others = {name: getattr(bars, name)[:, [0, 2]] for name in FIELDS}
    result, alone = (of_model(each, n_seen=0) for each in (bars, replace(bars, symbols=("S00", "S02"), **others)))
    assert result.run.equity == alone.run.equity
    assert result.run.all_fills
    np.testing.assert_array_equal(result.run.targets[:, [0, 2]], alone.run.targets)
    assert any("so left out of buy and hold, too: S01." in sentence for sentence in result.reasons)


def test_a_symbol_without_a_bar_behind_the_training_is_left_out_of_what_stands_there() -> None:
    result = of_model(without(market(420, 2, seed=1), 1, slice(340, None)), n_seen=90)
    assert result.lead.baseline.run.held[-1, 0] > 0.95
    (told,) = [sentence for sentence in result.lead.reasons if "S01" in sentence]
    assert told == "Without a bar from 2010-12-17 to 2011-02-24, and so left out of buy and hold, too: S01."


def test_a_symbol_that_ended_is_told_once_of_the_strategy_and_of_buy_and_hold() -> None:
    bars = market(120, 2, seed=3)
    close = np.where(np.arange(120)[:, None] >= np.array([120, 90]), np.nan, bars.close)
    result = run_strategy(replace(bars, close=close, open=close), SmaCross(fast=2, slow=9), Config(lots=lots(bars)))
    assert result.baseline.run.held[-1, 1] > 0
    assert sum("S01 had no bar after" in sentence for sentence in result.reasons) == 1


def test_every_code_that_a_tier_gives_has_its_words() -> None:
    tiers = Path(reasons.__file__).parents[1]
    source = "".join(
        path.read_text() for name in ("risk", "portfolio", "execute") for path in (tiers / name).glob("*.py")
    )
    assert set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+)"', source)) == set(reasons.REFUSED)


def test_a_model_that_never_spoke_names_the_features_that_it_lacked() -> None:
    whole = market(420, 2, seed=1)
    mute = replace(whole, volume=whole.volume * np.array([0.0, 1.0]))
    found = [sentence for sentence in of_model(mute).reasons if "No model" in sentence]
    lacking = (
        "No model spoke of S00: vwap_gap_20, illiquidity_5_20 had no value at any bar, as its volume is always 0; "
    )
    assert found == [f"{lacking}a model that is trained on such symbols alone does without them."]
    assert not [sentence for sentence in of_model(whole).reasons if "No model" in sentence]
