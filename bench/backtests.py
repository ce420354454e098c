"""Backtest bars per second: our strategies, and a moving-average cross in backtesting.py on the same bars."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np

from bench.chain import synthetic_bars

FAST, SLOW = 20, 100


def measure() -> list[dict[str, Any]]:
    """Rows for a moving-average cross on one symbol, and for the seven tiers on twenty."""
    return [_cross(), _seven_tiers()]


def _lots(symbols: tuple[str, ...]) -> dict[str, Any]:
    from decimal import Decimal  # noqa: PLC0415

    from trading.market.lots import Lot  # noqa: PLC0415

    lot = Lot(quantity_step=Decimal(1), min_notional=Decimal(0), price_tick=Decimal("0.01"))
    return dict.fromkeys(symbols, lot)


def _cross() -> dict[str, Any]:
    from tiers.backtest.engine import Config, run_strategy  # noqa: PLC0415
    from trading.strategies import SmaCross  # noqa: PLC0415

    bars = synthetic_bars(1, 20_000)
    config = Config(lots=_lots(bars.symbols))
    began = time.perf_counter()
    run_strategy(bars, SmaCross(fast=FAST, slow=SLOW), config)
    ours = bars.n_bars / (time.perf_counter() - began)
    return {
        "work": f"moving-average cross {FAST}/{SLOW} with exact money, 20,000 bars (with buy and hold beside it)",
        "ours": ours,
        "unit": "bars/s",
        "peer": "backtesting.py 0.6.6, the same cross",
        "theirs": _peer(bars),
        "target": "",
        "detail": {},
    }


def _peer(bars: Any) -> float | None:
    try:
        import pandas as pd  # noqa: PLC0415
        from backtesting import Backtest, Strategy  # noqa: PLC0415
        from backtesting.lib import crossover  # noqa: PLC0415
    except ImportError:
        return None

    def average(values: Any, n: int) -> Any:
        return pd.Series(values).rolling(n).mean()

    class Cross(Strategy):
        def init(self) -> None:
            self.fast = self.I(average, self.data.Close, FAST)
            self.slow = self.I(average, self.data.Close, SLOW)

        def next(self) -> None:
            if crossover(self.fast, self.slow):
                self.buy(size=0.99)
            elif crossover(self.slow, self.fast):
                self.position.close()

    frame = pd.DataFrame(
        {name.title(): getattr(bars, name)[:, 0] for name in ("open", "high", "low", "close", "volume")},
        index=pd.DatetimeIndex(bars.ts),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        test = Backtest(frame, Cross, cash=100_000, commission=0.0005, finalize_trades=True)
        began = time.perf_counter()
        test.run()
    return bars.n_bars / (time.perf_counter() - began)


def _seven_tiers() -> dict[str, Any]:
    from tiers.backtest.engine import Config, run_helios  # noqa: PLC0415
    from tiers.contracts import Switches  # noqa: PLC0415
    from tiers.contracts.parameters import PipelineParams  # noqa: PLC0415
    from tiers.features.catalog import FEATURE_SET, SET_VERSION  # noqa: PLC0415
    from tiers.live import inference  # noqa: PLC0415
    from trading.registry import artefacts  # noqa: PLC0415
    from trading.registry import read as models  # noqa: PLC0415

    bars = synthetic_bars(20, 8_300)
    phases: dict[str, float] = {}
    clock = {"at": time.perf_counter(), "what": "start"}

    def progress(what: str, _done: int, _total: int) -> None:
        if what != clock["what"]:
            now = time.perf_counter()
            phases[str(clock["what"])] = phases.get(str(clock["what"]), 0.0) + now - float(clock["at"])
            clock.update(at=now, what=what)

    model = artefacts.loaded(models.champion("1d", FEATURE_SET, SET_VERSION, ("AAPL",)), inference.in_use().load)
    began = time.perf_counter()
    run_helios(
        bars,
        model,
        Config(lots=_lots(bars.symbols), start_row=600),
        params=PipelineParams.of("1d", closes=True, cost_bps=7.0),
        switches=Switches(auto_trading=True),
        progress=progress,
    )
    elapsed = time.perf_counter() - began
    phases[str(clock["what"])] = time.perf_counter() - float(clock["at"])
    return {
        "work": "seven-tier backtest, 20 symbols x 8,300 daily bars, trained model",
        "ours": elapsed,
        "unit": "s",
        "peer": "none does it",
        "theirs": None,
        "target": "<= 10 s",
        "detail": {"phases_s": phases, "symbol_bars_per_s": float(np.prod(bars.close.shape)) / elapsed},
    }
