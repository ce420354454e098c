"""Is the market data of active books there, and whole?

Markets with sessions are judged by weekdays and by the hours at which the symbol's own recent bars close;
sessions that span midnight UTC are not foreseen. A market holiday looks like missing data, so it only warns.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Final

from sentinel.audits.facts import Mode, Series, Snapshot
from sentinel.audits.findings import Finding, Limits, Severity

DAY_S: Final = 86_400
_DAY: Final = timedelta(days=1)
_SATURDAY: Final = 5
_HOLIDAYS_IN_A_ROW: Final = 2


def stale(snapshot: Snapshot, limits: Limits) -> list[Finding]:
    """STALE_DATA: the newest bar of a symbol is older than it should be on its book's clock."""
    found = []
    for series in snapshot.series:
        if not series.closes:
            found.append(_stale(series, "no bars at all", "none", limits))
            continue
        missing_s = lag_s(series)
        if missing_s > limits.stale_bars * series.bar_s:
            bars = missing_s / series.bar_s
            found.append(_stale(series, f"no bar for {bars:.1f} bars", f"{missing_s:.0f} s", limits))
    return found


def _stale(series: Series, what: str, observed: str, limits: Limits) -> Finding:
    certain = series.mode is Mode.LIVE and series.always_open
    return Finding(
        code="STALE_DATA",
        severity=Severity.CRITICAL if certain else Severity.WARNING,
        subject=f"{series.book}/{series.symbol}",
        message=f"{series.symbol} of book {series.book} has {what}",
        observed=observed,
        limit=f"{limits.stale_bars * series.bar_s} s",
    )


def lag_s(series: Series) -> float:
    """Seconds of market time between the newest bar, or what a stream knows, and the book's clock; >= 0.

    Where there are sessions only their hours count: for each weekday, one bar before the first close that is
    usual for the symbol until the last one. `series.closes` must not be empty.
    """
    newest, clock = max(series.closes[-1], series.known_until or series.closes[-1]), series.clock
    if series.always_open:
        return max(0.0, (clock - newest).total_seconds())
    first, last = min(c.time() for c in series.closes), max(c.time() for c in series.closes)
    bar = timedelta(seconds=series.bar_s)
    open_for = timedelta(0)
    for day in (newest.date() + _DAY * n for n in range((clock.date() - newest.date()).days + 1)):
        if day.weekday() < _SATURDAY:
            opens = max(newest, datetime.combine(day, first, tzinfo=UTC) - bar)
            closes = min(clock, datetime.combine(day, last, tzinfo=UTC))
            open_for += max(timedelta(0), closes - opens)
    return open_for.total_seconds()


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
    """How many bars are missing in each gap between neighbouring closes.

    With sessions: between bars of one day, or for daily bars weekdays beyond the longest run of holidays.
    """
    neighbours = zip(series.closes, series.closes[1:], strict=False)
    pairs = [pair for pair in neighbours if not _is_quiet(series, *pair)]
    if series.always_open:
        counts = [_steps(before, after, series.bar_s) for before, after in pairs]
    elif series.bar_s < DAY_S:
        same_day = [(before, after) for before, after in pairs if before.date() == after.date()]
        counts = [_steps(before, after, series.bar_s) for before, after in same_day]
    else:
        weekdays = [sum(day.weekday() < _SATURDAY for day in _days_between(before, after)) for before, after in pairs]
        counts = [n if n > _HOLIDAYS_IN_A_ROW else 0 for n in weekdays]
    return [n for n in counts if n > 0]


def _is_quiet(series: Series, before: datetime, after: datetime) -> bool:
    """Whether nobody traded between two bars, as a stream knows."""
    until = series.known_until
    known = until is not None and until - _DAY <= before and after <= until
    return known and not any(begin < after and before < end for begin, end in series.lacking)


def _steps(before: datetime, after: datetime, bar_s: int) -> int:
    return round((after - before).total_seconds() / bar_s) - 1


def _days_between(before: datetime, after: datetime) -> list[date]:
    """The days strictly between the two dates."""
    n_days = (after.date() - before.date()).days
    return [before.date() + timedelta(days=n) for n in range(1, n_days)]
