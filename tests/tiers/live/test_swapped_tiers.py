"""A tier is one swappable unit: other features with their model, and another volatility, in a running stack."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.stack

FEATURES = '''
"""Three moves in units of their own volatility: two of the bars that are decided on, one of the next longer bars."""
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from tiers.contracts import FeatureSet, closed_rows, shortest

VERSION = "1.1.0"
LONGER = {"1m": "5m", "5m": "15m", "15m": "1h", "1h": "1d"}
N = 20


def feature_set(timeframe):
    """Three columns over two timeframes."""
    return FeatureSet(
        name="two-timeframes", version="1.0.0", columns=("move_1", "move_5", "longer_move_5"), window_bars=60,
        timeframes=tuple(filter(None, (timeframe, LONGER.get(timeframe)))), warmup_bars=N,
    )


def moves(close, n):
    """(n_own,) moves over n own bars in volatilities of the last N."""
    out = np.full(len(close), np.nan)
    returns = np.diff(np.log(close))
    if len(returns) >= N:
        spread = sliding_window_view(returns, N).std(axis=1)
        out[N:] = np.log(close[N:] / close[N - n : len(close) - n]) / np.where(spread > 0.0, spread, np.nan)
    return out


def run(bars):
    """(n_bars, n_symbols, 3); NaN before N own bars."""
    own = shortest(bars)
    longer = bars.get(LONGER.get(own.timeframe), own)
    out = np.full((own.n_bars, own.n_symbols, 3), np.nan)
    for j in range(own.n_symbols):
        rows, far = (np.flatnonzero(np.isfinite(each.close[:, j])) for each in (own, longer))
        out[rows, j, 0], out[rows, j, 1] = (moves(own.close[rows, j], n) for n in (1, 5))
        at = closed_rows(own.ts[rows], longer.ts[far])
        known = at >= 0
        out[rows[known], j, 2] = moves(longer.close[far, j], 5)[at[known]]
    return out
'''
RISK = '''
"""The shipped risk engine on a volatility of its own: from ranges (Parkinson 1980)."""
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from tiers.contracts import VolatilityPath, shortest
from tiers.risk import run

__all__ = ["run"]
VERSION = "1.1.0"
N = 50


def lookback_bars(params, timeframe):
    """Own bars behind a decision."""
    return {timeframe: max(N, params.portfolio.window_bars + 1)}


def forecast_volatility(bars, *, params, garch, first_row=0):
    """Next-bar volatility from the last N ranges."""
    own = shortest(bars)
    sigma = np.full(own.close.shape, np.nan)
    for j in range(own.n_symbols):
        rows = np.flatnonzero(np.isfinite(own.close[:, j]))
        if len(rows) < N:
            continue
        squares = np.log(own.high[rows, j] / own.low[rows, j]) ** 2 / (4.0 * np.log(2.0))
        found = np.sqrt(sliding_window_view(squares, N).mean(axis=1))
        at = np.searchsorted(rows[N - 1 :], np.arange(own.n_bars), side="right") - 1
        sigma[at >= 0, j] = found[at[at >= 0]]
    sigma[:first_row] = np.nan
    sigma[~(sigma > 0.0)] = np.nan
    return VolatilityPath(sigma=sigma, method=np.isfinite(sigma).astype(np.int8), names=("", "range"))
'''
OF_BOOK = "JOIN pipeline_cycles c ON c.id = x.cycle_id JOIN portfolio_state b ON b.id = c.book_id WHERE b.name = %s"


@pytest.fixture
def workers(desk, tmp_path):
    """Real workers that know a package of the test, on a desk with one-minute bars."""
    (tmp_path / "scratch_tiers").mkdir()
    (tmp_path / "scratch_tiers" / "__init__.py").write_text("")
    desk.environ |= {"PYTHONPATH": str(tmp_path), "HELIOS_MODULE_PACKAGES": "scratch_tiers,tiers,trading"}
    desk.start_worker()
    return desk


def register(desk, slot, source):
    (Path(desk.environ["PYTHONPATH"]) / "scratch_tiers" / f"{slot}.py").write_text(source)
    label = desk.manage_json("modules", "register", slot, f"scratch_tiers.{slot}")["label"]
    desk.manage("modules", "load", slot, label)
    return label


def replayed(desk, name):
    """What three bars of a new book were decided on: its models, how volatility was found, its sets and row widths."""
    desk.manage("replay", "--symbols", "SPY", "--timeframe", "1m", "--bars", "3", "--name", name, "--timeout", "540")
    states = desk.query("SELECT status, reason FROM pipeline_cycles c JOIN portfolio_state b ON b.id = c.book_id "
                        "WHERE b.name = %s", [name])  # fmt: skip
    assert states == [("DONE", "")] * 3
    models = desk.query(
        f"SELECT DISTINCT m.name FROM ml_predictions x JOIN ml_models m ON m.id = x.model_id {OF_BOOK} "
        "AND x.p_buy IS NOT NULL",
        [name],
    )
    methods = desk.query(f"SELECT DISTINCT x.method FROM volatility_forecasts x {OF_BOOK}", [name])
    versions = f"SELECT x.module_version FROM pipeline_stage_runs x {OF_BOOK} AND x.stage = 'features'"
    sets = desk.query(
        f"SELECT DISTINCT feature_set, cardinality(values) FROM engineered_features WHERE version IN ({versions})",
        [name],
    )
    return models, methods, sets


def test_features_of_two_timeframes_with_their_model_and_another_volatility_pass_the_gate_and_serve(workers):
    desk = workers
    before = replayed(desk, "before")
    assert before[1:] == ([("garch",)], [("base-v1", 52)])
    made = register(desk, "features", FEATURES)
    span = ("--timerange", "20180102-20180105", "--seed", "7")
    model = desk.manage_json("train", "--symbols", "SPY", "--timeframe", "1m", "--features", made, *span)
    assert (model["n_features"], model["role"]) == (3, "champion")
    assert replayed(desk, "meanwhile") == before  # the new champion is that of another set
    desk.manage("modules", "swap", "features", made)
    desk.manage("modules", "swap", "risk", register(desk, "risk", RISK))
    assert replayed(desk, "after") == ([(model["name"],)], [("range",)], [("two-timeframes", 3)])
    desk.manage("modules", "rollback", "features", "--reason", "as it was")
    desk.manage("modules", "rollback", "risk", "--reason", "as it was")
    assert replayed(desk, "again") == before
