"""The seven tiers over history: deterministic, causal, and equal to deciding on a live window."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from functools import partial

import numpy as np
import polars as pl
import pytest

from tests.support.backtests import LinearModel, lots, market, of_closes, prices, shocked, short_params
from tiers.backtest.engine import Config, Result, run_helios, run_strategy
from tiers.backtest.exact import Costs, Initial
from tiers.backtest.history import ServingModels, warmup_bars
from tiers.backtest.shipped import BUILT_IN
from tiers.contracts import Bars, Switches, TradingState
from tiers.contracts.errors import DataError
from tiers.contracts.parameters import PipelineParams
from tiers.contracts.protocols import Replaced
from tiers.contracts.returns import window_returns
from tiers.llm import market_context
from tiers.risk import volatility as vol
from trading import sample_data
from trading.market.timestamps import utc
from trading.strategies import BuyAndHold, SmaCross

SWITCHES = Switches(auto_trading=True)
LOGGED = """
features probability sigma method expected_return size max_weight leverage risk_multiplier
bounded_leverage weights
"""


def helios(bars: Bars, *, start_row: int = 260, switches: Switches = SWITCHES, **options: object) -> Result:
    config = Config(lots=lots(bars), start_row=start_row, seed=3)
    return run_helios(
        bars,
        ServingModels(champion=LinearModel(), champion_name="linear"),
        config,
        params=short_params(),
        switches=switches,
        **options,
    )


def union(frames: dict[str, pl.DataFrame], last: int) -> Bars:
    """The sample's daily series on one timeline, its last rows."""
    ts = np.unique(np.concatenate([f["ts"].dt.replace_time_zone(None).to_numpy() for f in frames.values()]))
    grid = {name: np.full((len(ts), len(frames)), np.nan) for name in ("open", "high", "low", "close", "volume")}
    for place, frame in enumerate(frames.values()):
        rows = np.searchsorted(ts, frame["ts"].dt.replace_time_zone(None).to_numpy())
        for name, values in grid.items():
            values[rows, place] = frame[name].to_numpy()
    whole = Bars(timeframe="1d", symbols=tuple(frames), ts=ts.astype("datetime64[us]"), **grid)
    return whole.rows(slice(len(ts) - last, None))


@pytest.fixture(scope="module")
def daily_sample() -> Bars:
    """AAPL, IBM and MSFT with FB, which begins in the middle of them."""
    return union({symbol: sample_data.load(symbol, "1d") for symbol in ("AAPL", "FB", "IBM", "MSFT")}, 420)


@pytest.fixture(scope="module")
def result() -> Result:
    return helios(market(420, 3, seed=1))


def same(one: Iterable[object], other: Iterable[object]) -> bool:
    return list(one) == list(other)


def assert_equal_until(one: Result, other: Result, n_rows: int) -> None:
    """Everything that was logged in the first `n_rows` decided bars is the same, bit for bit."""
    assert one.log is not None
    assert other.log is not None
    for name in LOGGED.split():
        np.testing.assert_array_equal(getattr(one.log, name)[:n_rows], getattr(other.log, name)[:n_rows], err_msg=name)
    for name in ("orders", "fills", "equity", "cash", "reasons", "states"):
        assert same(getattr(one.run, name)[:n_rows], getattr(other.run, name)[:n_rows]), name
    assert same(one.log.stances[:n_rows], other.log.stances[:n_rows])


def test_the_model_strategy_trades_and_is_measured_beside_buy_and_hold(result: Result) -> None:
    assert result.strategy == "helios"
    assert result.metrics.n_bars == 160
    assert len(result.run.all_fills) > 10
    assert result.metrics.fees_paid == float(sum(fill.fee for fill in result.run.all_fills))
    assert result.metrics.buy_hold_return_pct == result.baseline.metrics.total_return_pct
    assert result.baseline.strategy == "buy_and_hold"
    assert result.params["model"] == "linear"
    assert (result.start, result.end) == (result.run.ts[0], result.run.ts[-1])


def test_the_same_seed_gives_the_same_result_bit_for_bit(result: Result) -> None:
    again = helios(market(420, 3, seed=1))
    assert again.metrics == result.metrics
    assert again.reductions == result.reductions
    assert again.seed == result.seed == 3
    assert_equal_until(result, again, len(result.run.ts))


@pytest.mark.parametrize("row", [0, 1, 40, 120, 158])
def test_shocking_every_bar_after_t_changes_nothing_at_or_before_t(result: Result, row: int) -> None:
    other = helios(shocked(market(420, 3, seed=1), 260 + row))
    assert_equal_until(result, other, row + 1)
    assert not same(result.run.equity, other.run.equity)


def test_shocking_the_future_of_real_prices_changes_no_decision(daily_sample: Bars) -> None:
    real = helios(daily_sample, start_row=270)
    assert len(real.run.all_fills) > 10
    for row in (30, 90):
        assert_equal_until(real, helios(shocked(daily_sample, 270 + row), start_row=270), row + 1)


