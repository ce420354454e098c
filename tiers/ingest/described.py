"""What is about to be stored, in words: the first and the last bar, what is missing, and what was left out. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tiers.contracts import Bars, BarTable, adjusted, split, stamp, utc
from tiers.ingest.bar_problems import Code, Problem
from tiers.ingest.jumps import EXAMPLES, jumps, listed
from tiers.ingest.prepare import Prepared
from tiers.ingest.stored_bars import left_over, neighbours, one_factor


def described(prepared: Prepared) -> dict[str, str]:
    """Lines about the base timeframe by their titles; a title without anything to tell is absent."""
    base = prepared.batches[0]
    (beside,) = split(adjusted(neighbours(prepared)))
    gaps = [problem for problem in prepared.problems if problem.code is Code.GAP]
    forming = [problem for problem in prepared.problems if problem.code is Code.FORMING]
    dropped = [problem for problem in prepared.problems if problem.rejects]
    lines = {
        "bars": f"{base.n_bars} of {base.timeframe}",
        "first": _bar(base, 0),
        "last": _bar(base, -1),
        "gaps": _gaps(gaps) if prepared.traded is None else _pause(prepared.problems),
        "actions": _actions(prepared),
        "splits": _splits(beside, one_factor(prepared)),
        "left over": _left_over(prepared),
        "kept": "; ".join(problem.detail for problem in prepared.problems if problem.code is Code.KEPT),
        "forming": _examples(forming),
        "dropped": _examples(dropped),
    }
    return {title: text for title, text in lines.items() if text}


def _actions(prepared: Prepared) -> str:
    """The stored splits and dividends that adjust these bars."""
    base = prepared.batches[0]
    inside = [each for each in prepared.actions if base.ts[0] <= stamp(each.ex_ts) < base.ts[-1]]
    if not inside:
        return ""
    splits = sum(each.is_split for each in inside)
    found = f"{splits} splits and {len(inside) - splits} dividends are stored of the time of these bars"
    return f"{found}, which must be as they were traded: what is adjusted already would be adjusted twice"


def _bar(bars: Bars, row: int) -> str:
    prices = ", ".join(
        f"{name} {getattr(bars, name)[row, 0]:.12g}" for name in ("open", "high", "low", "close", "volume")
    )
    return f"known at {utc(bars.ts[row]):%Y-%m-%d %H:%M} UTC, {prices}"


def _gaps(gaps: Sequence[Problem]) -> str:
    if not gaps:
        return "none"
    longest = max(gaps, key=lambda gap: gap.missing_bars).detail
    if len(gaps) == 1:
        return longest
    return f"{len(gaps)} with {sum(gap.missing_bars for gap in gaps)} bars missing; in the longest {longest}"


def _pause(problems: Sequence[Problem]) -> str:
    """What is said of bars that are made of trades: a minute without one looks as one whose trades are missing."""
    longest = next((problem.detail for problem in problems if problem.code is Code.PAUSE), "none")
    return f"not known, as a minute without a trade has no bar; the longest run of such: {longest}"


def _splits(bars: BarTable, anew: str) -> str:
    """The nights over which the price changed as in a split of which no action is stored; then `anew`."""
    said = "; ".join(filter(None, [*listed(jumps(bars)), anew]))
    return f"{said}; prices are stored as they stand" if said else ""


def _left_over(prepared: Prepared) -> str:
    """The stored bars that the file has at other times."""
    if prepared.stored is None:
        return ""
    ts = prepared.stored.ts[left_over(prepared)]
    if not len(ts):
        return ""
    bars = "1 stored bar has" if len(ts) == 1 else f"{len(ts)} stored bars have"
    return (
        f"{bars} the prices of this file at another time, the first at {utc(ts[0]):%Y-%m-%d %H:%M} UTC: another clock "
        "named them; --replace removes all stored bars first"
    )


def _examples(problems: Sequence[Problem]) -> str:
    if not problems:
        return ""
    shown = "; ".join(problem.place_and_detail for problem in problems[:EXAMPLES])
    n_rows = sum(problem.n_rows for problem in problems)
    return f"{n_rows} row{'s' * (n_rows > 1)}: {shown}{'; ...' if len(problems) > EXAMPLES else ''}"
