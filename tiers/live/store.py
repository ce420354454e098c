"""Contracts <-> tables: what the stages read and write, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt
from django.db import connection
from django.db.models import Model
from psycopg2.extras import execute_values

from helios.db import statements
from helios.db.json_values import json_safe
from helios.db.partitions import ensure_partitions
from tiers.contracts import (
    Bars,
    BookView,
    Denial,
    FloatArray,
    Forecast,
    MarketContext,
    RiskDecision,
    Signal,
    Stance,
    StrategicView,
    TailLimit,
    TargetWeights,
    TradingState,
    VolatilityForecast,
)
from tiers.contracts.ended import ended
from trading import models
from trading.books.accounting import ZERO, exact
from trading.books.read import account_of
from trading.books.write import worst
from trading.market.timestamps import utc, utc_times
from trading.models import Book, MLModel, PipelineCycle
from trading.orders import outbox

_HEADER, _ITEM = 20, 12  # bytes that PostgreSQL's array_send puts before the array, and per element


def last_prices(bars: Bars) -> tuple[Decimal | None, ...]:
    """The newest known close of each symbol as money, None before its first bar."""
    prices: list[Decimal | None] = []
    for column in bars.close.T:
        known = column[~np.isnan(column)]
        prices.append(exact(float(known[-1])) if known.size else None)
    return tuple(prices)


def book_view(book: Book, bars: Bars, bar_ts: datetime) -> BookView:
    """What the book holds at the close of the window's last bar."""
    account = account_of(book)
    prices = last_prices(bars)
    known = {s: p for s, p in zip(bars.symbols, prices, strict=True) if p is not None}
    equity = account.equity(known)
    tradable = ~np.isnan(bars.close[-1])
    absent = [symbol for symbol, present in zip(bars.symbols, tradable, strict=True) if not present]
    return BookView(
        bar_ts=bar_ts,
        symbols=bars.symbols,
        equity=equity,
        peak_equity=max(book.peak_equity, equity),
        cash=account.cash,
        quantity=tuple(account.quantity(symbol) for symbol in bars.symbols),
        price=prices,
        tradable=tradable,
        ended=frozenset(compress(bars.symbols, ended(bars)[-1])),
        state=TradingState(book.state),
        waiting=outbox.waiting(book, absent, bar_ts) if absent else {},
    )


# --- features ---


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureVersion:
    """Whose features: the bars that they are made of, the set, and the module version that made them."""

    timeframe: str
    feature_set: str
    version: str


def save_features(of: FeatureVersion, bars: Bars, values: FloatArray, *, n_rows: int) -> int:
    """Insert the rows of each symbol's last `n_rows` own bars that are not there yet; returns how many were new."""
    own = [np.flatnonzero(~np.isnan(column))[-n_rows:] for column in bars.close.T]
    stored = _stored_features(of, bars, own)
    new: list[tuple[str, str, datetime, str, str, list[float]]] = []
    for column, (symbol, rows) in enumerate(zip(bars.symbols, own, strict=True)):
        count, newest = stored.get(symbol, (0, None))
        lacks_newest = len(rows) - 1 == count and newest is not None and newest < utc(bars.ts[rows[-1]])
        lacking = rows[len(rows) if count == len(rows) else -1 if lacks_newest else 0 :]
        new += [
            (symbol, of.timeframe, utc(bars.ts[row]), of.feature_set, of.version, values[row, column].tolist())
            for row in lacking
        ]
    if not new:
        return 0
    times = [row[2] for row in new]
    if not {ts.year for ts in times} <= {ts.year for _, ts in stored.values()}:  # else their partitions are there
        ensure_partitions("engineered_features", "year", min(times), max(times))
    with connection.cursor() as cursor:
        written = execute_values(
            cursor.cursor,
            "INSERT INTO engineered_features (symbol, timeframe, bar_ts, feature_set, version, values) VALUES %s "
            "ON CONFLICT DO NOTHING RETURNING 1",
            new,
            page_size=500,
            fetch=True,
        )
    return len(written)