def test_weight_strategies_are_causal_on_real_prices(daily_sample: Bars) -> None:
    for strategy in (BuyAndHold(), SmaCross(fast=5, slow=20)):
        config = Config(lots=lots(daily_sample), start_row=50)
        whole = run_strategy(daily_sample, strategy, config)
        for row in (10, 200):
            other = run_strategy(shocked(daily_sample, 50 + row), strategy, config)
            for name in ("orders", "fills", "equity", "cash"):
                assert same(getattr(whole.run, name)[: row + 1], getattr(other.run, name)[: row + 1])


def test_history_cut_off_at_t_gives_the_decisions_up_to_t(result: Result) -> None:
    short = helios(market(420, 3, seed=1).rows(slice(0, 340)))
    assert_equal_until(result, short, 80)


def test_symbols_without_a_bar_are_left_alone() -> None:
    bars = market(420, 3, seed=2, gaps=0.1)
    got = helios(bars)
    closes = dict(zip(got.run.ts, bars.close[260:], strict=True))
    placed = [order for row in got.run.orders for order in row]
    assert placed
    assert all(np.isfinite(closes[o.bar_ts][bars.symbols.index(o.symbol)]) for o in placed)
    assert all(np.isfinite(closes[f.bar_ts][bars.symbols.index(f.symbol)]) for f in got.run.all_fills)


def test_a_decision_on_a_live_window_equals_the_logged_one(result: Result) -> None:
    bars, params, log = market(420, 3, seed=1), short_params(), result.log
    assert log is not None
    n_window = max(vol.window_bars(params.volatility, "1d"), market_context.WINDOW_BARS)
    for row in (380, 419):
        window = bars.rows(slice(row + 1 - n_window, row + 1))
        last = window.n_bars - 1
        path = vol.volatility(window.ts, window.close, params=params.volatility, garch=True, first_row=last)
        np.testing.assert_array_equal(path.sigma[last], log.sigma[row - 260])
        np.testing.assert_array_equal(
            window_returns(window, last, params.portfolio.window_bars),
            window_returns(bars, row, params.portfolio.window_bars),
        )


def test_without_a_forecast_nothing_is_traded() -> None:
    class Silent(LinearModel):
        def probabilities(self, features: np.ndarray) -> np.ndarray:
            return np.full((*features.shape[:2], 3), np.nan)

    bars = market(330, 2)
    got = run_helios(
        bars,
        ServingModels(champion=Silent()),
        Config(lots=lots(bars), start_row=260),
        params=short_params(),
        switches=SWITCHES,
    )
    assert got.run.all_fills == []
    assert got.metrics.total_return_pct == 0.0
    assert got.run.denials["FORECAST_MISSING"] == 70 * 2


def test_flags_change_what_they_say() -> None:
    bars = market(360, 2, seed=4)
    on, off = helios(bars), helios(bars, switches=replace(SWITCHES, garch_volatility=False))
    assert on.log is not None
    assert off.log is not None
    assert (on.log.method == vol.GARCH).any()
    assert not (off.log.method == vol.GARCH).any()
    silent = helios(bars, switches=replace(SWITCHES, llm_strategic_analysis=False))
    assert silent.log is not None
    assert set(silent.log.stances) == {"NEUTRAL"}
    np.testing.assert_array_equal(silent.log.leverage, silent.log.bounded_leverage)


def test_the_challenger_speaks_for_its_share_of_symbols() -> None:
    bars = market(330, 2, seed=6)
    served = ServingModels(
        champion=LinearModel(1), champion_name="old", challenger=LinearModel(2), challenger_name="new"
    )
    config = Config(lots=lots(bars), start_row=260)
    logs = []
    for chosen in ((), ("S01",), ("S00", "S01")):
        switches = replace(SWITCHES, neural_network_v2=chosen)
        logs.append(run_helios(bars, served, config, params=short_params(), switches=switches).log)
    champion, mixed, challenger = (log.probability for log in logs)
    np.testing.assert_array_equal(mixed[:, 0], champion[:, 0])
    np.testing.assert_array_equal(mixed[:, 1], challenger[:, 1])
    assert served.names(bars.symbols, ("S01",)) == ("old", "new")
    assert ServingModels(champion=LinearModel()).names(bars.symbols, ("S01",)) == ("model", "model")
    assert served.receptive_bars == 1
    served.challenger.horizon_bars = 2
    assert [model.horizon_bars for model in served.models(bars.symbols, ("S01",))] == [5, 2]


def test_a_halted_book_stays_as_it_is() -> None:
    bars = market(330, 2)
    config = Config(lots=lots(bars), start_row=260, initial=Initial(state=TradingState.HALTED))
    got = run_helios(bars, LinearModel(), config, params=short_params(), switches=SWITCHES)
    assert got.run.all_fills == []
    assert set(got.run.reasons) == {"halted"}
    assert set(got.run.states) == {TradingState.HALTED}


