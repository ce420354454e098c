"""Public trades of a venue, asked for by request, judged as those of a file are, and stored each once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from helios.errors import Transient
from tiers.ingest.bar_problems import Problem
from tiers.ingest.trades import judge
from trading.market.trade_write import store_trades
from trading.market.trades import Trades, concatenated
from trading.venues.base import MarketData, Pair

MOST_TRADES: Final = 5_000_000  # of a pair in a day; what is more is a mistake
MOST_PAGES: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedTrades:
    """How many trades were stored and how many were there before; those that broke a rule are left out."""

    inserted: int = 0
    unchanged: int = 0
    bad: tuple[Problem, ...] = ()

    def __add__(self, other: FetchedTrades) -> FetchedTrades:
        return FetchedTrades(
            inserted=self.inserted + other.inserted,
            unchanged=self.unchanged + other.unchanged,
            bad=self.bad + other.bad,
        )


def fetch_trades(
    venue: MarketData, pair: Pair, after: datetime, until: datetime, *, told: Callable[[int], None] = lambda _n: None
) -> FetchedTrades:
    """Store the trades of [after, until) in one transaction; `told` hears how many came so far.

    Raises: as the venue's requests.
    """
    tables, n_trades = list[Trades](), 0
    for table in venue.trades(pair, after, until):
        tables.append(table)
        n_trades += table.n_trades
        told(n_trades)
        if n_trades > MOST_TRADES or len(tables) > MOST_PAGES:
            raise Transient(f"{venue.name} must tell {MOST_TRADES:,} trades of {pair.code} a day at most, went on")
    if not tables:
        return FetchedTrades()
    judged = judge(concatenated(tables), not_after=until)
    good = judged.trades
    columns = [getattr(good, name).tolist() for name in ("trade_id", "side", "price", "quantity")]
    times = good.ts.astype("datetime64[us]").astype(int).tolist()
    inserted = store_trades(list(zip([pair.symbol] * good.n_trades, times, *columns, strict=True)))
    return FetchedTrades(inserted=inserted, unchanged=good.n_trades - inserted, bad=judged.rejected)
