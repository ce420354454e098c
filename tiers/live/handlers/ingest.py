"""Tier 1 on live data: the bar is stored, the orders that waited for it fill, the book is valued."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
from loguru import logger

from helios import events
from tiers.challenge import arms, record
from tiers.challenge.arms import Answer
from tiers.contracts import Bars
from tiers.ingest.cycle import IngestResult
from tiers.live.lateness import late_now
from tiers.live.stage_context import Skip, StageContext, StageResult, of_arms
from trading.books import read as books
from trading.books.accounting import Booked, exact
from trading.enums import FeedKind
from trading.market import instruments, timeline
from trading.market import write as market_service
from trading.market.feeds import read as feeds
from trading.models import Book, Instrument, PipelineCycle, Stage
from trading.orders.fills import settle


def run(ctx: StageContext) -> StageResult:
    """Read and check the bar, store it with the higher bars it closes, fill the orders that waited for it."""
    book, bar_ts = ctx.book, ctx.bar_ts
    start = arms.champion(ctx.cycle, Stage.INGEST).window_start(book.timeframe, bar_ts)
    feeds.refuse_others(book, start, bar_ts)
    rows, calendars = feeds.rows(book, start, bar_ts), instruments.calendars(ctx.instruments)
    answer: Answer[IngestResult] = arms.ask(
        ctx.cycle,
        Stage.INGEST,
        lambda tier: tier.run(rows, timeframe=book.timeframe, bar_ts=bar_ts, calendars=calendars),
        values=lambda found: record.of_book(book.symbols, {"missing": len(found.missing)}),
    )
    result = answer.merged
    if len(result.missing) == len(book.symbols):
        return _without_bars(ctx)
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
        write=partial(_write, answer=answer, without=without, traded=ctx.instruments),
    )


def _without_bars(ctx: StageContext) -> StageResult:
    """The end of a cycle of which no symbol has the bar: on a feed that has fallen silent, this is told."""
    book, sentence = ctx.book, f"NO_BAR: no symbol has a bar at {ctx.bar_ts:%Y-%m-%d %H:%M} UTC"
    newest = None if book.mode == Book.Mode.REPLAY else timeline.newest_bar(book.symbols, book.timeframe)
    if newest is None or newest.bar_ts >= ctx.bar_ts:
        raise Skip(sentence)
    sentence += f", the newest one is of {newest.bar_ts:%Y-%m-%d %H:%M}: its feed is stale"
    data = {"book": book.name, "newest": newest.bar_ts.isoformat()}

    def tell(cycle: PipelineCycle) -> dict[str, Any]:
        events.record(kind="feed.stale", severity="critical", source="tiers.ingest", subject=str(cycle), data=data)
        logger.bind(**data).error("feed.stale")
        return {}

    return StageResult(skip=sentence, summary={"missing": list(book.symbols)}, write=tell)


def _write(
    cycle: PipelineCycle, *, answer: Answer[IngestResult], without: list[str], traded: Sequence[Instrument]
) -> dict[str, Any]:
    """Store the bars, book splits and dividends, fill the orders that waited for the bars, value the book."""
    result, book = answer.merged, cycle.book
    record.record(cycle, answer)
    # What was read from the table is in it: only the higher bars that close here may be new.
    fresh = list(result.higher) if book.feed.kind is FeedKind.TABLE else [result.accepted, *result.higher]
    inserted = market_service.add_bars(fresh, source=str(book.feed)).inserted if fresh else 0
    # Only now: nobody who halts the book waits for an import of its bars.
    book = cycle.book = books.locked(book.pk)
    with_actions = [each.symbol for each in traded if each.actions_from and each.actions_from < cycle.bar_ts]
    settled = settle(book, cycle.bar_ts, _closes(result.accepted), instruments.lots(traded), with_actions)
    if without and book.mode != Book.Mode.REPLAY:
        _tell_missing(cycle, without)
    return {
        "inserted": inserted,
        "fills": [[f.client_order_id, f.side, f.quantity, f.price, f.fee] for f in settled.fills],
        **_told(settled.booked),
    }


def _told(booked: Sequence[Booked]) -> dict[str, Any]:
    """The splits and dividends on the ledger, where there are any."""
    said = [[each.symbol, str(each.action), each.quantity, each.remaining, each.price, each.cash] for each in booked]
    return {"actions": said} if said else {}


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
