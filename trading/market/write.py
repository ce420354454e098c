"""Writes of market data: bars by COPY, with late corrections counted, and what they replaced kept."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Max, Min, Q

from helios.db.locks import hold
from helios.db.partitions import ensure_partitions
from helios.errors import DataError
from helios.events import record
from trading.enums import ActionKind, AssetClass
from trading.market import timeframes, wire
from trading.market.bars import FIELDS, Bars
from trading.market.calendars import LONGEST_CLOSURE
from trading.market.instruments import ensure_instrument, usual
from trading.market.lots import Lot
from trading.market.timestamps import stamp, utc, utc_times
from trading.models import Book, CorporateAction, EngineeredFeatures, Instrument, MarketOHLC, Order
from trading.symbols import check as check_symbol

CHUNK_BARS = 50_000  # so that progress can be shown, and no buffer grows with the file
FEATURE_REACH_BARS = 1_000  # a bar is in the features of so many later bars of its symbol at most

_COLUMNS = "symbol, timeframe, source, bar_ts, open, high, low, close, volume"
_ANY_KEPT = """
SELECT EXISTS (SELECT FROM market_ohlc
    WHERE symbol = ANY(%(symbols)s) AND timeframe = %(timeframe)s AND bar_ts >= %(first)s AND bar_ts <= %(last)s),
EXISTS (SELECT FROM engineered_features
    WHERE symbol = ANY(%(symbols)s) AND timeframe = ANY(%(made_of_it)s) AND bar_ts >= %(first)s),
EXISTS (SELECT FROM corporate_actions
    WHERE symbol = ANY(%(symbols)s) AND kind = 'dividend' AND value >= %(lowest)s
    AND ex_ts >= %(first)s AND ex_ts < %(last)s + %(night)s)
"""
# A volume that was added up in another order may differ in its last digits, and corrects nothing. All parts of the
# statement see the bars as they were before it; bar by bar, so that one without corrections reads none of them.
_MERGE = f"""
WITH written AS (
    INSERT INTO market_ohlc AS kept ({_COLUMNS})
    SELECT symbol, %(timeframe)s, %(source)s, timestamptz 'epoch' + us * interval '1 microsecond' AS bar_ts,
        open, high, low, close, volume
    FROM unnest(%(symbol)s::text[], %(us)s::bigint[], %(open)s::float8[], %(high)s::float8[], %(low)s::float8[],
        %(close)s::float8[], %(volume)s::float8[]) AS told(symbol, us, open, high, low, close, volume)
    ORDER BY symbol, us
    ON CONFLICT (symbol, timeframe, bar_ts) DO UPDATE SET
        open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
        volume = excluded.volume, source = excluded.source, ingested_at = now(),
        revision = least(kept.revision, 2147483646) + 1
    WHERE (kept.open, kept.high, kept.low, kept.close)
        IS DISTINCT FROM (excluded.open, excluded.high, excluded.low, excluded.close)
        OR kept.volume IS DISTINCT FROM excluded.volume
        AND coalesce(abs(kept.volume - excluded.volume) > 1e-9 * greatest(abs(excluded.volume), 1e-290), true)
    RETURNING symbol, timeframe, bar_ts, revision
), replaced AS (
    INSERT INTO bar_corrections ({_COLUMNS}, revision)
    SELECT before.* FROM written w CROSS JOIN LATERAL (
        SELECT {_COLUMNS}, revision FROM market_ohlc o
        WHERE o.symbol = w.symbol AND o.timeframe = w.timeframe AND o.bar_ts = w.bar_ts OFFSET 0
    ) AS before WHERE w.revision > 0
)
SELECT symbol, count(*) FILTER (WHERE revision = 0), count(*) FILTER (WHERE revision > 0), min(bar_ts), max(bar_ts)
FROM written GROUP BY symbol
"""  # noqa: S608 - the column list is a constant of this module
_FORGET = """
DELETE FROM engineered_features f
USING unnest(%(symbols)s::text[], %(firsts)s::timestamptz[], %(lasts)s::timestamptz[]) AS changed(symbol, first, last)
CROSS JOIN LATERAL (SELECT coalesce((
    SELECT bar_ts FROM market_ohlc o
    WHERE o.symbol = changed.symbol AND o.timeframe = %(timeframe)s AND o.bar_ts > changed.last
    ORDER BY bar_ts OFFSET %(reach)s LIMIT 1
), 'infinity') AS bar_ts) AS beyond
WHERE f.symbol = changed.symbol AND f.timeframe = ANY(%(made_of_it)s)
    AND f.bar_ts >= changed.first AND f.bar_ts < beyond.bar_ts
