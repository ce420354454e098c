"""Compare what the live chain wrote for a book with the backtest of the same bars; prints one JSON object.

Run as `python -m tests.support.parity BOOK` against the database of the book.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np


def main(name: str) -> dict[str, Any]:
    from tiers import predict
    from tiers.backtest.engine import Config, run_helios
    from tiers.backtest.exact import Costs, Initial
    from tiers.contracts.switches import from_json
    from tiers.live import book_params, inference
    from tiers.live.handlers import execute
    from trading.market import instruments
    from trading.market import read as market
    from trading.models import Book
    from trading.registry import artefacts

    book = Book.objects.get(name=name)
    cycles = list(book.cycles.order_by("bar_ts"))
    bars = market.bar_range(book.symbols, book.timeframe, None, cycles[-1].bar_ts)
    first = int(np.searchsorted(bars.ts, np.datetime64(cycles[0].bar_ts.replace(tzinfo=None), "us")))
    result = run_helios(
        bars,
        artefacts.loaded(inference.model_for(book, inference.features_in_use(book.timeframe)), predict.load),
        Config(
            initial=Initial(cash=book.initial_cash),
            costs=Costs(fee_bps=book.fee_bps, slippage_bps=book.slippage_bps),
            lots=instruments.lots(instruments.named(book.symbols)),
            key=execute.order_key(book),
            start_row=first,
        ),
        params=book_params.params_of(book),
        switches=from_json(cycles[0].switches),
    )
    return {
        "cycles": len(cycles),
        "limited": cycles[0].switches["advanced_risk_engine"],
        "worst": _distances(book, cycles, result),
        **_trading(book, result),
    }


def _distances(book: Any, cycles: list[Any], result: Any) -> dict[str, float]:
    """The largest absolute difference of each kind over all cycles."""
    from tiers.live import store
    from tiers.live.handlers import features

    symbols, log = tuple(book.symbols), result.log
    worst = dict.fromkeys(("features", "probability", "sigma", "weights", "equity"), 0.0)
    for row, cycle in enumerate(cycles):
        made, key = features.features_of(cycle)
        live = store.load_features(key, symbols, cycle.bar_ts, n_rows=1, n_features=len(made.columns))
        _compare(worst, "features", live[0], log.features[row])
        _compare(worst, "probability", store.load_forecast(cycle, symbols).probability, log.probability[row])
        risk = store.load_risk(cycle)
        assert list(risk.tail.symbols if risk.tail else ()) == cycle.switches["advanced_risk_engine"]
        _compare(worst, "sigma", risk.sigma, log.sigma[row])
        _compare(worst, "weights", store.load_targets(cycle).weights, log.weights[row])
        worst["equity"] = max(worst["equity"], float(abs(cycle.snapshot.equity - result.run.equity[row])))
    return worst


def _trading(book: Any, result: Any) -> dict[str, Any]:
    """Orders and fills of both, compared as sorted rows."""
    from trading.models import Order, TradeExecution

    orders = sorted(
        [o.bar_ts.isoformat(), o.symbol, o.side, _text(o.quantity), o.client_order_id]
        for o in Order.objects.filter(book=book)
    )
    decided = sorted(
        [i.bar_ts.isoformat(), i.symbol, i.side.value, _text(i.quantity), i.client_order_id]
        for row in result.run.orders
        for i in row
    )
    fills = sorted(
        [e.bar_ts.isoformat(), e.symbol, e.side, _text(e.quantity), _text(e.price), _text(e.fee)]
        for e in TradeExecution.objects.filter(book=book)
    )
    filled = sorted(
        [f.bar_ts.isoformat(), f.symbol, f.side, _text(f.quantity), _text(f.price), _text(f.fee)]
        for f in result.run.all_fills
    )
    return {
        "n_orders": len(orders),
        "orders_equal": orders == decided,
        "fills_equal": fills == filled,
    }


def _text(value: Any) -> str:
    return str(value.normalize())


def _compare(worst: dict[str, float], key: str, live: Any, batch: Any) -> None:
    if (np.isnan(live) != np.isnan(batch)).any():
        worst[key] = float("inf")
        return
    difference = np.abs(live - batch)
    known = difference[~np.isnan(difference)]
    worst[key] = max(worst[key], float(known.max()) if known.size else 0.0)


if __name__ == "__main__":
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "helios.settings")
    django.setup()
    print(json.dumps(main(sys.argv[1])))  # noqa: T201