def _stored_features(
    of: FeatureVersion, bars: Bars, own: Sequence[npt.NDArray[np.intp]]
) -> dict[str, tuple[int, datetime]]:
    """How many of these rows each symbol has, and the newest of them."""
    spans = [(s, *utc_times(bars.ts[rows[[0, -1]]])) for s, rows in zip(bars.symbols, own, strict=True) if len(rows)]
    symbols, firsts, lasts = map(list, zip(*spans, strict=True))
    rows = statements.fetch(
        "SELECT f.symbol, count(*), max(f.bar_ts) FROM engineered_features f "
        "JOIN unnest(%s::text[], %s::timestamptz[]) AS s(symbol, first) ON s.symbol = f.symbol "
        "WHERE f.symbol = ANY(%s) AND f.timeframe = %s AND f.feature_set = %s AND f.version = %s "
        "AND f.bar_ts BETWEEN %s AND %s AND f.bar_ts >= s.first GROUP BY f.symbol",
        [symbols, firsts, symbols, of.timeframe, of.feature_set, of.version, min(firsts), max(lasts)],
    )
    return {symbol: (count, newest) for symbol, count, newest in rows}


def load_features(
    of: FeatureVersion, symbols: Sequence[str], bar_ts: datetime, *, n_rows: int, n_features: int
) -> FloatArray:
    """The last `n_rows` own feature rows of each symbol that end at `bar_ts`: (n_rows, n_symbols, n_features).

    Aligned at the end; NaN before a symbol's first row and for a symbol without a row at `bar_ts`.
    """
    out = np.full((n_rows, len(symbols), n_features), np.nan)
    found = statements.fetch(
        "SELECT s.i, max(f.bar_ts), string_agg(array_send(f.values), ''::bytea ORDER BY f.bar_ts) "
        "FROM unnest(%s::text[]) WITH ORDINALITY AS s(symbol, i) CROSS JOIN LATERAL ("
        "  SELECT bar_ts, values FROM engineered_features e WHERE e.symbol = s.symbol AND e.timeframe = %s "
        "  AND e.feature_set = %s AND e.version = %s AND e.bar_ts <= %s ORDER BY bar_ts DESC LIMIT %s) f "
        "GROUP BY s.i",
        [list(symbols), of.timeframe, of.feature_set, of.version, bar_ts, n_rows],
    )
    for index, newest, data in found:
        if newest == bar_ts:
            rows = _decode_arrays(bytes(data), n_features)
            out[-len(rows) :, index - 1] = rows
    return out


def _decode_arrays(data: bytes, n_values: int) -> FloatArray:
    """Rows of PostgreSQL's binary float8[] format: a header, then length and value of each element."""
    item = np.dtype([("length", ">i4"), ("value", ">f8")])
    row = np.dtype([("header", f"V{_HEADER}"), ("items", item, (n_values,))])
    if len(data) % row.itemsize:
        raise ValueError(f"stored feature rows must have {n_values} values, {len(data)} bytes do not fit")
    return np.frombuffer(data, row)["items"]["value"].astype(np.float64)


# --- predict ---


def forecast_rows(cycle: PipelineCycle, forecast: Forecast, served_by: dict[str, MLModel]) -> list[Model]:
    """One `ml_predictions` row a symbol."""
    return [
        models.MLPrediction(
            cycle=cycle,
            model=served_by.get(name),
            symbol=symbol,
            timeframe=cycle.timeframe,
            bar_ts=cycle.bar_ts,
            p_sell=_nullable(row[0]),
            p_hold=_nullable(row[1]),
            p_buy=_nullable(row[2]),
            signal=signal_of(row),
            horizon_bars=horizon,
        )
        for symbol, name, row, horizon in zip(
            forecast.symbols, forecast.model_names, forecast.probability, forecast.horizon_bars, strict=True
        )
    ]


def signal_of(row: FloatArray) -> Signal:
    """The most probable class; HOLD when nothing is known."""
    if np.isnan(row).any():
        return Signal.HOLD
    return (Signal.SELL, Signal.HOLD, Signal.BUY)[int(np.argmax(row))]


def load_forecast(cycle: PipelineCycle, symbols: tuple[str, ...]) -> Forecast:
    """The forecast of this cycle as its predict stage wrote it."""
    rows = {row.symbol: row for row in cycle.predictions.all()}
    probability = [[_number(p) for p in (rows[s].p_sell, rows[s].p_hold, rows[s].p_buy)] for s in symbols]
    return Forecast(
        bar_ts=cycle.bar_ts,
        symbols=symbols,
        probability=np.array(probability, dtype=np.float64),
        horizon_bars=tuple(rows[s].horizon_bars for s in symbols),
        model_names=tuple("" if (model := rows[s].model) is None else model.name for s in symbols),
    )


# --- risk ---