"""
Changed = tuple[str, datetime, datetime]  # a symbol, and the first and last of its bars that are new or differ


@dataclass(frozen=True, slots=True, kw_only=True)
class UpsertResult:
    """What became of the bars that were handed over; the three sum to their number."""

    inserted: int = 0
    corrected: int = 0
    unchanged: int = 0

    def __add__(self, other: UpsertResult) -> UpsertResult:
        return UpsertResult(
            inserted=self.inserted + other.inserted,
            corrected=self.corrected + other.corrected,
            unchanged=self.unchanged + other.unchanged,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What one import brings for one symbol: its bars of one or more timeframes, and what the symbol is.

    `lot` are the steps that its venue names, None where they follow from its price. `replaced` says that the bars
    of before go, as those of an instrument that was of another asset class.
    """

    symbol: str
    asset_class: str
    source: str
    batches: tuple[Bars, ...]
    lot: Lot | None = None
    replaced: bool = False


def import_series(
    series: Sequence[Series], *, progress: Callable[[int], None] | None = None
) -> dict[tuple[str, str], UpsertResult]:
    """Store several series and their instruments, all or nothing; the result by symbol and timeframe."""
    results: dict[tuple[str, str], UpsertResult] = {}
    with transaction.atomic():
        lock_bars([batch for one in series for batch in one.batches if batch.n_bars])
        for one in series:
            price = float(one.batches[0].close[-1, 0])
            if one.replaced:
                remove_bars(one.symbol, one.asset_class, price)
            ensure_instrument(one.symbol, one.asset_class, price, lot=one.lot)
            for batch in one.batches:
                results[one.symbol, batch.timeframe] = upsert_bars(batch, one.source, progress=progress)
    return results


def remove_bars(symbol: str, asset_class: str, price: float) -> None:
    """Remove the bars of an instrument, with what was made of them.

    One of another asset class gets the usual lots and calendar of this one, one whose lots are the usual ones of its
    prices those of `price`; lots that a venue or somebody described stay. `DataError` where a book trades it, or has
    traded it, by these bars and in these lots. Call it in a transaction.
    """
    lock_symbols([symbol])
    ordered = Order.objects.filter(symbol=symbol).values("book")
    book = Book.objects.filter(Q(symbols__contains=[symbol]) | Q(pk__in=ordered)).first()
    if book is not None:
        raise DataError(f"{symbol} is of book {book.name}, and keeps the bars and the asset class by which that trades")
    EngineeredFeatures.objects.filter(symbol=symbol).delete()
    known = Instrument.objects.filter(symbol=symbol).first()
    if known is not None and (known.asset_class != asset_class or _has_usual_lots(known)):
        Instrument.objects.filter(symbol=symbol).update(**usual(symbol, AssetClass(asset_class), price))
    MarketOHLC.objects.filter(symbol=symbol).delete()


def _has_usual_lots(known: Instrument) -> bool:
    """Whether its lots lie between the usual ones of its lowest and its highest close, and so follow from a price."""
    closes = MarketOHLC.objects.filter(symbol=known.symbol).aggregate(low=Min("close"), high=Max("close"))
    if ":" in known.symbol or closes["low"] is None:
        return False
    low, high = (usual(known.symbol, AssetClass(known.asset_class), float(closes[of])) for of in ("low", "high"))
    steps = ("quantity_step", "price_tick", "min_notional")
    return all(min(low[step], high[step]) <= getattr(known, step) <= max(low[step], high[step]) for step in steps)


