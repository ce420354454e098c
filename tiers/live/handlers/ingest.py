"""The first stage on live data: the bar is stored, the orders that waited for it fill, the book is valued."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
from loguru import logger

from helios import events
from tiers.challenge import arms, record
from tiers.challenge.arms import Answer
from tiers.contracts import Bars
from tiers.ingest.cycle import IngestResult, window_start
from tiers.live.lateness import late_now
from tiers.live.stage_context import Skip, StageContext, StageResult, of_arms
from trading.books.accounting import exact
from trading.books.write import account_of
from trading.enums import FeedKind
from trading.market import instruments
from trading.market import write as market_service
from trading.market.feeds import read as feeds
from trading.models import Book, PipelineCycle, Position, Stage
from trading.orders.fills import settle


def run(ctx: StageContext) -> StageResult:
    """Read and check the bar, store it with the higher bars it closes, fill the orders that waited for it."""
    book, bar_ts = ctx.book, ctx.bar_ts
    start = window_start(book.timeframe, bar_ts)
    rows, calendars = feeds.rows(book, start, bar_ts), instruments.calendars(book.symbols)
    answer: Answer[IngestResult] = arms.ask(
        ctx.cycle,
        Stage.INGEST,
        lambda tier: tier(rows, timeframe=book.timeframe, bar_ts=bar_ts, calendars=calendars),
    )
    result = answer.whole()
    if len(result.missing) == len(book.symbols):
        raise Skip(f"NO_BAR: no symbol has a bar at {bar_ts:%Y-%m-%d %H:%M} UTC")
    late = late_now(book, bar_ts)
    without = instruments.expected(result.missing, calendars, book.timeframe, bar_ts)
    return StageResult(
        skip=f"LATE_BAR: the bar of {bar_ts:%Y-%m-%d %H:%M} UTC is too old to be traded" if late else "",
        summary={
            "bars": result.accepted.n_symbols - len(result.missing),
            "missing": list(result.missing),
            "problems": [str(problem) for problem in result.problems],
            **of_arms(answer),
        },
        reason=f"no bar of {', '.join(without)}" if without else "",
        write=partial(_write, answer=answer, without=without),
    )


def _write(cycle: PipelineCycle, *, answer: Answer[IngestResult], without: list[str]) -> dict[str, Any]:
    """Store the bars, fill the orders that waited for them, value the book."""
    result, book, symbols = answer.whole(), cycle.book, cycle.book.symbols
    record.record(cycle, answer, lambda found: record.of_book(symbols, {"missing": len(found.missing)}))
    # What was read from the table is in it: only the higher bars that close here may be new.
    fresh = list(result.higher) if book.feed.kind is FeedKind.TABLE else [result.accepted, *result.higher]
    inserted = market_service.upsert_bars(fresh, source=str(book.feed)).inserted if fresh else 0
    locked = Book.objects.select_for_update().get(pk=book.pk)
    fills = settle(locked, cycle.bar_ts)
    mark(locked, _closes(result.accepted))
    if without and book.mode != Book.Mode.REPLAY:
        _tell_missing(cycle, without)
    return {
        "inserted": inserted,
        "fills": [[f.client_order_id, f.side, f.quantity, f.price, f.fee] for f in fills],
    }


def _tell_missing(cycle: PipelineCycle, symbols: list[str]) -> None:
    events.record(
        kind="bars.missing",
        severity="warning",
        source="tiers.ingest",
        subject=str(cycle),
        data={"book": cycle.book.name, "symbols": symbols},
    )
    logger.bind(book=cycle.book.name, symbols=symbols).warning("bars.missing")


def _closes(bars: Bars) -> dict[str, Decimal]:
    last = bars.close[-1]
    return {s: exact(float(v)) for s, v in zip(bars.symbols, last, strict=True) if not np.isnan(v)}


def mark(book: Book, closes: dict[str, Decimal]) -> None:
    """Value the book at this bar's closes, so that its peak is known even when the cycle goes no further."""
    positions, moved = list(book.positions.all()), []
    for position in positions:
        price = closes.get(position.symbol, position.last_price)
        if price != position.last_price:
            position.last_price = price
            moved.append(position)
    Position.objects.bulk_update(moved, ["last_price"])
    prices = {each.symbol: each.last_price for each in positions if each.last_price is not None}
    peak = max(book.peak_equity, account_of(book, positions).equity(prices))
    if peak != book.peak_equity:
        book.peak_equity = peak
        book.save(update_fields=["peak_equity", "updated_at"])
