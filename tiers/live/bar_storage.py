"""From judged bars to the market table: with what is stored beside them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from tiers.ingest.aggregate import INTRADAY
from tiers.ingest.prepare import Prepared, completed, partly_filled, with_whole_ends
from tiers.ingest.stored_bars import REACH, refuse_contradictions, with_neighbours
from trading.enums import AssetClass
from trading.market import write as market
from trading.market.actions import Action
from trading.market.bars import split
from trading.market.lots import USUAL_CALENDARS, Lot
from trading.market.read import actions, bars_around, bars_within
from trading.market.timeframes import seconds
from trading.market.timestamps import stamp, utc, utc_times


def series_of(prepared: Prepared, asset_class: str, source: str, *, lot: Lot | None = None) -> market.Series:
    """Prepared bars as what is stored of one symbol."""
    return market.Series(
        symbol=prepared.symbol, asset_class=asset_class, source=source, batches=prepared.batches, lot=lot
    )


def with_higher(series: market.Series, prepared: Prepared, *, whole: bool = False) -> tuple[market.Series, Prepared]:
    """With the higher bars that hold bars of the series and others that are stored; replaced ones are none.

    Unless they are `whole`, the first and the last minute of trades, of which a file may have a part, stay where more
    of them is stored.
    """
    calendar = USUAL_CALENDARS[AssetClass(series.asset_class)]
    if series.replaced:
        return series, prepared
    if prepared.traded is not None and not whole:
        (base,) = split(prepared.batches[0])
        known = bars_within(series.symbol, base.timeframe, utc_times(base.ts[[0, -1]]), timedelta(minutes=1))
        prepared = with_whole_ends(prepared, calendar, *split(known))
        series = replace(series, batches=prepared.batches)
    ends = partly_filled(prepared, calendar)
    if not len(ends):
        return series, prepared
    length = timedelta(seconds=seconds(INTRADAY[-1]))
    stored = bars_within(series.symbol, prepared.batches[0].timeframe, utc_times(ends), length)
    prepared = completed(prepared, calendar, *split(stored))
    return replace(series, batches=prepared.batches), prepared


def with_stored(series: market.Series, prepared: Prepared) -> Prepared:
    """With the bars that are stored around it, which tell what is missing and what jumps where they meet.

    `DataError` where its prices contradict the splits and dividends that are stored.
    """
    base = prepared.batches[0]
    prepared = replace(prepared, actions=actions([series.symbol], base.timeframe))
    if series.replaced:
        ends = [ts for each in prepared.actions for ts in _ends_around(prepared, each)]
        known = bars_within(series.symbol, base.timeframe, ends, timedelta(seconds=seconds(base.timeframe)))
        refuse_contradictions(prepared, *split(known))
        return prepared
    stored = bars_around(series.symbol, base.timeframe, utc(base.ts[0]), utc(base.ts[-1]), REACH)
    return with_neighbours(prepared, USUAL_CALENDARS[AssetClass(series.asset_class)], *split(stored))


def _ends_around(prepared: Prepared, action: Action) -> tuple[datetime, ...]:
    """The closes of its last bar before an action and of the first one behind."""
    ts = prepared.batches[0].ts
    row = int(np.searchsorted(ts, stamp(action.ex_ts), side="right"))
    return utc_times(ts[max(row - 1, 0) : row + 1])