def upsert_bars(
    bars: Bars | Sequence[Bars], source: str, *, progress: Callable[[int], None] | None = None
) -> UpsertResult:
    """Store bars in one transaction: new ones are inserted, differing ones corrected, equal ones left alone.

    A correction raises `revision` by one, leaves the bar of before in `bar_corrections`, and is told in one
    `market.corrected` event a call. NaN in `close` means that a symbol has no bar there; any other value that is not
    finite is a `DataError`. Safe beside other writers: each symbol is locked until the transaction ends, in
    alphabetical order, so one call should carry all that belongs together. `progress` is called with the number of
    bars since the last call.
    """
    batches = [bars] if isinstance(bars, Bars) else list(bars)
    batches = [batch for batch in batches if batch.n_bars]
    for batch in batches:
        _refuse_not_finite(batch)
    total = UpsertResult()
    with transaction.atomic():
        lock_bars(batches)
        for batch in batches:
            total += _write(batch, source, progress)
        if total.corrected:
            _tell(batches, source, total)
    return total


def add_bars(batches: Sequence[Bars], source: str) -> UpsertResult:
    """As `upsert_bars` of those of which no bar is stored; those that are stored stay as they are."""
    with transaction.atomic():
        lock_bars(batches)
        return upsert_bars([_new(batch) for batch in batches], source)


def _new(bars: Bars) -> Bars:
    of_time = {"timeframe": bars.timeframe, "bar_ts__gte": utc(bars.ts[0]), "bar_ts__lte": utc(bars.ts[-1])}
    stored = MarketOHLC.objects.filter(symbol__in=bars.symbols, **of_time).values_list("symbol", "bar_ts")
    close, rows = bars.close.copy(), {ts: row for row, ts in enumerate(utc_times(bars.ts))}
    for symbol, bar_ts in stored:
        if bar_ts in rows:
            close[rows[bar_ts], bars.symbols.index(symbol)] = np.nan
    return replace(bars, close=close)


def lock_bars(batches: Sequence[Bars]) -> None:
    """Keep other writers of these symbols' bars waiting until the transaction ends.

    Partitions before rows, then locks in one order: writers may wait, but never in a circle. Who has locked symbols and
    then lacks a partition may be ended by PostgreSQL, and try again.
    """
    if batches:
        first, last = min(utc(batch.ts[0]) for batch in batches), max(utc(batch.ts[-1]) for batch in batches)
        ensure_partitions("market_ohlc", "year", first, last)
        lock_symbols({check_symbol(symbol) for batch in batches for symbol in batch.symbols})


def lock_bars_shared(symbols: Sequence[str]) -> None:
    """Keep writers of these symbols' bars waiting until the transaction ends; readers that hold them go side by side.

    For who stores what is made of bars: a correction in between would forget what is not there yet, and leave it.
    An import of these symbols that is under way is waited for.
    """
    hold(*_locks(symbols), shared=True, after="market_ohlc")  # as writers who need a partition do


def lock_symbols(symbols: Iterable[str]) -> None:
    """Keep writers of what is stored of these symbols, and of what is made of it, waiting as `lock_bars` does."""
    hold(*_locks(symbols))


def _locks(symbols: Iterable[str]) -> list[str]:
    return [f"market_ohlc {symbol}" for symbol in sorted(symbols)]