def test_another_implementation_of_a_tier_can_stand_in() -> None:
    bars = market(330, 2)

    def all_cash(**inputs: object) -> object:
        decision = BUILT_IN.risk.run(**inputs)
        return replace(decision, size=np.zeros(2), max_weight=np.zeros(2))

    assert helios(bars, tiers=replace(BUILT_IN, risk=Replaced(BUILT_IN.risk, run=all_cash))).run.all_fills == []


def test_progress_names_the_stages_and_counts_the_bars() -> None:
    seen: list[tuple[str, int, int]] = []
    helios(market(300, 1), progress=lambda *step: seen.append(step))
    stages = [name for name, _ in itertools.groupby(seen, key=lambda step: step[0])]
    assert stages == ["features", "model", "volatility", "market statistics", "decisions"]
    assert seen[-1] == ("decisions", 40, 40)


def test_buy_and_hold_earns_what_the_price_does_less_costs() -> None:
    bars = prices([100.0, 100.0, 150.0], [100.0, 120.0, 150.0])
    config = Config(lots=lots(bars), costs=Costs(fee_bps=Decimal(0), slippage_bps=Decimal(0)))
    got = run_strategy(bars, BuyAndHold(), config)
    assert got.metrics.total_return_pct == 50.0
    assert got.metrics.n_trades == 0  # it never sells
    assert [one.is_open for one in got.reductions] == [True]
    assert got.baseline is got
    assert got.buy_hold is None


def test_buy_and_hold_keeps_the_part_of_a_symbol_that_begins_late() -> None:
    first, columns = np.array([0, 150, 200]), np.arange(3)
    path = np.geomspace(10, [200, 5, 30], 400)  # of the first one to twentyfold
    bars = of_closes(np.where(np.arange(400)[:, None] < first, np.nan, path))
    run = run_strategy(bars, BuyAndHold(), Config(lots=lots(bars))).run
    bought = {fill.symbol: float(fill.notional) for fill in run.all_fills}
    assert bought == pytest.approx(dict.fromkeys(bars.symbols, 100_000 / 3), rel=0.01)
    assert run.equity_curve[-1] / 100_000 == pytest.approx((path[-1] / path[first, columns]).mean(), rel=0.01)


@pytest.mark.parametrize("factor", [3, 1 / 3])
def test_the_part_of_a_late_symbol_hangs_on_none_that_was_not_bought(factor: float) -> None:
    """One lot of the first costs more than its part, so that its price, whatever it does, is nothing to the account."""
    dear = np.geomspace(60_000, 60_000 * factor, 200)
    late = np.where(np.arange(200) < 100, np.nan, 20.0)
    bars = of_closes(np.stack([dear, late], axis=1))
    free = Costs(fee_bps=Decimal(0), slippage_bps=Decimal(0))
    run = run_strategy(bars, BuyAndHold(), Config(lots=lots(bars, "1"), costs=free)).run
    assert [(fill.symbol, fill.notional) for fill in run.all_fills] == [("S01", 50_000)]


def test_bars_that_lead_go_by_the_parameters_of_a_book_that_begins_with_them() -> None:
    bars, model = market(420, 2, seed=1), ServingModels(champion=LinearModel(), champion_name="linear")
    careful = replace(short_params(), risk=replace(short_params().risk, max_leverage=0.2))
    config = Config(lots=lots(bars), start_row=260, trained_until=utc(bars.ts[299]))
    ask = partial(run_helios, bars, model, switches=SWITCHES)
    lead = ask(config, params=short_params(), lead_params=careful).lead
    alone = ask(replace(config, start_row=300), params=careful)
    assert lead.run.equity == alone.run.equity
    assert lead.params == alone.params
    assert lead.run.equity != ask(config, params=short_params()).lead.run.equity


def test_every_strategy_runs_through_the_same_simulator_with_its_parameters() -> None:
    bars = market(300, 2, seed=9)
    got = run_strategy(bars, SmaCross(fast=5, slow=20), Config(lots=lots(bars), start_row=30))
    assert got.params == {"fast": 5, "slow": 20}
    assert got.metrics.n_trades > 3
    assert got.log is None
    assert got.baseline.metrics.n_trades == 0


def test_a_symbol_without_lots_and_a_history_without_room_are_named() -> None:
    bars = market(30, 2)
    with pytest.raises(DataError, match="lots must name every symbol, missing: S00, S01"):
        run_strategy(bars, BuyAndHold(), Config(lots={}))
    with pytest.raises(DataError, match="at least 2 bars after its warm-up, were 1"):
        run_strategy(bars, BuyAndHold(), Config(lots=lots(bars), start_row=29))


def test_warm_up_covers_the_longest_window_of_the_live_chain() -> None:
    params = PipelineParams.of("1d", closes=True, cost_bps=7.0)
    assert warmup_bars(params, "1d", receptive_bars=64) == {"1d": vol.window_bars(params.volatility, "1d")}
    assert warmup_bars(params, "1d", receptive_bars=5_000)["1d"] > 5_000
