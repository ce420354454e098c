"""The same path of prices, relative to its first, is the same backtest whether a coin is worth 100 or 4e-9."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.backtests import LinearModel, market, short_params
from tests.support.commands import answered
from tiers.backtest.engine import Config, Result, run_helios
from tiers.backtest.history import ServingModels
from tiers.contracts import Bars, FloatArray, Switches
from trading.market.lots import usual_lot
from trading.models import Instrument, MarketOHLC

SIZES = (1e-5, 1.2e-6, 2.4e-8, 4e-9)
TOLERANCE = 1e-9


def path(n_bars: int = 400) -> FloatArray:
    """Opens, highs, lows and closes over the first close, (n_bars, 4)."""
    rng = np.random.default_rng(7)
    close = np.exp(np.cumsum(rng.normal(0.0002, 0.01, n_bars)))
    opened = np.concatenate([close[:1], close[:-1]]) * np.exp(rng.normal(0.0, 0.001, n_bars))
    return np.column_stack([opened, np.maximum(opened, close) * 1.002, np.minimum(opened, close) * 0.998, close])


def run(*words: str) -> dict[str, Any]:
    found: dict[str, Any] = answered(*words)
    return found


def figures(folder: Path, price: float, form: str) -> dict[str, Any]:
    """What `backtest` says of the path at this price, after `import_data` has read it in this form."""
    hours = np.datetime64("2024-01-01T00:00:00") + np.arange(len(path())) * np.timedelta64(1, "h")
    parts = zip(hours, path().tolist(), strict=True)
    rows = (f"{hour},{','.join(form % (price * part) for part in row)},1000" for hour, row in parts)
    file = folder / f"{price}.csv"
    file.write_text("\n".join(["open_time,open,high,low,close,volume", *rows]))
    symbol = f"C{int(1 / price)}-USDT"
    run("import_data", str(file), "--symbol", symbol, "--timeframe", "1h")
    asked = (
        "--symbols",
        symbol,
        "--timeframe",
        "1h",
        "--strategy",
        "sma_cross",
        "--fee-bps",
        "5",
        "--slippage-bps",
        "2",
    )
    return run("backtest", *asked)


@pytest.mark.django_db
def test_an_import_and_its_backtest_give_the_same_figures_at_any_price(tmp_path: Path) -> None:
    wanted = figures(tmp_path, 100, "%r")
    assert wanted["n_trades"] > 3
    for price, form in zip(SIZES, ("%r", "%.24f", "%.17e", "%r"), strict=True):
        got = figures(tmp_path, price, form)
        for name in ("n_trades", "total_return_pct", "buy_hold_return_pct", "fees_paid", "sharpe", "max_drawdown_pct"):
            assert got[name] == pytest.approx(wanted[name], rel=TOLERANCE, abs=0), (price, name)
    assert set(Instrument.objects.values_list("asset_class", flat=True)) == {"crypto"}
    assert MarketOHLC.objects.filter(timeframe="1h").count() == 5 * len(path())


def at(price: float) -> Bars:
    bars = market(420, 3, seed=1)
    parts: dict[str, Any] = {name: getattr(bars, name) * (price / 100) for name in ("open", "high", "low", "close")}
    return Bars(timeframe=bars.timeframe, symbols=bars.symbols, ts=bars.ts, volume=bars.volume, **parts)


def decided(bars: Bars) -> Result:
    lots = {s: usual_lot("crypto", bars.close[-1, column]) for column, s in enumerate(bars.symbols)}
    served = ServingModels(champion=LinearModel(), champion_name="linear")
    switches = Switches(auto_trading=True)
    return run_helios(bars, served, Config(lots=lots, start_row=260), params=short_params(), switches=switches)


def slippage(result: Result, bars: Bars) -> list[float]:
    """How much worse than the open of its bar each fill was, as a part of it."""
    times = dict(zip(result.run.ts, range(bars.n_bars - len(result.run.ts), bars.n_bars), strict=True))
    opens = [bars.open[times[fill.bar_ts], bars.symbols.index(fill.symbol)] for fill in result.run.all_fills]
    return [abs(float(fill.price) / opened - 1) for fill, opened in zip(result.run.all_fills, opens, strict=True)]


def test_the_seven_tiers_trade_the_same_parts_at_any_price() -> None:
    wanted = decided(at(100))
    assert len(wanted.run.all_fills) > 10
    for price in SIZES:
        bars = at(price)
        got = decided(bars)
        np.testing.assert_allclose(got.run.equity_curve, wanted.run.equity_curve, rtol=TOLERANCE)
        np.testing.assert_allclose(float(got.run.fees_paid), float(wanted.run.fees_paid), rtol=TOLERANCE)
        np.testing.assert_allclose(slippage(got, bars), 2e-4, rtol=TOLERANCE)