def _write(batch: Bars, source: str, progress: Callable[[int], None] | None) -> UpsertResult:
    total = UpsertResult()
    length = max(1, CHUNK_BARS // batch.n_symbols)
    with connection.cursor() as cursor:
        for start in range(0, batch.n_bars, length):
            result, n_rows = _store(cursor, batch.rows(slice(start, start + length)), source)
            total += result
            if progress is not None:
                progress(n_rows)
    return total


def _store(cursor: CursorWrapper, part: Bars, source: str) -> tuple[UpsertResult, int]:
    """COPY straight into the table where the span is still empty, else one statement with the bars as arrays.

    No other writer can fill the span in between: the symbols are locked.
    """
    span: dict[str, Any] = {"first": utc(part.ts[0]), "last": utc(part.ts[-1]), "night": LONGEST_CLOSURE}
    lowest = float(np.nanmin(part.close, initial=np.inf))
    cursor.execute(_ANY_KEPT, {**span, "symbols": list(part.symbols), "lowest": lowest, **_reach(part.timeframe)})
    kept, known, low = cursor.fetchone()
    part = _above_dividends(part, source) if low else part
    if not kept:
        data, n_rows = wire.encode(part, source)
        _copy(cursor, data)
        written, inserted, corrected = _spans(part) if known else [], n_rows, 0
    else:
        told, n_rows = wire.arrays(part)
        cursor.execute(_MERGE, {**told, "timeframe": part.timeframe, "source": source})
        rows = cursor.fetchall()
        written = [(symbol, first, last) for symbol, _, _, first, last in rows]
        inserted, corrected = (sum(row[place] for row in rows) for place in (1, 2))
    if known and written:
        _forget_features(cursor, part.timeframe, written)
    return UpsertResult(inserted=inserted, corrected=corrected, unchanged=n_rows - inserted - corrected), n_rows


def _above_dividends(bars: Bars, source: str) -> Bars:
    """Without bars that close before a dividend, by a week at most, at no more than it: no market has them.

    They are told in an event `market.refused`; one of a file is refused with all of it before it comes here.
    """
    close = bars.close.copy()
    actions = [*CorporateAction.objects.filter(symbol__in=bars.symbols).order_by("ex_ts")]
    splits = [each for each in actions if each.kind == ActionKind.SPLIT]
    for each in (each for each in actions if each.kind == ActionKind.DIVIDEND):
        ex_ts, own = stamp(each.ex_ts), close[:, bars.symbols.index(each.symbol)]
        worth = own.copy()  # of a share of then
        for one in splits:
            if one.symbol == each.symbol and one.ex_ts < each.ex_ts:
                worth[bars.ts <= stamp(one.ex_ts)] *= float(one.per / one.value)
        low = (bars.ts <= ex_ts) & (bars.ts > ex_ts - np.timedelta64(LONGEST_CLOSURE)) & (worth <= float(each.value))
        if low.any():
            data = {
                "timeframe": bars.timeframe,
                "last": utc(bars.ts[low][-1]).isoformat(),
                "n": int(low.sum()),
                "close": float(own[low][-1]),
                "dividend": f"{each.value.normalize():f}",
                "ex_ts": each.ex_ts.isoformat(),
            }
            record(kind="market.refused", severity="warning", source=source, subject=each.symbol, data=data)
            own[low] = np.nan
    return replace(bars, close=close)


def _spans(bars: Bars) -> list[Changed]:
    own = ((symbol, bars.ts[~np.isnan(bars.close[:, column])]) for column, symbol in enumerate(bars.symbols))
    return [(symbol, utc(ts[0]), utc(ts[-1])) for symbol, ts in own if len(ts)]


def _copy(cursor: CursorWrapper, data: bytes) -> None:
    with connection.wrap_database_errors:
        cursor.copy_expert(f"COPY market_ohlc ({_COLUMNS}) FROM STDIN (FORMAT binary)", io.BytesIO(data))


def _tell(batches: Sequence[Bars], source: str, total: UpsertResult) -> None:
    symbols = sorted({symbol for batch in batches for symbol in batch.symbols})
    record(
        kind="market.corrected",
        source=source,
        subject=", ".join(symbols),
        data={"corrected": total.corrected, "timeframes": sorted({batch.timeframe for batch in batches})},
    )


def _forget_features(cursor: CursorWrapper, timeframe: str, written: Sequence[Changed]) -> None:
    """Features that were made before a bar was corrected, or came late, are made again when they are next needed."""
    symbols, firsts, lasts = map(list, zip(*written, strict=True))
    changed: dict[str, Any] = {"symbols": symbols, "firsts": firsts, "lasts": lasts}
    cursor.execute(_FORGET, {**changed, **_reach(timeframe), "reach": FEATURE_REACH_BARS})


def _reach(timeframe: str) -> dict[str, Any]:
    """A timeframe, and those whose features may be made of its bars: the shorter ones look at longer bars, too."""
    length = timeframes.seconds(timeframe)
    return {
        "timeframe": timeframe,
        "made_of_it": [each for each in timeframes.TIMEFRAMES if timeframes.seconds(each) <= length],
    }


def _refuse_not_finite(bars: Bars) -> None:
    exists = ~np.isnan(bars.close)
    for name in FIELDS:
        bad = np.argwhere(exists & ~np.isfinite(getattr(bars, name)))
        if len(bad):
            row, column = bad[0]
            value = getattr(bars, name)[row, column]
            at = f"{utc(bars.ts[row]):%Y-%m-%d %H:%M} UTC"
            raise DataError(f"{name} of {bars.symbols[column]} at {at} must be finite, was {value}")