def risk_rows(cycle: PipelineCycle, volatility: VolatilityForecast, decision: RiskDecision) -> list[Model]:
    """The volatility rows and the decision made of them."""
    volatilities = (
        models.VolatilityForecast(
            cycle=cycle,
            symbol=s,
            timeframe=cycle.timeframe,
            bar_ts=cycle.bar_ts,
            sigma=_nullable(v),
            method=m,
        )
        for s, v, m in zip(volatility.symbols, volatility.sigma, volatility.methods, strict=True)
    )
    made = models.RiskDecision(
        cycle=cycle,
        symbols=list(decision.symbols),
        expected_return=decision.expected_return.tolist(),
        size=decision.size.tolist(),
        max_weight=decision.max_weight.tolist(),
        leverage=decision.leverage,
        state=decision.state,
        tail=asdict(decision.tail) if decision.tail else None,
        denials=denials_json(decision.denials),
    )
    return [*volatilities, made]


def load_risk(cycle: PipelineCycle) -> RiskDecision:
    """The risk decision of this cycle with its volatilities, in the book's state where that has become worse since."""
    row = cycle.risk_decision
    sigma = {each.symbol: each.sigma for each in cycle.volatilities.all()}
    return RiskDecision(
        bar_ts=cycle.bar_ts,
        symbols=tuple(row.symbols),
        sigma=np.array([_number(sigma[s]) for s in row.symbols]),
        expected_return=np.array(row.expected_return),
        size=np.array(row.size),
        max_weight=np.array(row.max_weight),
        leverage=row.leverage,
        state=TradingState(worst(row.state, cycle.book.state)),
        tail=TailLimit(**{**row.tail, "symbols": tuple(row.tail["symbols"])}) if row.tail else None,
        denials=tuple(Denial(**item) for item in row.denials),
    )


# --- llm ---


def view_rows(cycle: PipelineCycle, context: MarketContext, view: StrategicView, *, applied: bool) -> list[Model]:
    """The snapshot shown to the analyst, and the reply."""
    data = {k: v for k, v in asdict(context).items() if k != "bar_ts"}
    return [
        models.MarketContextSnapshot(cycle=cycle, bar_ts=cycle.bar_ts, regime=context.regime, data=json_safe(data)),
        models.StrategicDecision(
            cycle=cycle,
            provider=view.provider,
            stance=view.stance,
            conviction=view.conviction,
            risk_multiplier=view.risk_multiplier,
            applied=applied,
            reasoning=view.reasoning,
            usage=view.usage,
        ),
    ]


def load_view(cycle: PipelineCycle) -> StrategicView:
    """The analyst's reply in this cycle."""
    row = cycle.strategic_decision
    return StrategicView(
        bar_ts=cycle.bar_ts,
        provider=row.provider,
        stance=Stance(row.stance),
        conviction=row.conviction,
        risk_multiplier=row.risk_multiplier,
        reasoning=row.reasoning,
        usage=row.usage,
    )


# --- portfolio ---


def targets_row(cycle: PipelineCycle, targets: TargetWeights) -> Model:
    """The rebalancing event of this cycle."""
    return models.RebalancingEvent(
        cycle=cycle,
        book_id=cycle.book_id,
        bar_ts=cycle.bar_ts,
        symbols=list(targets.symbols),
        previous=targets.previous.tolist(),
        target=targets.weights.tolist(),
        turnover=targets.turnover,
        method=targets.method,
        reason=targets.reason,
        denials=denials_json(targets.denials),
    )


def load_targets(cycle: PipelineCycle) -> TargetWeights:
    """The target weights of this cycle."""
    row = cycle.rebalancing
    return TargetWeights(
        bar_ts=cycle.bar_ts,
        symbols=tuple(row.symbols),
        weights=np.array(row.target),
        previous=np.array(row.previous),
        turnover=row.turnover,
        method=row.method,
        reason=row.reason,
        denials=tuple(Denial(**item) for item in row.denials),
    )


def snapshot_row(cycle: PipelineCycle, view: BookView) -> Model:
    """The book at this bar's close, before its new orders."""
    weights = view.held_weights
    return models.PortfolioSnapshot(
        book_id=cycle.book_id,
        cycle=cycle,
        bar_ts=cycle.bar_ts,
        equity=view.equity,
        cash=view.cash,
        peak_equity=view.peak_equity,
        gross_exposure=float(np.abs(weights).sum()),
        drawdown=min(1.0, view.drawdown),
        weights={s: float(w) for s, w, q in zip(view.symbols, weights, view.quantity, strict=True) if q != ZERO},
    )


def denials_json(denials: Sequence[Denial]) -> list[dict[str, Any]]:
    """Denials as JSON: numbers that are not finite become None-free text."""
    return [json_safe(asdict(denial)) for denial in denials]


def _nullable(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
