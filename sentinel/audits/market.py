"""Is the market data of active books there, and whole? Each market is judged by its own calendar."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from sentinel.audits.facts import Mode, Series, Snapshot
from sentinel.audits.findings import Finding, Limits, Severity
from trading.market.calendars import calendar
from trading.market.timestamps import stamp

_DAY: Final = timedelta(days=1)


def stale(snapshot: Snapshot, limits: Limits) -> list[Finding]:
    """STALE_DATA: the newest bar of a symbol is older than it should be on its book's clock."""
    found = []
    for series in snapshot.series:
        if not series.closes:
            found.append(_stale(series, "no bars at all", "none", limits))
        elif (n_bars := n_due(series)) >= limits.stale_bars:
            found.append(_stale(series, f"none of its last {n_bars} bars", f"{n_bars} bars", limits))
    return found


def _stale(series: Series, what: str, observed: str, limits: Limits) -> Finding:
    certain = series.mode is Mode.LIVE and not calendar(series.calendar).closes
    return Finding(
        code="STALE_DATA",
        severity=Severity.CRITICAL if certain else Severity.WARNING,
        subject=f"{series.book}/{series.symbol}",
        message=f"{series.symbol} of book {series.book} has {what}",
        observed=observed,
        limit=f"{limits.stale_bars - 1} bars",
    )


def n_due(series: Series) -> int:
    """Bars that closed before the book's clock and behind the newest one, or what a stream knows.

    `series.closes` must not be empty.
    """
    newest = max(series.closes[-1], series.known_until or series.closes[-1])
    known, now = _numbers(series, newest, series.clock - timedelta.resolution).tolist()
    return int(max(0, now - known))


def gaps(snapshot: Snapshot, limits: Limits) -> list[Finding]:
    """BAR_GAPS: bars are missing inside a symbol's recent history; INFO where history is replayed."""
    found = []
    for series in snapshot.series:
        holes = missing_bars(series)
        wide = [n_bars for n_bars in holes if n_bars >= limits.gap_bars]
        if wide:
            found.append(
                Finding(
                    code="BAR_GAPS",
                    severity=Severity.INFO if series.mode is Mode.REPLAY else Severity.WARNING,
                    subject=f"{series.book}/{series.symbol}",
                    message=f"{series.symbol} of book {series.book} lacks {sum(wide)} bars "
                    f"in {len(wide)} gaps among its last {len(series.closes)}",
                    observed=f"{max(wide)} bars in a row",
                    limit=f"{limits.gap_bars - 1} bars in a row",
                )
            )
    return found


def missing_bars(series: Series) -> list[int]:
    """How many bars are missing in each gap between neighbouring closes."""
    pairs = zip(series.closes, series.closes[1:], strict=False)
    counts = (np.diff(_numbers(series, *series.closes)) - 1).tolist()
    return [n for pair, n in zip(pairs, counts, strict=True) if n > 0 and not _is_quiet(series, *pair)]


def _is_quiet(series: Series, before: datetime, after: datetime) -> bool:
    """Whether nobody traded between two bars, as a stream knows."""
    until = series.known_until
    known = until is not None and until - _DAY <= before and after <= until
    return known and not any(begin < after and before < end for begin, end in series.lacking)


def _numbers(series: Series, *moments: datetime) -> npt.NDArray[np.int64]:
    """How many bars of its market have closed by each moment, counted from one of long ago."""
    times = np.array([stamp(moment) for moment in moments], "datetime64[us]")
    return calendar(series.calendar).index(series.timeframe, times)
